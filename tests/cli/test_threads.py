"""--threads: every command has it, and what computes obeys."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields

import pytest

from arf.cli import KINDS
from arf.cli.common import Work
from arf.errors import UserError

SAID = """
import cv2, numba, torch
from arf.jobs.machine import allowed_threads
from arf.radiance.fields.jit import ready
with ready():
    pass
print(torch.get_num_threads(), numba.get_num_threads(), cv2.getNumThreads(), allowed_threads())
"""
LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def counted(begin: str, **own: str) -> list[int]:
    """Threads of torch, numba and OpenCV, and those of COLMAP, in a process that begins so."""
    env = {name: value for name, value in os.environ.items() if name not in LIMITS} | own
    done = subprocess.run([sys.executable, "-c", begin + SAID], capture_output=True, text=True, check=True, env=env)
    return [int(count) for count in done.stdout.split()]


@pytest.mark.parametrize("name", KINDS)
def test_every_command_has_it(name):
    common = next(field for field in fields(KINDS[name]) if field.name == "common")
    assert issubclass(common.default_factory, Work)
    assert common.default_factory().threads is None


@pytest.mark.parametrize("before", ["", "import cv2, numba, torch\n"])
@pytest.mark.parametrize("own", [{}, {"OMP_NUM_THREADS": "2"}])
def test_with_one_thread_they_really_have_one(before, own):
    assert counted(f"{before}from arf.cli.common import Work\nWork(threads=1).begin()", **own) == [1, 1, 1, 1]


def test_without_it_what_the_user_has_set_holds():
    torch, numba, _, colmap = counted("from arf.cli.common import Work\nWork().begin()", OMP_NUM_THREADS="1")
    assert (torch, numba, colmap) == (1, 1, 1)


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_a_number_that_makes_no_sense(threads):
    with pytest.raises(UserError, match=rf"threads is {threads}; it must be between 1 and 1024"):
        Work(threads=threads).begin()

"""Kernels are compiled once for a machine, and say so then only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MODULE = """
from arf.radiance.fields import jit

@jit.kernel()
def double(x):
    return 2 * x

@jit.kernel(parallel=False)
def triple(x):
    return 3 * x
"""
RUN = "import own; print(own.double(2), own.triple(1.5), own.double(3))"


def use(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", RUN], cwd=folder, capture_output=True, text=True, check=True)


def test_the_first_process_says_that_it_compiles_and_the_next_does_not(tmp_path):
    (tmp_path / "own.py").write_text(MODULE)
    first, second = use(tmp_path), use(tmp_path)
    assert first.stdout == second.stdout == "4 4.5 6\n"
    assert first.stderr.count("compiling kernels") == 1
    assert second.stderr == ""

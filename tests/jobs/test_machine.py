"""What the machine still gives, and the one line where it gives no more."""

from __future__ import annotations

import errno
import os
import platform
import re
import resource
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from arf.errors import UserError
from arf.jobs import device, machine
from arf.jobs.machine import OutOfMemory, Starved, allowed_threads, free_ram, starved, yield_cores


def raised(work) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever a library has
        work()
    return caught.value


@pytest.mark.parametrize(
    ("work", "asked"),
    [
        (lambda: np.empty(2**50), r"8388608\.00 GiB were asked for, "),
        (lambda: torch.empty(2**50), r"4194304\.00 GiB were asked for, "),
        (lambda: torch.zeros(1).expand(2**50).clone(), r"4194304\.00 GiB were asked for, "),
        (lambda: cv2.resize(np.zeros((1, 1), np.uint8), (2**30, 2**20)), r"1048576\.00 GiB were asked for, "),
        (lambda: bytearray(2**62), ""),
    ],
)
def test_every_library_says_in_its_way_that_there_is_no_memory(work, asked):
    found = starved(raised(work))
    assert isinstance(found, OutOfMemory)
    assert re.fullmatch(rf"out of memory: {asked}[\d.]+ GiB are free", str(found))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has"), "on the GPU: 0.02 GiB"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "out of memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "out of memory"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "out of memory"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "no more files can be opened"),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), "ulimit -n 4096"),
    ],
)
def test_what_has_run_out_is_said(error, said):
    assert said in str(starved(error))


def test_a_file_that_could_not_be_read_is_not_to_blame():
    """J38: whatever the reader thought of it."""
    damaged = UserError("a.json is damaged")
    damaged.__cause__ = ValueError("read")
    assert starved(damaged) is None
    damaged.__cause__.__cause__ = MemoryError()
    assert isinstance(starved(damaged), OutOfMemory)
    assert starved(OSError(errno.ENOSPC, "No space left on device")) is None
    assert starved(kept := Starved("said already")) is kept


def groups(root, files: dict[str, str], own: str):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "own").write_text(own)
    return list(machine._left_by_groups(root, root / "own"))


def test_the_limits_of_control_groups_count(tmp_path):
    """J10: docker, Slurm and Kubernetes give less than the machine has."""
    two = {
        "memory.max": "1000\n", "memory.current": "300\n", "memory.stat": "anon 2\ninactive_file 50\nactive_file 25\n",
        "job/memory.max": "max\n", "job/memory.current": "1\n", "job/memory.stat": "",
        "job/step/memory.max": "500\n", "job/step/memory.current": "450\n", "job/step/memory.stat": "inactive_file 7\n",
    }  # fmt: skip
    assert groups(tmp_path / "2", two, "0::/job/step\n") == [57, 775]
    assert groups(tmp_path / "c", two, "0::/outside/the/container\n") == [775]
    one = {
        "memory/d/memory.limit_in_bytes": "900", "memory/d/memory.usage_in_bytes": "800",
        "memory/d/memory.stat": "inactive_file 1\ntotal_inactive_file 10\ntotal_active_file 5\n",
    }  # fmt: skip
    assert groups(tmp_path / "1", one, "5:cpu,cpuacct:/d\n4:memory:/d\n0::/\n") == [115]


def test_free_memory_is_what_the_smallest_limit_leaves(monkeypatch):
    whole = free_ram()
    monkeypatch.setattr(machine, "_left_by_groups", lambda: [12345])
    assert free_ram() == 12345 < whole
    monkeypatch.setattr(machine, "_left_by_groups", lambda: [-1])
    assert free_ram() == 0


def test_a_limit_of_this_process_counts():
    before = resource.getrlimit(resource.RLIMIT_AS)
    assert list(machine._left_by_limits()) == []
    taken = machine.psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**30, before[1]))
    try:
        assert 0.9 * 2**30 < free_ram() < 1.1 * 2**30
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_blocks_that_torch_keeps_on_a_gpu_are_free(monkeypatch):
    for name, value in (("mem_get_info", (100, 1000)), ("memory_reserved", 700), ("memory_allocated", 300)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert device.free_memory(torch.device("cuda")) == 500


@pytest.mark.parametrize("own", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", None])
def test_waiting_threads_sleep_unless_the_user_has_a_say(monkeypatch, own):
    """J17"""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    if own:
        monkeypatch.setenv(own, "5")
    yield_cores()
    assert os.environ.get("OMP_WAIT_POLICY") == {"OMP_WAIT_POLICY": "5", "GOMP_SPINCOUNT": None}.get(own, "passive")


KEPT = """
import numpy as np, psutil
from arf.jobs.machine import give_back_memory, keep_freed_memory
held = lambda: psutil.Process().memory_info().rss >> 20
keep_freed_memory()
blocks = [np.ones(1 << 20, np.uint8) for _ in range(200)]
full = held()
del blocks[1:]
kept = held()
give_back_memory()
print(full, kept, held())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")
def test_freed_memory_is_kept_until_it_is_given_back():
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    full, kept, given = map(int, done.stdout.split())
    assert full - kept < 20
    assert kept - given > 150


@pytest.mark.parametrize(("own", "wanted"), [("3", 3), ("4,2", 4), (" 02", 2), ("", None), ("0", None), ("x", None)])
def test_as_many_threads_as_the_user_says_or_as_there_are_cores(monkeypatch, own, wanted):
    monkeypatch.setenv("OMP_NUM_THREADS", own)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert allowed_threads() == (wanted or cores)

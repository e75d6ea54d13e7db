"""Temporary files of the dead go, those of the living stay."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arf.jobs import leftovers
from arf.jobs.files import atomic_path, write_json
from arf.jobs.leftovers import temporary
from arf.jobs.tensors import save_tensors


class Killed(BaseException):
    """The end."""


WRITER = """
import os, sys, time
from arf.jobs.files import atomic_path
with atomic_path(sys.argv[1]) as half:
    half.write_text("half")
    print(half, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the midst of writing a.txt."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.txt")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def sweep(folder) -> list[str]:
    leftovers.sweep.cache_clear()  # as a process that is new has it
    write_json(folder / "b.json", 1)
    return sorted(p.name for p in folder.iterdir() if p.name != "b.json")


def test_the_next_start_removes_what_a_killed_one_left(writer, tmp_path):
    """J32"""
    assert len(sweep(tmp_path)) == 1  # it lives
    writer.kill()
    os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)
    assert sweep(tmp_path) == []  # also where nobody has asked for its exit code yet
    assert not (tmp_path / "a.txt").exists()


def test_what_a_library_writes_under_names_of_its_own_goes_too(tmp_path, monkeypatch):
    """safetensors writes .tmpXXXXXX first, and a kill leaves it."""

    def killed(tensors, path, **_):
        (Path(path).parent / ".tmp5iMRXR").write_bytes(b"half")
        raise Killed

    monkeypatch.setattr("arf.jobs.tensors.save_file", killed)
    monkeypatch.setattr(leftovers.shutil, "rmtree", lambda *_, **__: None)  # which a killed process does not reach
    with pytest.raises(Killed):
        save_tensors(tmp_path / "a.safetensors", {})
    monkeypatch.undo()
    (left,) = tmp_path.iterdir()
    assert sweep(tmp_path) == [left.name]  # this process lives
    monkeypatch.setattr(leftovers, "_is_dead", lambda *_: True)
    assert sweep(tmp_path) == []


def test_a_number_that_is_used_again_is_no_writer(tmp_path):
    half = temporary(tmp_path / "a.txt")
    half.write_text("half")
    assert sweep(tmp_path) == [half.name]
    long_ago = time.time() - 10**8
    os.utime(half, (long_ago, long_ago))
    assert sweep(tmp_path) == []


def test_another_machines_files_are_left_alone_for_a_week(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(leftovers, "_machine", lambda: "0123abcd")
        half = temporary(tmp_path / "a.txt")
    half.write_text("half")
    assert sweep(tmp_path) == [half.name]
    for days, left in ((6, [half.name]), (8, [])):
        then = time.time() - days * 86400
        os.utime(half, (then, then))
        assert sweep(tmp_path) == left


def test_what_only_looks_like_one_stays(tmp_path):
    names = [".a-1-2.txt", "a-0123abcd-1-0123abcd.txt", ".a-0123abcd-x-0123abcd.txt", ".hidden", ".a-2024-01-01.txt"]
    for name in names:
        (tmp_path / name).write_text("mine")
        os.utime(tmp_path / name, (0, 0))
    assert sweep(tmp_path) == sorted(names)


def test_a_folder_is_swept_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "scandir", lambda path, scandir=os.scandir: calls.append(path) or scandir(path))
    for _ in range(3):
        with atomic_path(tmp_path / "a.txt") as half:
            half.write_text("whole")
    assert len(calls) == 1

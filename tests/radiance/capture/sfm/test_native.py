from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

from arf.errors import UserError
from arf.jobs.machine import OutOfMemory
from arf.radiance.capture.sfm import native
from arf.radiance.capture.sfm.native import Colmap

HEAD = "import json, os, sys, time\njob = json.loads(sys.stdin.readline())\n"


@pytest.fixture
def colmap(tmp_path, monkeypatch):
    """A Colmap whose program is this text."""

    def made(text: str) -> Colmap:
        (tmp_path / "program.py").write_text(HEAD + text)
        monkeypatch.setattr(native, "PROGRAM", tmp_path / "program.py")
        return Colmap(tmp_path)

    return made


def test_what_is_made_comes_back_and_progress_is_told(colmap, tmp_path):
    told = []
    text = """print('{"done": 3}', flush=True); time.sleep(0.5); print(json.dumps({"result": job}), flush=True)"""
    with colmap(text) as worker:
        assert worker.do("look", told.append, at=tmp_path, often=2) == {"job": "look", "at": str(tmp_path), "often": 2}
    assert told[0] == 0
    assert told[-1] == 3


@pytest.mark.parametrize(("text", "kind", "line"), [
    ("print('database or disk is full', file=sys.stderr); os.abort()", UserError, "cannot write .*No space left"),
    ("os.kill(os.getpid(), 11)", UserError, r"broken down .exit code -11.; try"),
    ("os.kill(os.getpid(), 9)", OutOfMemory, "out of memory"),
    ("print('std::bad_alloc', file=sys.stderr); os.abort()", OutOfMemory, "out of memory"),
    ("print('F2 Check failed: x', file=sys.stderr); os.abort()", UserError, "broken down .F2 Check failed: x.; try"),
    ("print(json.dumps({'error': 'ValueError: odd'}), flush=True); time.sleep(9)", RuntimeError, "COLMAP: ValueE.*odd"),
])  # fmt: skip
def test_an_end_of_native_code_is_a_line_here(colmap, text, kind, line):
    with colmap(text) as worker, pytest.raises(kind, match=line):
        worker.do("look")


def test_what_stops_us_ends_the_work(colmap):
    def told(_: int) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), colmap("time.sleep(60)") as worker:
        worker.do("look", told)
    assert worker._process.returncode is not None
    assert time.monotonic() - start < 30


def test_where_this_process_is_killed_the_other_ends(tmp_path):
    """The real program: it has no parent to tell anything to."""
    code = f"""
import sys, time
from pathlib import Path
from arf.radiance.capture.sfm.native import Colmap
with Colmap(Path({str(tmp_path)!r})) as worker:
    worker.do("cameras", database=Path({str(tmp_path / "d.db")!r}), images="", groups=[])
    print(worker._process.pid, flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    other = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 30
    while psutil.pid_exists(other) and psutil.Process(other).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.1)

"""One owner for each output, until it ends, however it ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from arf.errors import UserError
from arf.jobs import locks
from arf.jobs.locks import owned, sole_writer

OWNER = """
import os, sys, time
from pathlib import Path
from arf.jobs.locks import owned, sole_writer
with owned(Path(sys.argv[1])):
    if os.fork() == 0:  # as a DataLoader's worker is made
        print("mine", flush=True)  # both are there
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""


@pytest.fixture
def another(tmp_path):
    """Another process that has a.png, and a child of its own."""
    command = [sys.executable, "-c", OWNER, str(tmp_path / "a.png")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "mine\n"
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def take(output: Path) -> None:
    with owned(output):
        pass


def test_another_process_is_refused_in_one_line_until_the_owner_is_killed(another, tmp_path):
    with pytest.raises(UserError, match=rf"a\.png is being written by another arf \(process {another.pid} on "):
        take(tmp_path / "a.png")
    take(tmp_path / "b.png")
    os.kill(another.pid, signal.SIGKILL)  # its child lives on
    another.wait()
    assert (tmp_path / ".a.png.lock").exists()
    take(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_what_another_writer_has_finished_meanwhile_is_kept(tmp_path):
    (tmp_path / "a.png").write_bytes(b"theirs")
    with pytest.raises(UserError, match="exists already"), sole_writer(tmp_path / "a.png", overwrite=False):
        pass
    with sole_writer(tmp_path / "a.png", overwrite=True):
        assert (tmp_path / ".a.png.lock").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_another_thread_is_refused(tmp_path):
    said = []

    def work() -> None:
        try:
            take(tmp_path / "a.png")
        except UserError as error:
            said.append(str(error))

    with owned(tmp_path / "a.png"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(said) == 1
    take(tmp_path / "a.png")


def test_a_lock_that_is_removed_between_opening_and_locking_is_no_lock(tmp_path, monkeypatch):
    lock, tries = locks._lock, []

    def late(file: int) -> None:
        if not tries:
            (tmp_path / ".a.png.lock").unlink()  # by its last owner
        tries.append(file)
        lock(file)

    monkeypatch.setattr(locks, "_lock", late)
    with owned(tmp_path / "a.png"):
        assert len(tries) == 2
        with pytest.raises(UserError, match="another arf"):
            take(tmp_path / "a.png")


def test_where_there_are_no_locks_nothing_is_locked(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with owned(tmp_path / "a.png"):
        take(tmp_path / "a.png")


def test_a_lock_that_leads_elsewhere_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("kept")
    (tmp_path / ".a.png.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match="cannot write"):
        take(tmp_path / "a.png")
    assert (tmp_path / "victim").read_text() == "kept"

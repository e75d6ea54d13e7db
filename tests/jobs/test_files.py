from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from arf.errors import UserError
from arf.jobs.files import atomic_path, cannot_read, check_writable, fingerprint, read_json, write_json


def only(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def fail(target: Path, failure: BaseException) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise failure


def test_a_finished_write_replaces_the_old_file_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == target.parent
        assert temporary.suffix == ".txt"
    assert target.read_text() == "new"
    assert only(tmp_path) == ["a.txt"]


def test_the_disk_has_a_file_before_it_is_renamed_and_its_name_after(tmp_path, monkeypatch):
    done: list[str] = []

    def noted(what, call):
        monkeypatch.setattr(os, what, lambda *given: (done.append(what), call(*given)))

    noted("fsync", os.fsync)
    noted("replace", os.replace)
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert done == []
    assert done == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_what_the_disk_refuses_only_when_asked_to_settle_is_not_taken_for_written(tmp_path, monkeypatch, number):
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    target = tmp_path / "a.txt"
    target.write_text("old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=os.strerror(number)), atomic_path(target) as temporary:
        temporary.write_text("new")
    assert (target.read_text(), only(tmp_path)) == ("old", ["a.txt"])


@pytest.mark.parametrize("failure", [ValueError("bug"), KeyboardInterrupt(), UserError("said already")])
def test_an_interrupted_write_keeps_the_old_file_and_raises_what_was_raised(tmp_path, failure):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(type(failure)) as caught:
        fail(target, failure)
    assert caught.value is failure
    assert target.read_text() == "old"
    assert only(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_the_operating_systems_refusal_is_one_line_that_names_the_path(tmp_path, number):
    target = tmp_path / "a.txt"
    with pytest.raises(UserError) as caught:
        fail(target, OSError(number, os.strerror(number)))
    line = str(caught.value)
    assert "\n" not in line
    assert str(target) in line
    assert os.strerror(number) in line
    assert ("free some space" in line) == (number == errno.ENOSPC)
    assert only(tmp_path) == []


def test_a_serializers_own_exception_for_a_full_disk_is_recognised(tmp_path):
    with pytest.raises(UserError, match="No space left"):
        fail(tmp_path / "a", Exception("Error while serializing: I/O error: No space left on device (os error 28)"))


def test_a_real_limit_on_file_size_is_reported_for_every_writer(tmp_path):
    """A child process that may not write more than 4 kB, as if the disk were full."""
    program = f"""
import resource, signal, torch
from safetensors.torch import save_file
from arf.jobs import files
from arf.media import image
from arf.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
def tensors():
    with files.atomic_path({str(tmp_path / "a.safetensors")!r}) as path:
        save_file({{"a": torch.rand(100000)}}, path)
for write in (
    tensors,
    lambda: files.write_json({str(tmp_path / "a.json")!r}, list(range(10000))),
    lambda: image.write({str(tmp_path / "a.png")!r}, torch.rand(100, 100, 3)),
):
    try:
        write()
    except UserError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ("a.safetensors", "a.json", "a.png"), strict=True):
        assert f"cannot write {tmp_path / name}: File too large" in line
    assert only(tmp_path) == []


def test_missing_parents_are_made(tmp_path):
    write_json(tmp_path / "x" / "y" / "a.json", 1)
    assert read_json(tmp_path / "x" / "y" / "a.json") == 1


def test_a_folder_and_a_file_in_the_way_are_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a folder"):
        write_json(tmp_path / "folder", 1)
    with pytest.raises(UserError, match="cannot write"):
        write_json(tmp_path / "file" / "a.json", 1)
    assert only(tmp_path) == ["file", "folder"]


def test_json_keeps_unicode_and_refuses_nan(tmp_path):
    value = {"θ": [1, 2.5, None, True]}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value
    assert "θ" in (tmp_path / "a.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[" * 100000, b"[" * 50 + b"]" * 50, b"1" * 5000])
def test_broken_json_is_a_user_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json is (not valid JSON|no JSON file)") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_unreadable_paths_are_told_apart(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("x")
    assert "no such file" in str(cannot_read(tmp_path / "none", "picture"))
    assert "is a folder; name a picture" in str(cannot_read(tmp_path, "picture"))
    assert "is empty" in str(cannot_read(tmp_path / "empty", "picture"))
    assert "cannot read" in str(cannot_read(tmp_path / ("x" * 300), "picture"))
    assert cannot_read(tmp_path / "full", "picture") is None


def test_only_regular_files_are_opened(tmp_path):
    """J25: a named pipe without a writer would be waited for, for ever; /dev/zero never ends."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    opened = f"""
import signal
signal.alarm(20)
from arf.errors import UserError
from arf.jobs.files import cannot_read, read_json
from arf.media.signature import is_video
for path in ({str(tmp_path / "pipe")!r}, {str(tmp_path / "link")!r}, "/dev/zero"):
    print(cannot_read(path, "picture"))
    assert not is_video(path)
    try:
        read_json(path)
    except UserError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", opened], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert all("is a pipe, a device or a socket; name a" in line for line in lines)


def test_a_name_with_a_nul_is_no_files_name(tmp_path):
    name = str(tmp_path / "a\0b.png")
    assert "NUL; name a picture" in str(cannot_read(name, "picture"))
    for write in (check_writable, lambda path: write_json(path, 1)):
        with pytest.raises(UserError, match="NUL; name a file") as caught:
            write(name)
        assert "\0" not in str(caught.value)
    with pytest.raises(UserError, match="NUL"):
        read_json(name)


def test_what_can_be_written_is_left_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("kept")
    check_writable(tmp_path / "a.txt")
    check_writable(tmp_path / "new.txt")
    check_writable(tmp_path / "deep" / "er" / "new.txt")
    assert (tmp_path / "a.txt").read_text() == "kept"
    assert only(tmp_path) == ["a.txt", "deep"]
    assert only(tmp_path / "deep" / "er") == []


def test_what_cannot_be_written_is_known_before(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("kept")
    for path, reason in (
        (tmp_path, "it is a folder; name a file"),
        (tmp_path / "file" / "a.txt", "check the path"),
        (tmp_path / ("x" * 250), "File name too long"),  # with what makes it temporary
    ):
        with pytest.raises(UserError, match=reason) as refusal:
            check_writable(path)
        assert f"cannot write {path}" in str(refusal.value)
        assert "\n" not in str(refusal.value)

    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(UserError, match=r"a\.txt: Permission denied; choose a folder that you may write to"):
        check_writable(tmp_path / "a.txt")
    assert only(tmp_path) == ["file"]


def test_a_fingerprint_is_of_what_a_file_holds(tmp_path):
    for name, content in (("a", b"one" * 10**6), ("b", b"one" * 10**6), ("c", b"one" * 10**6 + b"!")):
        (tmp_path / name).write_bytes(content)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b") != fingerprint(tmp_path / "c")
    (tmp_path / "a").write_bytes(b"123456789")
    assert fingerprint(tmp_path / "a") == "cbf43926"  # the CRC-32's own check value

"""The tripwire goes off for each of what it is there for, and for nothing else."""

from __future__ import annotations

import importlib.util
import os
import pickle
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from traps import PAYLOADS, ckpt, npy_pickle
from tripwire import MARK, Tripped, tripwire

from arf.media import footage


def below(name: str) -> Callable[[Path, Path], object]:
    """A payload as a file, loaded without care."""

    def load(room: Path, _: Path) -> object:
        (room / "x").write_bytes(PAYLOADS[name](room / "done"))
        return pickle.loads((room / "x").read_bytes())

    return load


def import_of(room: Path, _: Path) -> object:
    (room / "harmless.py").write_text("x = 1")
    spec = importlib.util.spec_from_file_location("harmless", room / "harmless.py")
    return spec.loader.exec_module(importlib.util.module_from_spec(spec))


TRAPS: dict[str, Callable[[Path, Path], object]] = {
    **{f"pickle: {name}": below(name) for name in PAYLOADS},
    "subprocess": lambda room, out: subprocess.run(["true"]),
    "shell": lambda room, out: subprocess.run("true", shell=True),
    "os.system": lambda room, out: os.system("true"),
    "os.popen": lambda room, out: os.popen("true").close(),
    "os.posix_spawn": lambda room, out: os.posix_spawn("/bin/true", ["true"], {}),
    "os.exec": lambda room, out: os.execv("/bin/true", ["true"]),
    "os.fork": lambda room, out: os.fork() or os._exit(0),
    "connect": lambda room, out: socket.create_connection(("127.0.0.1", 9)),
    "resolve": lambda room, out: socket.getaddrinfo("nowhere.invalid", 80),
    "fetch": lambda room, out: urllib.request.urlopen("http://127.0.0.1:9/"),
    "listen": lambda room, out: socket.socket().bind(("0.0.0.0", 0)),
    "ask": lambda room, out: input(),
    "eval": lambda room, out: eval(f"'{MARK}'"),
    "exec": lambda room, out: exec(f"{MARK} = 1"),
    "import of a file": import_of,
    "import by a name": lambda room, out: __import__(f"{MARK}_module"),
    "numpy": lambda room, out: np.load(npy_pickle(room / "x.npy", room / "done"), allow_pickle=True),
    "torch": lambda room, out: torch.load(ckpt(room / "x.pth", room / "done"), weights_only=False),
    "write": lambda room, out: (out / "new").write_text("x"),
    "append": lambda room, out: (out / "kept").open("a"),
    "update": lambda room, out: (out / "kept").open("r+b"),
    "os.open": lambda room, out: os.open(out / "new", os.O_CREAT | os.O_WRONLY),
    "write through a link": lambda room, out: (room / "link").write_text("x"),
    "write into a linked folder": lambda room, out: (room / "folder" / "new").write_text("x"),
    "read": lambda room, out: (out / "kept").read_text(),
    "read through a link": lambda room, out: (room / "link").read_text(),
    "mkdir": lambda room, out: (out / "new").mkdir(),
    "unlink": lambda room, out: (out / "kept").unlink(),
    "unlink in a linked folder": lambda room, out: (room / "folder" / "kept").unlink(),
    "rename out": lambda room, out: (room / "own").rename(out / "new"),
    "rename in": lambda room, out: (out / "kept").rename(room / "new"),
    "symlink": lambda room, out: (out / "new").symlink_to(room),
    "hardlink": lambda room, out: (out / "new").hardlink_to(room / "own"),
    "truncate": lambda room, out: os.truncate(out / "kept", 0),
    "chmod": lambda room, out: (out / "kept").chmod(0o777),
    "rmtree": lambda room, out: shutil.rmtree(out),
    "copy": lambda room, out: shutil.copy(room / "own", out / "new"),
}


@pytest.fixture
def cell(tmp_path) -> Path:
    """A folder to work in, with ways out."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("kept")
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "own").write_text("own")
    (tmp_path / "room" / "link").symlink_to(tmp_path / "out" / "kept")
    (tmp_path / "room" / "folder").symlink_to(tmp_path / "out")
    return tmp_path / "room"


@pytest.mark.parametrize("what", TRAPS)
def test_every_trap(what, cell):
    out = cell.parent / "out"
    with tripwire(cell, secrets=(out,)) as wire, pytest.raises(Tripped):
        TRAPS[what](cell, out)
    assert len(wire.caught) == 1
    assert not (cell / "done").exists()
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("kept", "kept")]


def test_what_is_swallowed_is_noted(cell):
    with tripwire(cell) as wire, suppress(BaseException):
        os.system("true")
    assert wire.caught == ["os.system"]


def test_it_is_down_again(cell):
    with tripwire(cell):
        pass
    assert os.system("true") == 0


def test_everyday_work_does_not_set_it_off(cell, good):
    with tripwire(cell) as wire:
        (cell / "new").mkdir()
        (cell / "new" / "file").write_text("x")
        shutil.rmtree(cell / "new")
        (cell / "own").rename(cell / "other")
        (cell / "link").unlink()  # the link, not what it leads to
        exec("x = 1")
        footage.probe(good.video)
        torch.save({"x": torch.zeros(1)}, cell / "x.pth")
        torch.load(cell / "x.pth", weights_only=True)
        import colorsys  # noqa: F401 - a module of Python's

        sys.modules.pop("colorsys")
    assert wire.caught == []

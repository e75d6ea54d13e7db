"""A tripwire around calls that open somebody's files: it goes off where something is executed, written or fetched.

Python tells audit hooks what it is about to do. While a `tripwire` is up, the hook stops what no opening of a file has
need of, and notes it. Libraries that write without Python (safetensors, OpenCV) do not tell: for them, and for ffmpeg,
the tests also compare the folders before and after.

A new kind of trap is a case in `alarm`, and one in test_tripwire.py that proves that it goes off.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg
import matplotlib

MARK = "arf_trap"
"""In every payload, and in the names of its modules: code that holds it must not even be compiled."""
STARTS = ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.spawn")
NEVER = {
    "os.system", "os.fork", "os.forkpty", "pty.spawn", "builtins.input", "pickle.find_class", "socket.connect",
    "socket.sendto", "socket.gethostbyname", "urllib.Request", "webbrowser.open",
}  # fmt: skip
CHANGES = {  # which of the arguments are changed
    "os.rename": (0, 1), "os.link": (1,), "os.symlink": (1,), "os.remove": (0,), "os.rmdir": (0,), "os.mkdir": (0,),
    "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,), "shutil.rmtree": (0,),
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Tripped(BaseException):
    """Not to be caught by what was opened."""


class Wire:
    """What may be done, and what was tried beyond it.

    Attributes:
        rooms: folders below which may be written.
        secrets: folders below which nothing may even be read.
        caught: a line for everything that was stopped.
    """

    def __init__(self, rooms: tuple[Path, ...], secrets: tuple[Path, ...]) -> None:
        caches = (matplotlib.get_cachedir(), matplotlib.get_configdir(), sys.pycache_prefix or "/nowhere")
        self.own = [os.path.realpath(room) for room in rooms]
        self.rooms = [*self.own, *map(os.path.realpath, caches)]
        self.secrets = [os.path.realpath(secret) for secret in secrets]
        self.caught: list[str] = []

    def alarm(self, event: str, arguments: tuple) -> str:
        """What is wrong with an event; nothing as a rule."""
        if event in ("socket.bind", "socket.getaddrinfo"):  # a viewer's port
            host = arguments[0] if event == "socket.getaddrinfo" else arguments[1][0]
            return "" if host == "127.0.0.1" else f"{event} {host}"
        if event in NEVER:
            return event
        if event in STARTS:
            program = os.fsdecode(arguments[1] if event == "os.spawn" else arguments[0])
            return "" if program == imageio_ffmpeg.get_ffmpeg_exe() else f"starts {program}"
        if event == "compile":
            return "compiles a payload" if MARK in _text(arguments[0]) else ""
        if event == "exec":
            file = arguments[0].co_filename
            return f"executes {file}" if MARK in file or self._below(file, self.own) else ""
        if event == "import":
            return f"imports {arguments[0]}" if MARK in arguments[0] else ""
        if event == "open":
            return self._opens(*arguments)
        if event in CHANGES:
            folder = next((a for a in reversed(arguments) if isinstance(a, int) and a >= 0), None)  # dir_fd
            folder = folder if event in ("os.remove", "os.rmdir") else None
            changed = [_place(arguments[i], folder) for i in CHANGES[event]]
            return next((f"{event} {path}" for path in changed if not self._may_change(path)), "")
        return ""

    def _opens(self, path: object, mode: str | None, flags: int) -> str:
        if not isinstance(path, str | bytes | os.PathLike):  # a descriptor that is open already
            return ""
        place = os.path.realpath(os.fsdecode(path))
        if self._below(place, self.secrets):
            return f"reads {place}"
        if (set(mode or "") & set("wax+")) or flags & WRITING:
            may = place == os.devnull or "__pycache__" in place or self._below(place, self.rooms)
            return "" if may else f"writes {place}"
        return ""

    def _may_change(self, path: str) -> bool:
        parent, name = os.path.split(path)
        place = os.path.join(os.path.realpath(parent), name)
        return "__pycache__" in place or self._below(place, self.rooms)

    @staticmethod
    def _below(path: str, rooms: list[str]) -> bool:
        return any(path == room or path.startswith(room + os.sep) for room in rooms)


def _text(source: object) -> str:
    return source.decode(errors="replace") if isinstance(source, bytes) else str(source or "")


def _place(path: object, folder: int | None) -> str:
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")
    name = os.path.abspath(os.fsdecode(path)) if folder is None else os.fsdecode(path)
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name) if folder is not None else name


_up: list[Wire] = []


def _hook(event: str, arguments: tuple) -> None:
    if not _up:
        return
    wire = _up.pop()  # what the hook itself does is no event
    try:
        if wrong := wire.alarm(event, arguments):
            wire.caught.append(wrong)
            raise Tripped(wrong)
    finally:
        _up.append(wire)


sys.addaudithook(_hook)  # for good: Python has no way to take one off


@contextmanager
def tripwire(*rooms: Path, secrets: tuple[Path, ...] = ()) -> Iterator[Wire]:
    """While it is up, what nobody has need of is stopped and noted.

    Args:
        rooms: folders below which may be written; nothing below them is executed.
        secrets: folders below which nothing may be read.
    """
    wire = Wire(rooms, secrets)
    _up.append(wire)
    try:
        yield wire
    finally:
        _up.remove(wire)

"""Temporary files, and what is left of them when a process is killed while it writes.

`.<name>-<machine>-<process>-<random>.<suffix>`: whoever writes into the same folder next removes those of the dead.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

NAME = re.compile(r"\..+-([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{8}(?:\.[^.]*)?")
ANOTHER = 7 * 86400  # seconds without a change after which a file of another machine is taken for left
LATER = 3600  # seconds by which the clocks of a machine and of a disk that it shares may differ


def temporary(path: Path) -> Path:
    """A name in the same folder that nobody else has, with the same suffix."""
    return path.with_name(f".{path.stem}-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` within the block, for a library whose temporary files have names of their own."""
    folder = temporary(path)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def sweep(folder: Path) -> None:
    """Remove the temporary files and folders of dead processes from a folder, once in the life of this one."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = NAME.fullmatch(entry.name)
            if found and not entry.is_symlink():
                with suppress(OSError):  # another one was quicker, or it is another user's
                    if _is_dead(found[1], int(found[2]), entry.stat(follow_symlinks=False).st_mtime):
                        (shutil.rmtree if entry.is_dir() else os.unlink)(entry.path)


def _is_dead(machine: str, process: int, changed: float) -> bool:
    """Whether the writer of a file that was last changed then has gone."""
    if machine != _machine():
        return time.time() - changed > ANOTHER
    try:
        writer = psutil.Process(process)
        again = writer.create_time() > changed + LATER  # the number is another's now
        return again or writer.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


@cache
def _machine() -> str:
    """Eight digits for this machine, or this container: where its processes' numbers mean something."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbers = ""
    return f"{zlib.crc32(f'{socket.gethostname()} {numbers}'.encode()):08x}"

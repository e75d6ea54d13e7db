"""What every bad input must end with: exit code 2, one line, and nothing written."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arf import cli

LONGEST = 1600  # characters of a line, beyond those of the names that were given
PATIENCE = 30  # seconds until a command counts as hanging; those that do not take milliseconds
ROOM = 3 * 2**30  # bytes that a command may ask for before it counts as greedy


class Hang(BaseException):
    """Not to be caught by anything on its way."""


def call(words: list[str]) -> tuple[int | None, str]:
    """A command in this process, with what goes to the error stream in one of its own: its code, and any traceback."""
    try:
        with guarded(), _spoken():
            return cli.main(words), ""
    except SystemExit as end:
        return end.code, ""
    except Hang:
        return None, "hangs at " + traceback.format_exc(limit=-3)
    except BaseException:
        return None, traceback.format_exc(limit=-6)


@contextmanager
def guarded() -> Iterator[None]:
    """Ends what hangs, and what asks for too much memory."""
    with _patience(), _frugality():
        yield


@contextmanager
def _patience() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _frugality() -> Iterator[None]:
    """No more memory than there is `ROOM` for: a bomb shall not take the tests along."""
    used = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@contextmanager
def _spoken() -> Iterator[None]:
    """Log lines and warnings are said, which pytest keeps to itself."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.resetwarnings()
            for quiet in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", quiet)
            warnings.showwarning = lambda *what: print(warnings.formatwarning(*what[:4]), file=sys.stderr)
            yield
    finally:
        logging.getLogger().removeHandler(handler)


def tree(*folders: Path) -> dict[str, tuple[int, ...]]:
    """All that lies below folders, links unfollowed, with what changes when somebody writes to it."""
    found = {}
    for folder in folders:
        for place, inner, files in os.walk(folder):
            for name in (*inner, *files):
                path = os.path.join(place, name)
                is_folder = name in inner and not os.path.islink(path)
                state = os.lstat(path)
                found[path] = (state.st_mode,) if is_folder else (state.st_mode, state.st_size, state.st_mtime_ns)
    return found


def complaints(words: list[str], said: str) -> list[str]:
    """What is wrong with the error stream of a command that was refused."""
    found = []
    lines = said.splitlines()
    if len(lines) != 1 or not said.startswith("arf: "):
        found.append(f"{len(lines)} lines")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", said):
        found.append("control characters")
    if len(said) > LONGEST + 2 * sum(map(len, words)):
        found.append(f"{len(said)} characters")
    return found

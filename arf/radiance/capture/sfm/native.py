"""The process in which COLMAP works, seen from here: jobs, progress, and an end when one is asked for."""

from __future__ import annotations

import errno
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arf.errors import UserError
from arf.jobs.files import cannot_write
from arf.jobs.machine import starved

PROGRAM = Path(__file__).with_name("worker.py")
EVERY = 0.2  # seconds between two looks at whether to stop
FULL = re.compile(r"disk is full|disk I/O error|no space left|file too large|attempt to write", re.IGNORECASE)
ROOM = 2**20  # bytes below which a disk is full
KILLED = -9  # by the system, for want of memory
SAID = 20_000  # characters of what it said last that are looked at
CAUSE = re.compile(r"^(F\d|\*\*\* SIG|terminate|  what).*", re.MULTILINE)


class Colmap:
    """Use it in a `with` block; the process ends with it, or with this one.

    Args:
        folder: where it writes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Colmap:
        self._said = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for us alone
        )
        self._replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._said):
            pipe.close()

    def do(self, job: str, told: Callable[[int], None] = lambda _: None, **values: Any) -> Any:
        """What a job makes.

        Args:
            job: a function of the worker's; `values` are its arguments, paths as such.
            told: called with how much of it is done; what it raises is passed on, and ends the work.

        Raises:
            UserError: the disk is full or memory has run out.
            RuntimeError: anything else went wrong.
        """
        words = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
        try:
            self._process.stdin.write(json.dumps({"job": job, **words}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._ended("") from error
        done = 0
        while True:
            told(done)
            try:
                line = self._replies.get(timeout=EVERY)
            except queue.Empty:
                continue
            if not line:
                raise self._ended("")
            reply = json.loads(line)
            if "error" in reply:
                raise self._ended(reply["error"])
            if "result" in reply:
                return reply["result"]
            done = reply["done"]

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._replies.put(line)
        self._process.stdout.close()
        self._replies.put("")

    def _ended(self, error: str) -> Exception:
        """Why it has come to an end, or failed with this error."""
        code = None if error else self._process.wait()
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - SAID))
        said = self._said.read().decode(errors="replace")
        if FULL.search(f"{error}\n{said}") or shutil.disk_usage(self.folder).free < ROOM:
            return cannot_write(self.folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        if short := starved(MemoryError() if code == KILLED else RuntimeError(f"{error}\n{said}")):
            return short
        if error:
            return RuntimeError(f"COLMAP: {error}")
        cause = found[0][:200] if (found := CAUSE.search(said)) else f"exit code {code}"
        return UserError(f"COLMAP has broken down ({cause}); try again, or with other photographs")

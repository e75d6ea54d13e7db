"""One owner for each output.

A lock is a hidden file that the system locks for the process that holds it open (flock; msvcrt on Windows), so that it
ends with that process, however that ends: what a killed one leaves is a file of some bytes that the next owner takes
over and removes. On a disk that several machines share it holds as far as the file system's own locks do: for all of
them on NFS (Linux) and SMB, for each machine by itself on some others. Where there are no locks, nothing is locked.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from arf.errors import UserError
from arf.jobs.files import cannot_write, no_name
from arf.jobs.outputs import check_outputs

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

BUSY = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}  # another one has it; EACCES and EDEADLK on Windows
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)  # a link would lead out of a stranger's run
ELSEWHERE = "wait for it, or choose another --output"
_held: set[int] = set()  # descriptors


@contextmanager
def owned(output: Path, lock: Path | None = None, remedy: str = ELSEWHERE) -> Iterator[None]:
    """Within the block no other process, and no other thread, has this output.

    Args:
        lock: where the lock lies, in place of `.<name>.lock` beside the output. Missing parent folders are made; those
            that are still empty in the end are removed again.

    Raises:
        UserError: another one has it, or the lock cannot be written.
    """
    if refusal := no_name(output, "choose another"):
        raise refusal
    lock = lock or output.with_name(f".{output.name}.lock")
    missing = [folder for folder in lock.parents if not os.path.exists(folder)]  # the deepest first
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = _take(lock)
    except BlockingIOError as error:
        raise UserError(f"{output} is being written by another arf{_whose(lock)}; {remedy}") from error
    except OSError as error:
        raise cannot_write(output, error) from error
    _held.add(held)
    try:
        yield
    finally:
        _held.discard(held)
        with suppress(OSError):  # Windows removes no open file; left there, it is nobody's
            lock.unlink()
        os.close(held)
        with suppress(OSError):  # there is something in it
            for folder in missing:
                folder.rmdir()


@contextmanager
def sole_writer(output: Path, overwrite: bool) -> Iterator[None]:
    """`owned`, for a result that is written in one go: what another writer has finished just now is kept.

    Raises:
        UserError: as `owned`; or the output exists and is not to be overwritten.
    """
    with owned(output):
        check_outputs([output], (), overwrite)
        yield


def _take(lock: Path) -> int:
    """A descriptor that holds the lock. Raises BlockingIOError where another one has it."""
    while True:
        file = os.open(lock, FLAGS, 0o644)
        try:
            _lock(file)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(lock)):
                    with suppress(OSError):  # a full disk: then nobody is told whose it is
                        os.truncate(file, 0)
                        os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its owner removed the file between our opening it and our locking it


def _lock(file: int) -> None:
    try:
        if os.name == "nt":
            os.lseek(file, 2**20, os.SEEK_SET)  # what is locked there, others cannot read
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            os.lseek(file, 0, os.SEEK_SET)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            raise BlockingIOError(*error.args) from error
        if error.errno not in NO_LOCKS:
            raise


def _whose(lock: Path) -> str:
    with suppress(OSError, ValueError):
        said = lock.read_text()[:100]
        return f" ({said})" * said.isprintable() if said else ""
    return ""


def _forked() -> None:
    """A child has the descriptors of its parent: what it kept open would outlive the parent's death."""
    for file in _held:
        os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

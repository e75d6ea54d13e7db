"""Files that are either written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from arf.errors import UserError
from arf.jobs.leftovers import sweep, temporary
from arf.jobs.machine import starved

LARGEST_JSON = 256_000_000  # bytes; a transforms.json of 100,000 frames has 100 MB
DEEPEST = 32  # levels of JSON
NOT_SETTLED = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # a file system that cannot say
REMEDIES = {
    errno.ENOSPC: "free some space or write to another disk",
    errno.EDQUOT: "free some space or write to another disk",
    errno.EFBIG: "write to a disk without that limit",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix; it becomes `path` when the block ends well, and the
    disk has it then.

    Missing parent folders are made. When the block raises, or writes nothing, `path` keeps what it held before and the
    temporary file goes.

    Raises:
        UserError: the operating system refused (full disk, no permission, a folder of that name). UserErrors of the
            block itself, and exceptions that have nothing to do with writing, pass through unchanged.
    """
    path, half = Path(path), _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent.absolute())
        yield half
        _settle(half, os.O_RDWR)
        os.replace(half, path)
        with suppress(OSError):  # it is written: Windows opens no folder, and some may be written to but not read
            _settle(path.parent, os.O_RDONLY)
    except Exception as error:
        if refusal := _system_error(error, path.parent):
            raise cannot_write(path, refusal) from error
        raise
    finally:
        with suppress(OSError):  # the disk or folder is already the trouble that is being reported
            half.unlink(missing_ok=True)


def _settle(path: Path, flags: int) -> None:
    """Wait until the disk has a file, or what a folder holds: a power cut then leaves the old file or the new one."""
    opened = os.open(path, flags)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in NOT_SETTLED:
            raise
    finally:
        os.close(opened)


def check_writable(path: str | Path) -> None:
    """Raises UserError now where a file could not be written after hours of work. Missing parent folders are made."""
    path, probe = Path(path), _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent.absolute())
        probe.touch()
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def below(folder: Path, *names: str) -> Path:
    """A place for output in a folder that may be a stranger's: what is written there stays there.

    Raises:
        UserError: a link leads from there out of the folder, or no file has such a name.
    """
    path = folder.joinpath(*names)
    if refusal := no_name(path, "choose another"):
        raise refusal
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise UserError(f"{path} is a link, or behind one, that leads out of {folder} and is not followed; remove it")
    return path


def _beside(path: str | Path) -> Path:
    """A temporary name for what is to become `path`."""
    path = Path(path)
    if refusal := no_name(path, "name a file"):
        raise refusal
    if os.path.isdir(path):  # which, unlike Path.is_dir, never raises
        raise UserError(f"cannot write {path}: it is a folder; name a file")
    return temporary(path)


def no_name(path: str | Path, remedy: str) -> UserError | None:
    """The one line for a name that no file can have: the system raises a ValueError for it, wherever it is given."""
    return UserError(f"{str(path)!r} is no file's name: it holds a NUL; {remedy}") if "\0" in str(path) else None


def cannot_write(path: str | Path, error: OSError) -> UserError:
    """The one line for a write that the operating system refused."""
    if short := starved(error):
        return short
    reason = (error.strerror or str(error) or type(error).__name__).splitlines()[0]
    number = errno.ENOSPC if re.search(r"\d+ requested and \d+ written", reason) else error.errno  # NumPy's words
    remedy = REMEDIES.get(number, "check the path and the disk")
    return UserError(f"cannot write {path}: {reason}; {remedy}")


def _system_error(error: Exception, folder: Path) -> OSError | None:
    """The operating system's refusal behind an exception, if there is one: safetensors quotes its number, torch.save
    raises a RuntimeError that says nothing about the disk."""
    if isinstance(error, UserError):
        return None
    if isinstance(error, OSError):
        return error
    if quoted := re.search(r"os error (\d+)", str(error)):
        return OSError(int(quoted[1]), os.strerror(int(quoted[1])))
    if isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 2**20:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return None


def cannot_read(path: str | Path, kind: str) -> UserError | None:
    """The one line for a `path` that cannot be a `kind` ("picture", "weights file"), or None where it can.

    Only regular files are opened: a named pipe would be waited for, a device may never end.
    """
    if refusal := no_name(path, f"name a {kind}"):
        return refusal
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            return UserError(f"{path} is a folder; name a {kind}")
        if not stat.S_ISREG(found.st_mode):
            return UserError(f"{path} is a pipe, a device or a socket; name a {kind}, as a file")
        if found.st_size == 0:
            return UserError(f"{path} is empty; it is no {kind}")
        with open(path, "rb"):
            return None
    except (FileNotFoundError, NotADirectoryError):
        return UserError(f"no {kind} at {path}: there is no such file")
    except OSError as error:
        if short := starved(error):
            return short
        return UserError(f"cannot read {kind} {path}: {error.strerror or error}; check the path and its permissions")


def fingerprint(path: Path) -> str:
    """Eight hexadecimal digits that tell whether a file holds the same as before."""
    digits = 0
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digits = zlib.crc32(block, digits)
    return f"{digits:08x}"


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically. What is no UTF-8 in the name of a file becomes an escape.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON does not have.
        UserError: the file cannot be written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # \udcff, as JSON has it


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: there is no such file, it is not JSON, or it is larger or nested deeper than any that arf reads.
    """
    text = read_text(path, "JSON file", LARGEST_JSON)
    try:
        value = json.loads(text)
        if not is_shallow(value):
            raise RecursionError("nested too deep")
        return value
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not valid JSON ({reason}); restore or regenerate it") from error


def read_text(path: str | Path, kind: str, most: int) -> str:
    """The text of a `kind` ("preset") of at most so many bytes, in UTF-8.

    Raises:
        UserError: as `cannot_read`; it is larger, or no UTF-8.
    """
    if refusal := cannot_read(path, kind):
        raise refusal
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{path} is no {kind}: it is larger than {most / 1e6:g} MB; restore or regenerate it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no {kind}: it is not UTF-8 ({error.reason}); restore or regenerate it") from error


def is_shallow(value: Any) -> bool:
    """Whether lists and objects lie in one another no deeper than in anything that arf writes or reads, so that what
    walks through them by recursion comes to an end."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [item for item in level if isinstance(item, (dict, list))]
        if not level:
            return True
        level = [item for held in level for item in (held.values() if isinstance(held, dict) else held)]
    return False


def plain(value: Any) -> Any:
    """Dataclasses, paths and tuples as JSON knows them."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value

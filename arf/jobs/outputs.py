"""Where results go: never over what is read, and over another result only when that was asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from arf.errors import UserError

OUTPUTS = ("output", "trace", "resume", "save_path", "show_regions", "export_views")  # fields that name what is written
MOST = 4  # names that a result's name holds
LONGEST = 44  # bytes of a part of a name; a file's has 255


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path], overwrite: bool = False) -> None:
    """Check what is to be written before any work is done for it.

    Raises:
        UserError: an output is one of the inputs, under whatever name; it exists already and is not to be overwritten;
            or two outputs have one name.
    """
    outputs, inputs = list(outputs), list(inputs)
    for output in outputs:
        if taken := next((path for path in inputs if _same(path, output)), None):
            which = "" if taken == output else f"{taken}, which is "
            raise UserError(f"{output} is {which}read by this command; choose another --output")
        if sum(os.path.realpath(output) == os.path.realpath(other) for other in outputs) > 1:
            raise UserError(f"two results would both be written to {output}; choose another name for one")
    existing = [path for path in outputs if os.path.lexists(path) and not os.path.isdir(path)]
    if existing and not overwrite:
        more = f", and so do {len(existing) - 1} others" if len(existing) > 1 else ""
        raise UserError(f"{existing[0]} exists already{more}; give --overwrite, or choose another --output")


def _same(path: Path, output: Path) -> bool:
    try:
        return os.path.samefile(path, output)
    except (OSError, ValueError):  # one does not exist, or cannot
        return False


def inputs_of(command: Any) -> list[Path]:
    """The files that the fields of a command name, but for those that it writes."""
    if is_dataclass(command):
        return [path for f in fields(command) if f.name not in OUTPUTS for path in inputs_of(getattr(command, f.name))]
    if isinstance(command, (tuple, list)):
        return [path for item in command for path in inputs_of(item)]
    if isinstance(command, Path):
        return [command]
    return [Path(command)] if isinstance(command, str) and "\0" not in command and os.path.isfile(command) else []


def result_path(*made_of: str, what: str, suffix: str = ".png") -> Path:
    """outputs/<photo>-<style>-<command>.png, by the names of what a result is made of."""
    more = [f"+{len(made_of) - MOST}"] if len(made_of) > MOST else []
    return Path("outputs") / f"{'-'.join(map(_part, [*made_of[:MOST], *more, what]))}{suffix}"


def _part(name: str) -> str:
    """A part of a file's name, of a name that may be a stranger's, or no UTF-8."""
    return re.sub(r"[\x00-\x1f\x7f/\\:\ud800-\udfff]", "_", name).encode()[:LONGEST].decode(errors="ignore")


def begun(output: Path, state: Path, resume: bool, restart: bool) -> bool:
    """Whether a stopped job is gone on with or begun again, so that what it left may be replaced.

    Args:
        state: what it would go on from.

    Raises:
        UserError: both at once; or the job was stopped, and it was not said what to do.
    """
    if resume and restart:
        raise UserError("--resume goes on and --restart begins again; give one of them")
    stopped = os.path.lexists(state)
    if stopped and not (resume or restart):
        raise UserError(f"{output} was begun and stopped; go on with --resume, or begin again with --restart")
    return resume or stopped


def stale(folder: Path, names: str) -> list[Path]:
    """The files in a folder whose whole names match a pattern."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.fullmatch(names, path.name) and not path.is_dir())

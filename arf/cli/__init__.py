"""Photographs of a place, repainted in the style of a picture, that you can walk through.

The command line: one dataclass per sub-command. What they do is imported when they run, so that --help is instant.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import arf
from arf.cli import film, measure, networks, pictures, scene, training
from arf.cli.common import report
from arf.cli.lines import OneLine, one_line
from arf.cli.parsing import parse
from arf.errors import UserError
from arf.jobs.files import cannot_write
from arf.jobs.interrupts import ended_as_by_ctrl_c, exit_code
from arf.jobs.machine import OutOfMemory, check_room_to_begin, keep_freed_memory, starved, yield_cores

COMMANDS = {
    name: command
    for group in (scene, measure, pictures, networks, film, training)
    for name, command in group.COMMANDS.items()
}
KINDS = {name: kind for name, (kind, _) in COMMANDS.items()}
HANDLERS = dict(COMMANDS.values())
LESS = {  # what takes less memory
    "cameras": "fewer --threads take less",
    "fit": "a larger --downscale takes less, and fewer --rays",
    "stylize": "a smaller --size takes less, --cache-memory 0.5, and --no-cache; for splats a smaller --view-size",
    "lift": "a smaller --size takes less, --cache-memory 0.5, and --no-cache; for splats a smaller --view-size",
    "blend": "a smaller --size takes less",
    "render": "a smaller --width takes less",
    "export": "fewer --points take less, and a smaller --count",
    "evaluate": "a smaller --size takes less",
    "demo": "--quick takes less",
    "texture": "a smaller --tile takes less, and a smaller --size or --width and --height",
    **dict.fromkeys(("gatys", "invert", "dream"), "a smaller --tile takes less, and a smaller --size"),
    **dict.fromkeys(("features", "adain", "cast", "fast"), "a smaller --size takes less"),
    "video": "a smaller --batch takes less, and a smaller --size",
    "train": "a smaller --batch takes less, and a smaller --crop",
}
SIGPIPE = 13  # which Windows does not have


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 2 for bad input and for what has run out, 130 after Ctrl-C, 143 after
    SIGTERM, 141 where nobody reads the output any more."""
    try:
        with ended_as_by_ctrl_c():
            _prepare()
            return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt as stop:
        _say(f"arf: stopped{stop}")
        return exit_code(stop)


def _prepare() -> None:
    """What holds for the whole process."""
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[terminal])
    warnings.filterwarnings("ignore", category=FutureWarning)
    # of torch, about what we do on purpose; the second of versions such as 2.11, whatever `check_invariants` says
    for message in ("Sparse CSR tensor support", "Sparse invariant checks", "Using a non-tuple sequence"):
        warnings.filterwarnings("ignore", message=message)
    keep_freed_memory()
    yield_cores()


def _run(arguments: list[str]) -> int:
    said, as_json = {"say": f"arf {arf.__version__}"}, False
    try:
        if arguments != ["--version"]:
            check_room_to_begin()
            command = parse(KINDS, arguments, f"{__doc__.splitlines()[0]} --version says which arf this is.")
            command.common.begin()
            said = HANDLERS[type(command)](command)
            as_json = getattr(command.common, "json", False)  # arf view has no result
    except SystemExit:  # tyro's, after --help
        if unread := _written(lambda: None):
            return unread
        raise
    except BrokenPipeError:
        return _written(lambda: None) or 128 + SIGPIPE
    except Exception as error:
        line = starved(error) or (error if isinstance(error, UserError) else None)
        if line is None and isinstance(error, OSError):  # a full disk in some library's hands
            line = cannot_write(error.filename or "a file of the run", error)
        if line is None:
            raise
        _say(f"arf: {line}; {LESS.get(arguments[0], 'free some')}" if isinstance(line, OutOfMemory) else f"arf: {line}")
        return 2
    return _written(lambda: report(said, as_json), said) if said else 0


def _written(tell: Callable[[], None], what: dict[str, Any] | None = None) -> int:
    """Tell what came out, and return the exit code. Where nobody can take it in, the work is done nevertheless."""
    try:
        tell()
        if sys.stdout:
            sys.stdout.flush()
        return 0
    except OSError as error:
        with suppress(OSError):  # what is still to be written would be tried, and complained about, at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 128 + SIGPIPE
        _say(f"arf: cannot write the output: {error.strerror}; what was made: {what}")
        return 2


def _say(line: str) -> None:
    with suppress(OSError):  # there may be nobody to read it
        print(one_line(line), file=sys.stderr, flush=True)

"""Photographs of a place, repainted in the style of a picture, that you can walk through.

The command line: one dataclass per sub-command. What they do is imported when they run, so that --help is instant.
"""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

import arf
from arf.cli import film, networks, pictures, scene, training
from arf.cli.common import report
from arf.cli.lines import OneLine, one_line
from arf.errors import UserError
from arf.jobs.allocator import keep_freed_memory
from arf.jobs.files import cannot_write
from arf.jobs.interrupts import ended_as_by_ctrl_c, exit_code
from arf.jobs.presets import apply_preset

COMMANDS = {
    name: command for group in (scene, pictures, networks, film, training) for name, command in group.COMMANDS.items()
}
Command = Union[tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, (kind, _) in COMMANDS.items())]  # noqa: UP007
HANDLERS = dict(COMMANDS.values())


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"arf {arf.__version__}")
        return 0
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[terminal])
    warnings.filterwarnings("ignore", category=FutureWarning)
    for message in ("Sparse CSR tensor support", "Using a non-tuple sequence"):  # of torch, about what we do on purpose
        warnings.filterwarnings("ignore", message=message)
    keep_freed_memory()
    with ended_as_by_ctrl_c():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        command = tyro.cli(
            Command, prog="arf", description=f"{__doc__.splitlines()[0]} --version says which arf this is.",
            args=arguments, **_preset(arguments),
        )  # fmt: skip
        result = HANDLERS[type(command)](command)
    except UserError as error:
        return _refuse(error)
    except KeyboardInterrupt as stop:
        print(one_line(f"arf: stopped{stop}"), file=sys.stderr)
        return exit_code(stop)
    except OSError as error:  # a full disk in some library's hands
        return _refuse(cannot_write(error.filename or "a file of the run", error))
    if result:
        report(result, as_json=getattr(command, "common", command).json)
    return 0


def _refuse(error: UserError) -> int:
    print(one_line(f"arf: {error}"), file=sys.stderr)
    return 2


def _preset(arguments: list[str]) -> dict[str, Any]:
    """Read --config before the other flags, so that it changes their defaults."""
    path = None
    for i, word in enumerate(arguments):
        if word == "--config" and i + 1 < len(arguments):
            path = arguments[i + 1]
        elif word.startswith("--config="):
            path = word.split("=", 1)[1]
    if path is None or arguments[0] not in COMMANDS:
        return {}
    kind, _ = COMMANDS[arguments[0]]
    known = {f.name: f for f in fields(kind)}
    if "config" not in known:
        return {}
    sections = [name for name, (kind, _) in COMMANDS.items() if "config" in {f.name for f in fields(kind)}]
    values = apply_preset(known["settings"].default_factory(), Path(path), arguments[0], sections)
    needed = {f.name: tyro.MISSING for f in known.values() if f.default is f.default_factory is MISSING}
    return {"default": kind(settings=values, **needed)}

"""Photographs of a place, repainted in the style of a picture, that you can walk through.

The command line: one dataclass per sub-command. What they do is imported when they run, so that --help is instant.
"""

from __future__ import annotations

import logging
import sys
import warnings

import arf
from arf.cli import film, networks, pictures, scene, training
from arf.cli.common import report
from arf.cli.lines import OneLine, one_line
from arf.cli.parsing import parse
from arf.errors import UserError
from arf.jobs.allocator import keep_freed_memory
from arf.jobs.files import cannot_write
from arf.jobs.interrupts import ended_as_by_ctrl_c, exit_code

COMMANDS = {
    name: command for group in (scene, pictures, networks, film, training) for name, command in group.COMMANDS.items()
}
KINDS = {name: kind for name, (kind, _) in COMMANDS.items()}
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
        command = parse(KINDS, arguments, f"{__doc__.splitlines()[0]} --version says which arf this is.")
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

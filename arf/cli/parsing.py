"""From arguments to the dataclass of a command, by tyro; what is wrong with them in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from arf.errors import UserError
from arf.jobs.presets import apply_preset

AT_MOST = 300  # characters of what tyro says
MEANT = {  # flags of other commands, or of an older arf, and what they may stand for
    "--style-weight": {"--style-strength": " (of the loss)", "--style-weights": " (of pictures in a mix)"},
}


def parse(commands: Mapping[str, type], arguments: Sequence[str], description: str) -> Any:
    """The command that the arguments ask for, an instance of its dataclass.

    Args:
        commands: the dataclass of each command.
        description: of all of them, for --help.

    Raises:
        UserError: no such command, or arguments that it does not take.
        SystemExit: help or a completion script was asked for and printed.
    """
    name = arguments[0] if arguments else ""
    if kind := commands.get(name):  # alone: all parsers together take tyro fifteen times as long
        sections = [section for section, kind in commands.items() if "config" in _names(kind)]
        preset = _preset(name, kind, arguments[1:], sections)
        return _tyro(kind, f"arf {name}", arguments[1:], _flags(kind), **preset)
    if name.startswith("-"):
        every = Union[tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in commands.items())]  # noqa: UP007
        return _tyro(every, "arf", arguments, ("--help", "--version"), description=description)
    near = get_close_matches(name, commands, n=1)
    hint = f"did you mean arf {near[0]}?" if near else f"there are {', '.join(commands)}"
    raise UserError(f"{f'no command {name!r}' if name else 'name a command'}; {hint}; see arf --help")


def _tyro(kind: Any, prog: str, arguments: Sequence[str], flags: Sequence[str], **options: Any) -> Any:
    """tyro's parser, which prints boxes of several lines and ends the process where it does not understand."""
    said = StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(kind, prog=prog, args=arguments, **options)
    except SystemExit as end:
        if end.code != 2:
            raise
    text = _inside_box(said.getvalue())
    unknown = next((word for word in re.findall(r"--[\w-]+", text) if word not in flags), "")
    near = [flag for flag in MEANT.get(unknown, {}) if flag in flags] or get_close_matches(unknown, flags, n=1)
    meant = " or ".join(f"{flag}{MEANT.get(unknown, {}).get(flag, '')}" for flag in near)
    raise UserError(f"{text}{f'; did you mean {meant}?' if near else ''}; see {prog} --help")


def _inside_box(said: str) -> str:
    """The first paragraph of one of tyro's boxes, as a line."""
    rows = [re.sub(r"\x1b\[[0-9;]*m", "", row).strip("│ ") for row in said.splitlines()][1:]  # the title is the first
    text = " ".join(rows).strip(" -")  # its frame, where the terminal has no other
    text = re.split(r"─{3,}|-{3,}|╰|Got errors:", text)[0]
    text = " ".join(text.split()).rstrip(".")
    return f"{text[:1].lower()}{text[1:AT_MOST]}{'…' * (len(text) > AT_MOST)}"


def _flags(kind: type) -> list[str]:
    """The flags of a command: its own, and those of its settings, which have no prefix."""
    return [f"--{name.strip('_').replace('_', '-')}" for name in _names(kind)]


def _names(kind: type) -> Iterator[str]:
    for field in fields(kind):
        if is_dataclass(field.default_factory):
            yield from _names(field.default_factory)
        else:
            yield field.name


def _preset(name: str, kind: type, arguments: Sequence[str], sections: Sequence[str]) -> dict[str, Any]:
    """Read --config before the other flags, so that it changes their defaults."""
    path = None
    for i, word in enumerate(arguments):
        if word == "--config" and i + 1 < len(arguments):
            path = arguments[i + 1]
        elif word.startswith("--config="):
            path = word.split("=", 1)[1]
    known = {f.name: f for f in fields(kind)}
    if path is None or "config" not in known:
        return {}
    values = apply_preset(known["settings"].default_factory(), Path(path), name, sections)
    needed = {f.name: tyro.MISSING for f in known.values() if f.default is f.default_factory is MISSING}
    return {"default": kind(settings=values, **needed)}

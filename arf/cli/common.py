"""What all commands share: common options, progress bars, and the result in words or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arf.cli.lines import lines


@dataclass
class Talk:
    """What a command says."""

    quiet: bool = False
    """No progress, only warnings and errors."""
    json: bool = False
    """Print the result as one JSON object, for scripts."""


@dataclass
class Replacing(Talk):
    """What a command does with results that exist already."""

    overwrite: bool = False
    """Replace results that exist already."""


@dataclass
class Stoppable(Replacing):
    """What a command does with a job of the same result that was stopped or killed."""

    resume: bool = False
    """Go on where the same command was stopped or killed."""
    restart: bool = False
    """Begin again where the same command was stopped or killed; what it had done is lost."""


@contextmanager
def progress(common: Talk) -> Iterator[Any]:
    """Progress bars of rich on the terminal's error stream: one per phase, with the latest figures."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
    )  # fmt: skip
    tasks: dict[str, Any] = {}
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=common.quiet or common.json or not console.is_terminal) as bars:

        def update(phase: str, step: int, steps: int, figures: dict[str, float]) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=steps, figures="")
            said = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            bars.update(tasks[phase], completed=step, total=steps, figures=said)

        yield update


def report(result: dict[str, Any], as_json: bool) -> None:
    said = result.pop("say")
    print(json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in result.items()}) if as_json else lines(said))

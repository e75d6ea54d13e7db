"""What all commands share: common options, progress bars, and the result in words or JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arf.cli.lines import lines, one_line
from arf.jobs.checks import within
from arf.jobs.machine import limit_threads

EVERY = 30.0  # seconds between lines of progress


@dataclass
class Work:
    """How much of the machine a command takes."""

    threads: int | None = None
    """How many threads may work; when left out as many as OMP_NUM_THREADS says, or as there are cores."""

    def begin(self) -> None:
        """Let it hold for this process; before torch is imported, or else not everything can be told.

        Raises:
            UserError: that many make no sense.
        """
        within(self, 1, 1024, "threads")
        if self.threads:
            limit_threads(self.threads)


@dataclass
class Talk(Work):
    """What a command says."""

    quiet: bool = False
    """No progress, only warnings and errors."""
    json: bool = False
    """Print the result as one JSON object, for scripts."""


@dataclass
class Output(Talk):
    """What every command that makes a run has in common."""

    output: Path = Path("outputs")
    """Runs are written below this folder."""


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
    """How far a command is, with the latest figures, on the error stream: bars of rich on a terminal, elsewhere a line
    every half minute."""
    from rich.console import Console

    console = Console(stderr=True)
    if common.quiet or common.json:
        yield lambda *_: None
    elif console.is_terminal:
        with _bars(console) as update:
            yield update
    else:
        yield _now_and_then()


def _now_and_then() -> Callable[[str, int, int, dict[str, float]], None]:
    """Lines with the time that a phase has left, by its own pace so far. A job that is done sooner says nothing."""
    said = time.monotonic()
    begun: dict[str, tuple[float, int]] = {}  # when a phase told its first step, and which
    latest: dict[str, int] = {}  # step

    def update(phase: str, step: int, steps: int, figures: dict[str, float]) -> None:
        nonlocal said
        now = time.monotonic()
        if step < latest.get(phase, step + 1):  # a new one, or once more from the beginning
            begun[phase] = now, step
        latest[phase] = step
        if now - said < EVERY:
            return
        said, (since, first) = now, begun[phase]
        left = f"{_clock((now - since) * (steps - step) / (step - first))} left" if step > first else ""
        with suppress(OSError):  # nobody reads it any more: no reason to stop
            line = "  ".join(filter(None, (f"{phase} {step}/{steps}", _said(figures), left)))
            print(one_line(line), file=sys.stderr, flush=True)

    return update


def _clock(seconds: float) -> str:
    """1:05 for a minute and five seconds, 2:01:05 for two hours more."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


@contextmanager
def _bars(console: Any) -> Iterator[Callable[[str, int, int, dict[str, float]], None]]:
    """One for each phase."""
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
    with Progress(*columns, console=console) as bars:

        def update(phase: str, step: int, steps: int, figures: dict[str, float]) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=steps, figures="")
            bars.update(tasks[phase], completed=step, total=steps, figures=_said(figures))

        yield update


def _said(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def report(result: dict[str, Any], as_json: bool) -> None:
    said = result.pop("say")
    print(json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in result.items()}) if as_json else lines(said))


def place(run: Any, *names: str) -> Path:
    """Where what is made of a run goes."""
    from arf.jobs.files import below

    return below(run.folder, *names)


def of_run(command: Any, section: str, run: Any, paint: tuple[str, ...]) -> Any:
    """A command's settings, less what only its preset says of the paint of a run that has none."""
    from arf.jobs.presets import unless_preset

    if run.kind == "stylize":
        return command.settings
    return unless_preset(command.settings, command.config, section, paint)

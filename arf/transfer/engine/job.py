"""The files of one optimisation: the result, previews, a trace, and what a stopped job goes on from."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.files import atomic_path, check_writable, plain
from arf.jobs.outputs import begun, check_outputs, stale
from arf.jobs.tensors import load_tensors, save_tensors
from arf.media import image
from arf.transfer.engine.optimize import Interrupted, Moment, Picture, State
from arf.transfer.engine.search import Memory

REMEDY = "begin again with --restart"
SEARCH = "search."  # begins the names of what the optimiser remembers
SELDOM = 20  # times what it took to write a large state pass until the next is written


def state_path(output: Path) -> Path:
    """What a job that writes `output` goes on from."""
    return output.with_name(f"{output.stem}.resume.safetensors")


class Job:
    """One picture in the making, written to `output`.

    Beside it lie, until it is finished, `<name>.preview.png` and `<name>.resume.safetensors`.

    Args:
        asked: inputs and settings; a job is only gone on with by the same ones.
        output: the picture to write.
        preview_every: steps between previews, which are also the points to go on from; 0 for none.
        save_every: steps between pictures that are kept, as `<name>-<size>-<step>.png`; 0 for none.
        trace: CSV file for the terms of the loss at every step.
        resume: go on from an earlier job's state.
        restart: leave an earlier job's state alone until it is replaced.
        overwrite: replace results that exist already.
        inputs: files that are not to be written.

    Raises:
        UserError: a name that is no picture's, or is taken; nothing to go on from; or a stopped job of that name, and
            neither `resume` nor `restart`.
    """

    def __init__(
        self,
        asked: dict[str, Any],
        output: Path,
        preview_every: int = 50,
        save_every: int = 0,
        trace: Path | None = None,
        resume: bool = False,
        restart: bool = False,
        overwrite: bool = False,
        inputs: Sequence[Path] = (),
    ) -> None:
        image.check_name(output)
        if preview_every < 0 or save_every < 0:
            raise UserError("preview_every and save_every are numbers of steps: 1 or more, or 0 for never")
        self.asked, self.output = plain(asked), output
        self.preview_every, self.save_every, self.trace = preview_every, save_every, trace
        self.preview_path = output.with_name(f"{output.stem}.preview.png")
        self.state_path = state_path(output)
        mine = begun(output, self.state_path, resume, restart)
        results = [output, *([trace] if trace else [])]
        self._stale = stale(output.parent, rf"{re.escape(output.stem)}-\d+x\d+-\d{{4,}}\.png") if save_every else []
        check_outputs([*results, self.state_path, self.preview_path, *self._stale], inputs, overwrite=True)
        check_outputs([*results, *self._stale], (), overwrite or mine)
        for path in results:
            check_writable(path)
        self.moment: Moment | None = None
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self.go_on = self._read_state() if resume else None
        if resume:
            self._stale = []
        self._began = time.monotonic() - self.seconds
        self._saved = self._saving = 0.0

    def watch(self, moment: Moment) -> None:
        """Take note of a step."""
        self._note(moment)
        while self._stale:  # of an earlier job, which this one replaces
            self._stale.pop().unlink(missing_ok=True)
        height, width = moment.size
        if self.save_every and moment.step % self.save_every == 0:
            name = f"{self.output.stem}-{width}x{height}-{moment.step:04d}.png"
            image.write(self.output.with_name(name), moment.picture())
        if self.preview_every and moment.step % self.preview_every == 0:
            image.write(self.preview_path, moment.picture())
            if time.monotonic() - self._saved >= SELDOM * self._saving:
                self._save(moment)

    def stop(self, stopped: Interrupted) -> str:
        """Ctrl-C: write the best picture so far, and return what to tell the user."""
        if stopped.moment is None:
            return ""
        self._note(stopped.moment)
        try:
            self._save(stopped.moment)
        finally:  # also where the disk is too full for the state
            image.write(self.output, stopped.moment.picture())
        self.preview_path.unlink(missing_ok=True)
        return f"; the best picture so far is {self.output}, go on with --resume"

    def finish(self, picture: Picture) -> None:
        """Write the result and the trace."""
        image.write(self.output, picture)
        self._write_trace()
        self.preview_path.unlink(missing_ok=True)

    def keep(self) -> None:
        """Keep a state of the finished picture, so that to go on is to make it again in no time."""
        if self.moment:
            self._save(self.moment, finished=True)

    def forget(self) -> None:
        """Drop the state to go on from."""
        self.state_path.unlink(missing_ok=True)

    def _note(self, moment: Moment) -> None:
        """Write a step's row, once: Ctrl-C may have come before or after it was written."""
        self.moment = moment
        height, width = moment.size
        place = {"width": width, "height": height, "step": moment.step}
        if self.rows and place.items() <= self.rows[-1].items():
            return
        self.seconds = time.monotonic() - self._began
        figures = {"total": sum(moment.parts.values()), **moment.parts}
        self.rows.append({**place, "seconds": self.seconds, **figures})

    def _save(self, moment: Moment, finished: bool = False) -> None:
        """Write the state; that of a finished picture is without what the optimiser remembers."""
        began = time.monotonic()
        tensors = {"best": moment.best}
        if not finished:
            tensors |= {f"{SEARCH}{name}": tensor for name, tensor in moment.memory.tensors.items()}
        notes = _Notes(
            self.asked, moment.scale, moment.step, self.seconds, self.rows, None if finished else moment.memory.numbers
        )
        save_tensors(self.state_path, tensors, **vars(notes))
        self._write_trace()  # second: a trace without a state would stand in the way of whoever begins again
        self._saved = time.monotonic()
        took = self._saved - began
        self._saving = took if took > 1 else 0.0

    def _read_state(self) -> State:
        if not self.state_path.exists():
            raise UserError(f"nothing to go on from: there is no {self.state_path}; leave out --resume")
        tensors, held = load_tensors(self.state_path, REMEDY)
        notes = admit(_Notes, held, self.state_path, REMEDY)
        was = notes.asked
        if differing := sorted(k for k in {*was, *self.asked} if was.get(k) != self.asked.get(k)):
            raise UserError(f"{self.state_path} was made with another {', '.join(differing)}; {REMEDY}")
        if "best" not in tensors or not all({"width", "height", "step", "total"} <= row.keys() for row in notes.rows):
            raise UserError(f"{self.state_path} lacks the best picture, or figures of its steps; {REMEDY}")
        self.rows, self.seconds = notes.rows, notes.seconds
        best = tensors.pop("best")
        memory = None
        if notes.search is not None:
            memory = Memory({name.removeprefix(SEARCH): t for name, t in tensors.items()}, notes.search)
        return State(notes.scale, notes.step, best, memory, str(self.state_path), REMEDY)

    def _write_trace(self) -> None:
        if not self.trace or not self.rows:
            return
        with atomic_path(self.trace) as temporary, open(temporary, "w", newline="") as file:
            names = list(dict.fromkeys(name for row in self.rows for name in row))
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)


@dataclass
class _Notes:
    """What a state says beside its tensors.

    Attributes:
        search: numbers of the optimiser; None where the picture is finished.
    """

    asked: dict[str, Any]
    scale: int
    step: int
    seconds: float
    rows: list[dict[str, int | float]]
    search: dict[str, Any] | None

"""Everything that changes while splats are fitted, and its file: to go on from there gives the same result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.runs import Run, check_rows
from arf.jobs.tensors import check_tensors, optimizer_tensors, restore_optimizer, tensors_like
from arf.radiance.capture.formats.points import Points
from arf.radiance.capture.views import Views, view_of_step
from arf.radiance.fields.place import Place
from arf.radiance.fields.splats.descent.engines import engine_on
from arf.radiance.fields.splats.descent.growth import grow
from arf.radiance.fields.splats.descent.tuning import Tuning
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.fit.splats.pictures import Pictures
from arf.radiance.fit.splats.start import start
from arf.radiance.fit.state import REMEDY, Told, check_ranges, exploded
from arf.radiance.settings import FitSettings

SHARES = (0.5, 1.0)  # of the working size that pictures have, one after the other
TURN = 0.6  # share of the steps after which they are whole
EVERY = 50  # steps between looks for splats that have faded, and for room for more
UNTIL = 0.8  # share of the steps after which there are no more
FIRST = 0.8  # splats at the start, of those at the end
LARGEST = 2.4  # standard deviation of a splat, times the distance of its first neighbours: paint needs them everywhere
PER_SIDE = 340  # splats at the end, times the side of a square with as many pixels as a view
LEAST, MOST = 20_000, 240_000  # of them


@dataclass
class Notes:
    """What the file of a state says beside its tensors."""

    step: int
    seconds: float
    curves: list[dict[str, int | float]]


class SplatState:
    """A fit of splats after a whole number of steps.

    Every random draw of a step follows from the seed and the step's number, so that nothing of it need be kept. A fit
    that was begun on one device goes on on another.

    Args:
        field: its device is where steps are computed, if they can be (see
            `arf.radiance.fields.splats.descent.engines.engine_on`).
        points: on what the views show, if any are known.

    Attributes:
        seconds: spent on the start and in steps, over all sittings.
        curves: the figures so far.
        tuning: None until `begin` has found where to start.
    """

    def __init__(
        self, field: SplatField, settings: FitSettings, views: Views, place: Place, points: Points | None = None
    ) -> None:
        self.field, self.settings, self.cameras, self.place = field, settings, views.cameras, place
        self.points = points
        self.pictures = Pictures(views, SHARES)
        self.engine = engine_on(field.device, field.antialiased)
        self.seconds = 0.0
        self.curves: list[dict[str, float]] = []
        self.tuning: Tuning | None = None
        side = math.sqrt(sum(camera.pixels for camera in views.cameras) / len(views))
        self.most = settings.splats or int(min(max(PER_SIDE * side, LEAST), MOST))

    @property
    def step(self) -> int:
        return self.tuning.step if self.tuning else 0

    def begin(self, stopped: Callable[[], bool], told: Told) -> None:
        """Find where splats are to begin, if that has not been done in an earlier sitting.

        Raises:
            UserError: no surface was found.
            KeyboardInterrupt: `stopped` has become true.
        """
        if self.tuning is None:
            begun, first = time.perf_counter(), max(1, int(FIRST * self.most))
            own = self.cameras, self.pictures, self.place, self.settings
            self.begin_with(start(*own, first, self.points, self.engine.device, stopped, told))
            self.seconds = time.perf_counter() - begun

    def begin_with(self, splats: Splats) -> None:
        """Take these for the start."""
        self.tuning = Tuning.of(splats, **self._options())

    def advance(self) -> dict[str, Tensor]:
        """One step; the mean squared error before it, and how many splats there are."""
        tuning, step, steps = self.tuning, self.step, self.settings.steps
        generator = torch.Generator().manual_seed((self.settings.seed * 1_000_003 + step) % 2**63)
        view = view_of_step(step, len(self.pictures), self.settings.seed)
        device = self.engine.device
        picture = self.pictures.at(int(step >= TURN * steps), view).to(device)
        background = torch.rand(3, generator=generator).to(device)  # what is seen through shows another one each time
        target = picture.over(background, self.pictures.usual.to(device))
        error = tuning.advance(picture.camera, target, background, picture.mask)
        if tuning.step % EVERY == 0 and tuning.step < UNTIL * steps:
            grow(tuning, self.most, generator)
        return {"rgb": error, "splats": torch.tensor(float(len(tuning)))}

    def _options(self) -> dict[str, Any]:
        s = self.settings
        last = s.final_learning_rate / s.learning_rate
        return {"engine": self.engine, "steps": s.steps, "rate": s.learning_rate, "last": last, "largest": LARGEST}

    def finished(self) -> SplatField:
        """The field as it is now."""
        self.field.splats = self.tuning.splats().to(torch.device("cpu"))
        return self.field

    def finite(self) -> bool:
        return all(bool(value.isfinite().all()) for value in self.tuning.raw.values())

    def save(self, run: Run) -> None:
        """Write resume.safetensors, once there is anything to keep.

        Raises:
            UserError: the state is not finite; what was saved before stays.
        """
        if self.tuning is None:
            return
        moments = optimizer_tensors(self.tuning.optimizer, "adam")
        if not (self.finite() and all(bool(m.isfinite().all()) for m in moments.values())):
            raise self.exploded(run, "the field")
        tensors = {f"raw.{name}": value for name, value in self.tuning.raw.items()} | moments
        tensors["units"] = self.tuning.units
        run.save("resume", tensors, step=self.step, seconds=self.seconds, curves=self.curves)

    def exploded(self, run: Run, what: str) -> UserError:
        """The one line for numbers that are no longer finite."""
        return exploded(run, what, self.step, self.settings)

    def load(self, run: Run) -> None:
        """Take over what `save` wrote, if there is something.

        Raises:
            UserError: the file is damaged, or of another fit.
        """
        if not run.has("resume"):
            return
        tensors, values = run.load("resume")
        where = run.path / "resume.safetensors"
        notes = admit(Notes, values, where, REMEDY)
        check_ranges({"step": (0, notes.step, self.settings.steps), "seconds": (0, notes.seconds, 1e12)}, where)
        check_rows(notes.curves, notes.step, where, REMEDY)
        count = tensors["raw.means"].shape[:1].numel() if "raw.means" in tensors else 0
        if not 1 <= count <= self.most:
            raise UserError(f"{where}: it holds {count} splats, not between 1 and {self.most}; {REMEDY}")
        like = {f"raw.{name}": torch.empty(count, *shape) for name, shape in Tuning.SHAPES.items()}
        like["units"] = torch.empty(count)
        check_tensors({name: value for name, value in tensors.items() if name in like}, like, where, REMEDY)
        own = {name: tensors.pop(name).float().clone().to(self.engine.device) for name in like}
        if not (own["units"] > 0).all():
            raise UserError(f"{where}: units are not positive; {REMEDY}")
        tuning = Tuning({name: own[f"raw.{name}"] for name in Tuning.SHAPES}, own["units"], **self._options())
        check_tensors(tensors, tensors_like(tuning.optimizer, "adam") if notes.step else {}, where, REMEDY)
        restore_optimizer(tuning.optimizer, tensors, "adam")
        tuning.step = notes.step
        self.tuning, self.seconds, self.curves = tuning, notes.seconds, notes.curves

"""Everything that changes during a fit, and its file: to go on from there gives the same result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from arf.adam import Adam
from arf.errors import UserError
from arf.jobs.checks import said
from arf.jobs.door import admit
from arf.jobs.runs import Run, check_rows
from arf.jobs.tensors import check_tensors, optimizer_tensors, restore_optimizer, tensors_like
from arf.radiance.fields.field import Field
from arf.radiance.fields.rays.batch import Trainable
from arf.radiance.fields.stored import restore
from arf.radiance.fit.bank import RayBank
from arf.radiance.settings import FitSettings

MOST_RAYS, FEWEST_RAYS = 16384, 512  # of a batch whose size follows from the samples that it takes
REMEDY = "fit again"

Told = Callable[[int, int, dict[str, float]], None]  # step, steps, figures


@dataclass
class Notes:
    """What the file of a state says beside its tensors."""

    step: int
    rays: int
    seconds: float
    curves: list[dict[str, int | float]]
    schedule: int = 0
    scaler: dict[str, int | float] = field(default_factory=dict)


class FitState:
    """A fit after a whole number of steps.

    Args:
        bank: what the rays are drawn from; None for a state that takes no steps.

    Attributes:
        step: that number.
        rays: of the next batch.
        seconds: spent in steps, over all sittings.
        curves: the figures so far.
    """

    def __init__(self, field: Trainable, settings: FitSettings, bank: RayBank | None = None) -> None:
        self.field, self.settings, self.bank = field, settings, bank
        self.step, self.rays = 0, field.first_rays or settings.rays
        self.seconds = 0.0
        self.curves: list[dict[str, float]] = []
        self.scaler = torch.amp.GradScaler(enabled=field.half)
        self.optimizer = self._adam()

    def _adam(self) -> Adam:
        rate, betas = self.settings.learning_rate, self.field.betas
        return Adam(self.field.groups(), lr=rate, betas=betas, eps=1e-15, fused=True)

    def begin(self, stopped: Callable[[], bool], told: Told) -> None:
        """Before the first step of a sitting."""
        self.field.train()

    def advance(self) -> dict[str, Tensor]:
        """One step; its loss terms."""
        field = self.field
        field.before_step(self.step)
        batch = self.bank.draw(self.rays)
        self._set_rate()
        with torch.autocast(field.device.type, enabled=field.half):
            losses, samples = field.losses(batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(sum(losses.values())).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if samples is not None:  # keep their number, and so the time of a step, about constant
            wanted = self.rays * self.settings.samples / max(1, samples)
            self.rays = int(min(max(0.9 * self.rays + 0.1 * wanted, FEWEST_RAYS), MOST_RAYS))
        field.after_step(self.step, self.optimizer)  # before anything that may stop here: to go on from a whole step
        self.step += 1
        return losses

    def finished(self) -> Field:
        """The field as it is now."""
        return self.field

    def _set_rate(self) -> None:
        """Exponential decay; a group that has a share of its own moves at that share of the rate."""
        s = self.settings
        rate = s.learning_rate * (s.final_learning_rate / s.learning_rate) ** (self.step / s.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)

    def finite(self) -> bool:
        return all(bool(p.isfinite().all()) for p in self._parameters())

    def _parameters(self) -> Iterator[Tensor]:
        return (p for group in self.optimizer.param_groups for p in group["params"])

    def save(self, run: Run) -> None:
        """Write resume.safetensors.

        Raises:
            UserError: the state is not finite; what was saved before stays.
        """
        moments = optimizer_tensors(self.optimizer, "adam")
        if not (self.finite() and all(bool(m.isfinite().all()) for m in moments.values())):
            raise self.exploded(run, "the field")
        tensors = {f"model.{k}": v for k, v in self.field.state_dict().items()} | moments
        tensors["random"] = torch.get_rng_state()
        if self.field.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.field.device)
        notes = {"schedule": getattr(self.field, "schedule", 0), "scaler": self.scaler.state_dict()}
        run.save("resume", tensors, step=self.step, rays=self.rays, seconds=self.seconds, curves=self.curves, **notes)

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
        self._check(notes, where)
        restore(self.field, {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, where, REMEDY)
        self.optimizer = self._adam()
        self._load_moments({k: v for k, v in tensors.items() if k.startswith("adam.")}, where)
        self._load_random(tensors, where)
        self.step, self.rays, self.seconds, self.curves = notes.step, notes.rays, notes.seconds, notes.curves
        if hasattr(self.field, "schedule"):
            self.field.schedule = notes.schedule
        if notes.scaler.keys() == self.scaler.state_dict().keys():  # begun on another device it has none, or needs none
            self.scaler.load_state_dict(notes.scaler)

    def _check(self, notes: Notes, where: object) -> None:
        ranges = {
            "step": (0, notes.step, self.settings.steps),
            "rays": (1, notes.rays, max(MOST_RAYS, self.settings.rays)),
            "seconds": (0, notes.seconds, 1e12),
            "schedule": (0, notes.schedule, 1e9),
            **{f"scaler.{name}": (0, value, 1e38) for name, value in notes.scaler.items()},
        }
        check_ranges(ranges, where)
        check_rows(notes.curves, notes.step, where, REMEDY)

    def _load_moments(self, tensors: dict[str, Tensor], where: object) -> None:
        """Adam's memory; a parameter that has just become another, such as a finer grid's, has none."""
        numbers = {name.split(".")[1] for name in tensors}
        like = {k: v for k, v in tensors_like(self.optimizer, "adam").items() if k.split(".")[1] in numbers}
        check_tensors(tensors, like, where, REMEDY)
        restore_optimizer(self.optimizer, tensors, "adam")

    def _load_random(self, tensors: dict[str, Tensor], where: object) -> None:
        """The states of the random generators; of those of a GPU, that was begun with, a CPU has no use."""
        cuda = self.field.device.type == "cuda" and "random.cuda" in tensors
        like = {"random": torch.get_rng_state()}
        if cuda:
            like["random.cuda"] = torch.cuda.get_rng_state(self.field.device)
        check_tensors({name: tensors[name] for name in like if name in tensors}, like, where, REMEDY)
        try:
            torch.set_rng_state(tensors["random"])
            if cuda:
                torch.cuda.set_rng_state(tensors["random.cuda"], self.field.device)
        except (RuntimeError, TypeError) as error:
            raise UserError(f"{where}: the state of the random numbers is damaged; {REMEDY}") from error


def exploded(run: Run, what: str, step: int, settings: FitSettings) -> UserError:
    """The one line for numbers that are no longer finite."""
    kept = f"the last good state is in {run.path}: " if run.has("resume") else ""
    return UserError(
        f"{what} became NaN or infinite at step {step}; {kept}lower --learning-rate "
        f"(now {settings.learning_rate:g}) and fit again"
    )


def check_ranges(ranges: dict[str, tuple[float, float, float]], where: object) -> None:
    """Raises UserError where what a file says, by name (least, value, most), is out of its range."""
    for name, (low, value, high) in ranges.items():
        if not low <= value <= high:
            raise UserError(f"{where}: {name} is {said(value)}, not between {low:g} and {high:g}; {REMEDY}")

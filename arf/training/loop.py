"""The loop that trains any of the networks: batches in, a run directory with the network out."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.interrupts import AtOnce, held_interrupts
from arf.jobs.runs import Curves, Run
from arf.jobs.tensors import check_finite, check_tensors, optimizer_tensors, restore_optimizer, tensors_like
from arf.media import image
from arf.networks.modelfile import MODEL
from arf.training.data import Batch, Samples, stream
from arf.training.processes import Team
from arf.training.settings import TrainSettings
from arf.training.trainee import Phase, Trainee

log = logging.getLogger(__name__)
Progress = Callable[[str, int, int, dict[str, float]], None]  # phase, step, steps, figures
LOG_EVERY = 10  # steps
SAMPLES = 4  # pictures in a row of the sample sheet


class Loop:
    """A trainee with all that changes while it is trained.

    Args:
        run: where rank 0 writes; its `resume.safetensors` is gone on from where there is one.
    """

    def __init__(self, trainee: Trainee, settings: TrainSettings, run: Run, team: Team) -> None:
        self.trainee, self.settings, self.run, self.team = trainee, settings, run, team
        self.half = settings.precision == "half" or (settings.precision == "auto" and team.device.type == "cuda")
        scaled = self.half and team.device.type == "cuda"
        self.scalers = [torch.amp.GradScaler("cuda", enabled=scaled) for _ in trainee.phases]
        self.shared = [team.share(phase.objective) for phase in trainee.phases]
        self.step, self.seconds = 0, 0.0
        self.curves: list[dict[str, float]] = []
        self.skipped: set[str] = set()
        if run.has("resume"):
            self._restore()

    def train(self, progress: Progress | None = None) -> None:
        """All steps that are left.

        Raises:
            UserError: a loss that is not finite, or folders of broken pictures.
            KeyboardInterrupt: passed on after the state has been saved.
        """
        s, team = self.settings, self.team
        samples = Samples(self.trainee.sources, s.crop, s.seed)
        batches = stream(samples, self.step, s.steps, s.batch, team.rank, team.ranks, s.workers)
        with (
            held_interrupts() as stopped,
            Curves(self.run.path, self.curves) if team.leads else nullcontext() as curves,
        ):
            try:
                for batch in batches:
                    self._update(batch, curves, progress)
                    if team.any(stopped()):  # a whole step, and the same one in all processes
                        raise KeyboardInterrupt
            except AtOnce:
                raise
            except KeyboardInterrupt:
                self.save()
                raise
            self._show(curves)
            if team.leads:
                curves.draw()
        self.skipped = set().union(*team.gather(self.skipped))

    def save(self) -> None:
        """Write the network and what training goes on from.

        Raises:
            UserError: numbers that are not finite, which are not written over the last good ones.
        """
        if not self.team.leads:
            return
        tensors = self._learned()
        check_finite(tensors, f"step {self.step}", f"{self._kept()}lower --learning-rate and train again")
        for phase in self.trainee.phases:
            tensors |= optimizer_tensors(phase.optimizer, f"optimizer.{phase.name}")
        self.run.save(
            "resume",
            tensors,
            step=self.step,
            seconds=self.seconds,
            curves=self.curves,
            skipped=sorted(self.skipped),
            scalers=[scaler.state_dict() for scaler in self.scalers],
        )
        self.trainee.save(self.run.path / MODEL)

    def _restore(self) -> None:
        tensors, held = self.run.load("resume")
        where, remedy = self.run.path / "resume.safetensors", "make the run again"
        notes = admit(_Notes, held, where, remedy)
        if not 0 <= notes.step <= self.settings.steps or len(notes.scalers) != len(self.scalers):
            raise UserError(f"{where} is of another training: step {notes.step} of {self.settings.steps}; {remedy}")
        if any("step" not in row or row.keys() != notes.curves[0].keys() for row in notes.curves):
            raise UserError(f"{where}: its curves are no table of steps; {remedy}")
        like = self._learned()
        for phase in self.trainee.phases if notes.step else ():
            like |= tensors_like(phase.optimizer, f"optimizer.{phase.name}")
        check_tensors(tensors, like, where, remedy)
        self.step, self.seconds, self.curves = notes.step, notes.seconds, notes.curves
        self.skipped = set(notes.skipped)
        for part, module in self.trainee.learned.items():
            start = f"{part}/"
            module.load_state_dict({k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)})
        for phase in self.trainee.phases:
            restore_optimizer(phase.optimizer, tensors, f"optimizer.{phase.name}")
        for scaler, state in zip(self.scalers, notes.scalers, strict=True):
            if state and scaler.is_enabled():  # none from where losses were not scaled
                scaler.load_state_dict(vars(admit(_Scaler, state, where, remedy)))

    def _learned(self) -> dict[str, Tensor]:
        """What changes, by name."""
        return {f"{part}/{key}": t for part, m in self.trainee.learned.items() for key, t in m.state_dict().items()}

    def _kept(self) -> str:
        return f"the last good state is in {self.run.path}; " if self.run.has("resume") else ""

    def _update(self, batch: Batch, curves: Curves | None, progress: Progress | None) -> None:
        """One step, and what is due after it."""
        s, began = self.settings, time.perf_counter()
        for name in set(batch.broken) - self.skipped:
            log.warning("skipped: %s cannot be read as a picture", name)
            self.skipped.add(name)
        batch = batch.to(self.team.device)
        figures = {}
        for phase, objective, scaler in zip(self.trainee.phases, self.shared, self.scalers, strict=True):
            figures |= self._learn(phase, objective, scaler, batch)
        self.step += 1
        self.seconds += time.perf_counter() - began
        last = self.step == s.steps
        showing = self.step % s.sample_every == 0 and not last
        saving = self.step % s.save_every == 0 or last
        if self.step % LOG_EVERY == 0 or last or showing or saving:
            self._note({name: float(value) for name, value in figures.items()}, curves, progress)
        if showing:
            self._show(curves)
        if saving:
            self.save()

    def _note(self, figures: dict[str, float], curves: Curves | None, progress: Progress | None) -> None:
        if not all(math.isfinite(value) for value in figures.values()):
            name = next(name for name, value in figures.items() if not math.isfinite(value))
            raise UserError(
                f"the loss ({name}) became {figures[name]} at step {self.step}; {self._kept()}lower --learning-rate "
                f"(now {self.settings.learning_rate:g}) and train again"
            )
        if curves:
            curves.add(self.step, figures)
            if progress:
                progress("training", self.step, self.settings.steps, figures)

    def _learn(self, phase: Phase, objective: nn.Module, scaler: torch.amp.GradScaler, batch: Batch) -> dict:
        kind = torch.float16 if self.team.device.type == "cuda" else torch.bfloat16
        for group in phase.optimizer.param_groups:
            group["lr"] = phase.rate(self.step)
        phase.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.team.device.type, kind, enabled=self.half):
            terms = objective(batch)
        scaler.scale(sum(terms.values())).backward()
        scaler.step(phase.optimizer)
        scaler.update()
        return {name: term.detach() for name, term in terms.items()}

    def _show(self, curves: Curves | None) -> None:
        """The sample sheet, into TensorBoard and as preview.png; always of the same pictures."""
        if not self.team.leads:
            return
        s = self.settings
        unlike = Samples(self.trainee.sources, s.crop, s.seed + 1)
        batch = next(stream(unlike, 0, 1, SAMPLES)).to(self.team.device)
        for part in self.trainee.learned.values():
            part.eval()
        sheet = image.contact_sheet(self.trainee.sample(batch))
        for part in self.trainee.learned.values():
            part.train()
        image.write(self.run.path / "preview.png", sheet)
        curves.events.add_image("samples", sheet.permute(2, 0, 1).numpy(), self.step)


@dataclass
class _Notes:
    """What a state says beside its tensors; scalers have a state where losses are scaled."""

    step: int
    seconds: float
    curves: list[dict[str, int | float]]
    skipped: list[str]
    scalers: list[dict[str, int | float]]


@dataclass
class _Scaler:
    """The state of torch's GradScaler."""

    scale: float
    growth_factor: float
    backoff_factor: float
    growth_interval: int
    _growth_tracker: int


def finish(loop: Loop) -> Run | None:
    """Write the trained network and mark the run as finished; what rank 0 wrote, None in the other processes."""
    if not loop.team.leads:
        return None
    loop.trainee.save(loop.run.path / MODEL)
    metrics = {"train_seconds": loop.seconds, "skipped": len(loop.skipped)}
    loop.run.finish(metrics=metrics, steps=loop.step, skipped=sorted(loop.skipped))
    return loop.run


def folder_of(styles: list[Path]) -> str:
    """What a run is called: the style, or the folder that holds several."""
    return styles[0].stem if len(styles) == 1 else styles[0].parent.name

"""Stage 1: fit a field to a capture, and write the run."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.interrupts import AtOnce, held_interrupts
from arf.jobs.optimizers import optimizer_tensors, restore_optimizer
from arf.jobs.runs import Curves, Run
from arf.radiance.asked import capture_config
from arf.radiance.capture.capture import load_capture
from arf.radiance.evaluate.fidelity import evaluate
from arf.radiance.extras import nerfstudio, nerfstudio_is_installed
from arf.radiance.fields import kinds
from arf.radiance.fields.place import Place
from arf.radiance.fields.rays.batch import Trainable
from arf.radiance.fit.bank import RayBank
from arf.radiance.settings import FitSettings

log = logging.getLogger(__name__)
Progress = Callable[[int, int, dict[str, float]], None]  # step, steps, figures
MOST_RAYS, FEWEST_RAYS = 16384, 512


def fit(
    data: Path, settings: FitSettings, output: Path, progress: Progress | None = None, resume: Run | None = None
) -> Run:
    """Fit a field to the capture at `data` and write a run below `output`.

    Args:
        progress: called after every step.
        resume: an unfinished run to go on with; its own data and settings must be the ones given.

    Raises:
        UserError: bad input, or a loss that is not finite (the last good state stays in the run).
        KeyboardInterrupt: passed on after the state has been saved.
    """
    settings.check()
    device = pick_device(settings.device)
    torch.manual_seed(settings.seed)
    capture = load_capture(capture_config(data, settings))
    settings = settings.for_kind(capture.kind, nerfacto=_takes_nerfacto(settings, device))
    bank = RayBank.of(capture.train, device)
    place = Place.of(capture)
    plan = kinds.plan(settings, place)
    field = kinds.build(plan, place, device)
    description = {"kind": "fit", "data": data.resolve(), "settings": settings, "capture": capture.fingerprint}
    if resume and resume.info.get("capture") not in (None, capture.fingerprint):
        raise UserError(f"the capture {data} is another than {resume.path} was begun with; restore it, or fit anew")
    run = resume or Run.create(output, capture.name, f"arf-{settings.backbone}", **description)
    with run.at_work():
        state = FitState(field, settings)
        if resume and resume.has("resume"):
            state.load(*resume.load("resume"))
        try:
            with held_interrupts() as stopped, Curves(run.path, state.curves) as curves:
                _optimise(state, bank, run, curves, stopped, progress)
        except AtOnce:
            raise
        except KeyboardInterrupt:
            state.save(run)
            raise
        state.save(run)  # before anything that may fail, such as a held-out photograph
        metrics = {**evaluate(field, capture.held_out), "train_seconds": state.seconds}
        metrics |= {"size": capture.train.size(0), "views": len(capture.train)}
        run.save("model", field.state_dict(), step=state.step)
        if room := nerfstudio("runs.writing"):
            room.write_fit(run, capture, capture_config(data, settings), field)
        curves.draw()
        run.finish(metrics=metrics, steps=state.step, model={"backbone": field.name, **field.values()})
    return run


def _takes_nerfacto(settings: FitSettings, device: torch.device) -> bool:
    """Whether "auto" is nerfacto: with CUDA, where nerfstudio is installed."""
    if settings.backbone != "auto" or device.type != "cuda":
        return False
    if nerfstudio_is_installed():
        return True
    log.warning("nerfstudio is not installed, so that a voxel grid is fitted and not nerfacto")
    return False


class FitState:
    """Everything that changes during a fit; saved, it goes on to the same result."""

    def __init__(self, field: Trainable, settings: FitSettings) -> None:
        self.field, self.settings = field, settings
        self.step, self.rays = 0, field.first_rays or settings.rays
        self.seconds = 0.0  # spent in training steps, over all sittings
        self.curves: list[dict[str, float]] = []
        self.scaler = torch.amp.GradScaler(enabled=field.half)
        self.optimizer = self._adam()

    def _adam(self) -> torch.optim.Adam:
        rate, betas = self.settings.learning_rate, self.field.betas
        return torch.optim.Adam(self.field.groups(), lr=rate, betas=betas, eps=1e-15, fused=True)

    def set_rate(self) -> None:
        """Exponential decay; a group that has a share of its own moves at that share of the rate."""
        s = self.settings
        rate = s.learning_rate * (s.final_learning_rate / s.learning_rate) ** (self.step / s.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)

    def finite(self) -> bool:
        return all(bool(p.isfinite().all()) for group in self.optimizer.param_groups for p in group["params"])

    def save(self, run: Run) -> None:
        """Write resume.safetensors."""
        tensors = {f"model.{k}": v for k, v in self.field.state_dict().items()}
        tensors |= optimizer_tensors(self.optimizer, "adam")
        tensors["random"] = torch.get_rng_state()
        if self.field.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.field.device)
        notes = {"schedule": getattr(self.field, "schedule", 0), "scaler": self.scaler.state_dict()}
        run.save("resume", tensors, step=self.step, rays=self.rays, seconds=self.seconds, curves=self.curves, **notes)

    def load(self, tensors: dict[str, Tensor], notes: dict) -> None:
        """Take over what `save` wrote."""
        self.step, self.rays, self.curves = notes["step"], notes["rays"], notes["curves"]
        self.seconds = notes["seconds"]
        self.field.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        if hasattr(self.field, "schedule"):
            self.field.schedule = notes["schedule"]
        self.scaler.load_state_dict(notes["scaler"])
        self.optimizer = self._adam()
        restore_optimizer(self.optimizer, tensors, "adam")
        torch.set_rng_state(tensors["random"])
        if "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.field.device)


def _optimise(
    state: FitState, bank: RayBank, run: Run, curves: Curves, stopped: Callable[[], bool], progress: Progress | None
) -> None:
    field, settings = state.field, state.settings
    field.train()
    while state.step < settings.steps and not stopped():
        start = time.perf_counter()
        field.before_step(state.step)
        batch = bank.draw(state.rays)
        state.set_rate()
        with torch.autocast(field.device.type, enabled=field.half):
            losses, samples = field.losses(batch)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(sum(losses.values())).backward()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if samples is not None:  # keep their number, and so the time of a step, about constant
            wanted = state.rays * settings.samples / max(1, samples)
            state.rays = int(min(max(0.9 * state.rays + 0.1 * wanted, FEWEST_RAYS), MOST_RAYS))
        field.after_step(state.step, state.optimizer)  # before anything that may stop here: to go on from a whole step
        state.step += 1
        finished = state.step == settings.steps
        saving = state.step % settings.save_every == 0 and not finished
        if state.step % 10 == 0 or saving or finished:
            figures = {name: float(loss.detach()) for name, loss in losses.items()}
            if not (all(math.isfinite(v) for v in figures.values()) and state.finite()):
                raise UserError(
                    f"the loss became {figures['rgb']} at step {state.step}; the last good state is in {run.path}: "
                    f"lower --learning-rate (now {settings.learning_rate:g}) and fit again"
                )
            figures["psnr"] = -10 * math.log10(max(figures["rgb"], 1e-10))
            curves.add(state.step, figures)
            if progress:
                progress(state.step, settings.steps, figures)
        state.seconds += time.perf_counter() - start
        if saving:
            state.save(run)

"""Stage 1: fit a field to a capture, and write the run."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.interrupts import AtOnce, held_interrupts
from arf.jobs.runs import Curves, Run
from arf.radiance.asked import capture_config
from arf.radiance.capture.capture import load_capture
from arf.radiance.evaluate.fidelity import evaluate
from arf.radiance.extras import nerfstudio, nerfstudio_is_installed
from arf.radiance.fields import kinds
from arf.radiance.fields.place import Place
from arf.radiance.fit.bank import RayBank
from arf.radiance.fit.state import FEWEST_RAYS, MOST_RAYS, FitState
from arf.radiance.records import fit_record
from arf.radiance.settings import FitSettings

log = logging.getLogger(__name__)
Progress = Callable[[int, int, dict[str, float]], None]  # step, steps, figures


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
    if resume and fit_record(resume).capture not in (None, capture.fingerprint):
        raise UserError(f"the capture {data} is another than {resume.path} was begun with; restore it, or fit anew")
    run = resume or Run.create(output, capture.name, f"arf-{settings.backbone}", **description)
    with run.at_work():
        state = FitState(field, settings)
        if resume:
            state.load(resume)
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
                raise state.exploded(run, "the loss")
            figures["psnr"] = -10 * math.log10(max(figures["rgb"], 1e-10))
            curves.add(state.step, figures)
            if progress:
                progress(state.step, settings.steps, figures)
        state.seconds += time.perf_counter() - start
        if saving:
            state.save(run)

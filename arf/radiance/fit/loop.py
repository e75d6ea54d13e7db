"""Stage 1: fit a field to a capture, and write the run."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.interrupts import AtOnce, held_interrupts
from arf.jobs.runs import Curves, Run
from arf.radiance.asked import capture_config
from arf.radiance.capture.capture import load_capture
from arf.radiance.capture.views import Capture
from arf.radiance.evaluate.fidelity import evaluate
from arf.radiance.extras import nerfstudio, nerfstudio_is_installed
from arf.radiance.fields import kinds
from arf.radiance.fields.field import Field
from arf.radiance.fields.place import Place
from arf.radiance.fields.rays.field import RayField
from arf.radiance.fit.bank import RayBank
from arf.radiance.fit.state import FitState, Told
from arf.radiance.records import fit_record
from arf.radiance.settings import FitSettings

log = logging.getLogger(__name__)
Progress = Callable[[str, int, int, dict[str, float]], None]  # what, step, steps, figures


class State(Protocol):
    """A fit after a whole number of steps, of whatever kind of field.

    Attributes:
        seconds: spent in steps, over all sittings.
        curves: the figures so far.
    """

    settings: FitSettings
    step: int
    seconds: float
    curves: list[dict[str, float]]

    def begin(self, stopped: Callable[[], bool], told: Told) -> None: ...

    def advance(self) -> dict[str, Tensor]: ...

    def finished(self) -> Field: ...

    def finite(self) -> bool: ...

    def exploded(self, run: Run, what: str) -> UserError: ...

    def save(self, run: Run) -> None: ...

    def load(self, run: Run) -> None: ...


def fit(
    data: Path, settings: FitSettings, output: Path, progress: Progress = lambda *_: None, resume: Run | None = None
) -> Run:
    """Fit a field to the capture at `data` and write a run below `output`.

    Args:
        progress: called with what is done, its step, its length and the figures so far.
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
    state = _state(capture, settings, device)
    description = {"kind": "fit", "data": data.resolve(), "settings": settings, "capture": capture.fingerprint}
    if resume and fit_record(resume).capture not in (None, capture.fingerprint):
        raise UserError(f"the capture {data} is another than {resume.path} was begun with; restore it, or fit anew")
    run = resume or Run.create(output, capture.name, f"arf-{settings.backbone}", **description)
    with run.at_work():
        if resume:
            state.load(resume)
        try:
            with held_interrupts() as stopped, Curves(run.path, state.curves) as curves:
                state.begin(stopped, lambda *told: progress("start", *told))
                _optimise(state, run, curves, stopped, progress)
        except AtOnce:
            raise
        except KeyboardInterrupt:
            state.save(run)
            raise
        state.save(run)  # before anything that may fail, such as a held-out photograph
        field = state.finished()
        metrics = evaluate(field, capture.held_out, lambda *told: progress("evaluate", *told))
        metrics |= {"train_seconds": state.seconds, "size": capture.train.size(0), "views": len(capture.train)}
        run.save("model", field.state_dict(), step=state.step)
        if isinstance(field, RayField) and (room := nerfstudio("runs.writing")):
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
    log.warning("nerfstudio is not installed, so that splats are fitted and not nerfacto")
    return False


def _state(capture: Capture, settings: FitSettings, device: torch.device) -> State:
    """Before the first step. The photographs are read here: before anything is written."""
    place = Place.of(capture)
    field = kinds.build(kinds.plan(settings, place), place, device)
    if settings.backbone == "splat":
        from arf.radiance.fit.splats.state import SplatState  # numba imports slowly

        return SplatState(field, settings, capture.train, place, capture.points and capture.points.read())
    return FitState(field, settings, RayBank.of(capture.train, device))


def _optimise(state: State, run: Run, curves: Curves, stopped: Callable[[], bool], progress: Progress) -> None:
    settings = state.settings
    while state.step < settings.steps and not stopped():
        start = time.perf_counter()
        losses = state.advance()
        finished = state.step == settings.steps
        saving = state.step % settings.save_every == 0 and not finished
        if state.step % 10 == 0 or saving or finished:
            figures = {name: float(loss.detach()) for name, loss in losses.items()}
            if not (all(math.isfinite(v) for v in figures.values()) and state.finite()):
                raise state.exploded(run, "the loss")
            figures["psnr"] = -10 * math.log10(max(figures["rgb"], 1e-10))
            curves.add(state.step, figures)
            progress("fit", state.step, settings.steps, figures)
        state.seconds += time.perf_counter() - start
        if saving:
            state.save(run)

"""Stage 1: fit a backbone to a capture, and write the run."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from jaxtyping import Float, Int, UInt8
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.models.base_model import Model
from torch import Tensor

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.interrupts import held_interrupts
from arf.jobs.optimizers import optimizer_tensors, restore_optimizer
from arf.jobs.runs import Curves, Run
from arf.nerfstudio.writing import write_nerfstudio_files
from arf.radiance.capture.capture import CaptureDataParserConfig, Views, load_capture
from arf.radiance.capture.pictures import is_transparent
from arf.radiance.evaluate.metrics import psnr, ssim
from arf.radiance.fields.backbone import Backbone
from arf.radiance.fields.backbones import build, fit_config, plain
from arf.radiance.fields.trace import trace
from arf.radiance.settings import FitSettings

log = logging.getLogger(__name__)
Progress = Callable[[int, int, dict[str, float]], None]  # step, steps, figures
MOST_RAYS, FEWEST_RAYS = 16384, 512


@dataclass
class RayBank:
    """All training pixels: direction, colour and camera of each."""

    origins: Float[Tensor, "views 3"]
    directions: Float[Tensor, "p 3"]
    colors: UInt8[Tensor, "p 3"]
    view: Int[Tensor, " p"]

    @classmethod
    def of(cls, views: Views, device: torch.device) -> RayBank:
        """Read every picture and cast every ray of the views."""
        origins, directions, colors, view = [], [], [], []
        for i in range(len(views)):
            o, d = views.rays(i)
            origins.append(o[0])
            directions.append(d)
            colors.append((views.image(i) * 255).round().to(torch.uint8).flatten(0, 1))
            view.append(torch.full((len(d),), i, dtype=torch.int32))
        parts = torch.stack(origins), torch.cat(directions), torch.cat(colors), torch.cat(view)
        return cls(*(part.to(device) for part in parts))

    def draw(self, count: int) -> tuple[RayBundle, Float[Tensor, "r 3"]]:
        """Random rays and their true colours."""
        pixel = torch.randint(0, len(self.view), (count,), device=self.view.device)
        view = self.view[pixel]  # [r]
        origins = self.origins[view]
        one = torch.ones_like(origins[:, :1])
        bundle = RayBundle(origins, self.directions[pixel], pixel_area=one, camera_indices=view[:, None])
        return bundle, self.colors[pixel].float() / 255


def parser_config(data: Path, settings: FitSettings) -> CaptureDataParserConfig:
    """The capture that a fit was asked to read."""
    color = settings.background if settings.background not in ("auto", "last") else "1,1,1"
    return CaptureDataParserConfig(
        data=data,
        format=settings.format,
        downscale=settings.downscale,
        held_out=settings.held_out,
        seed=settings.seed,
        background=parse_color(color),
        scene=settings.scene,
    )


def parse_color(text: str) -> tuple[float, float, float]:
    """Three numbers in 0..1."""
    try:
        r, g, b = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"background is {text!r}; it is last, auto, or three numbers in 0..1 like 1,1,1") from None
    return r, g, b


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
    capture = load_capture(parser_config(data, settings))
    settings = settings.for_kind(capture.kind, cuda=device.type == "cuda")
    bank = RayBank.of(capture.train, device)
    config = fit_config(settings, capture.kind, transparent=is_transparent(capture.train.filenames[0]))
    model = build(config, capture, device)
    method = f"arf-{settings.backbone}"
    run = resume or Run.create(output, capture.name, method, kind="fit", data=data.resolve(), settings=settings)
    state = FitState(model, settings)
    if resume and resume.has("resume"):
        state.load(*resume.load("resume"))
    try:
        with held_interrupts() as stopped, Curves(run.path, state.curves) as curves:
            _optimise(state, bank, run, curves, stopped, progress)
    except KeyboardInterrupt:
        state.save(run)
        raise
    model.eval()
    metrics = {**evaluate(model, capture.held_out), "train_seconds": state.seconds}
    metrics |= {"size": capture.train.size(0), "views": len(capture.train)}
    run.save("model", model.state_dict(), step=state.step)
    write_nerfstudio_files(run, capture, parser_config(data, settings), config, model)
    curves.draw()
    run.finish(metrics=metrics, steps=state.step, model=plain(config))
    return run


class FitState:
    """Everything that changes during a fit; saved, it goes on to the same result."""

    def __init__(self, model: Model, settings: FitSettings) -> None:
        self.model, self.settings = model, settings
        self.step, self.rays = 0, 2048 if settings.backbone == "voxel" else settings.rays
        self.seconds = 0.0  # spent in training steps, over all sittings
        self.curves: list[dict[str, float]] = []
        self.half = settings.backbone == "nerfacto" and model.device.type == "cuda"  # as nerfstudio trains it
        self.scaler = torch.amp.GradScaler(enabled=self.half)
        self.optimizer = self._adam()

    def _adam(self) -> torch.optim.Adam:
        groups = [{"params": p, "name": name} for name, p in self.model.get_param_groups().items()]
        betas = (0.9, 0.99) if self.settings.backbone == "voxel" else (0.9, 0.999)
        return torch.optim.Adam(groups, lr=self.settings.learning_rate, betas=betas, eps=1e-15, fused=True)

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def set_rate(self) -> None:
        """Exponential decay; poses move at a tenth of the rate, as nerfstudio has it."""
        s = self.settings
        rate = s.learning_rate * (s.final_learning_rate / s.learning_rate) ** (self.step / s.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * (0.1 if group["name"] == "camera_opt" else 1.0)

    def callbacks(self) -> list[TrainingCallback]:
        """The model's own, which keep to nerfstudio's interface."""
        optimizers = SimpleNamespace(optimizers={"fields": self.optimizer})
        return self.model.get_training_callbacks(TrainingCallbackAttributes(optimizers, self.scaler, None, None))

    def finite(self) -> bool:
        return all(bool(p.isfinite().all()) for p in self._parameters())

    def save(self, run: Run) -> None:
        """Write resume.safetensors."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= optimizer_tensors(self.optimizer, "adam")
        tensors["random"] = torch.get_rng_state()
        if self.model.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.model.device)
        notes = {"schedule": getattr(self.model, "schedule", 0), "scaler": self.scaler.state_dict()}
        run.save("resume", tensors, step=self.step, rays=self.rays, seconds=self.seconds, curves=self.curves, **notes)

    def load(self, tensors: dict[str, Tensor], notes: dict) -> None:
        """Take over what `save` wrote."""
        self.step, self.rays, self.curves = notes["step"], notes["rays"], notes["curves"]
        self.seconds = notes["seconds"]
        self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        if hasattr(self.model, "schedule"):
            self.model.schedule = notes["schedule"]
        self.scaler.load_state_dict(notes["scaler"])
        self.optimizer = self._adam()
        restore_optimizer(self.optimizer, tensors, "adam")
        torch.set_rng_state(tensors["random"])
        if "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.model.device)


def _optimise(
    state: FitState, bank: RayBank, run: Run, curves: Curves, stopped: Callable[[], bool], progress: Progress | None
) -> None:
    model, settings = state.model, state.settings
    model.train()
    callbacks = state.callbacks()
    while state.step < settings.steps and not stopped():
        start = time.perf_counter()
        for callback in callbacks:
            callback.run_callback_at_location(state.step, TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)
        bundle, color = bank.draw(state.rays)
        state.set_rate()
        with torch.autocast(model.device.type, enabled=state.half):
            outputs, batch = model(bundle), {"image": color}
            losses = model.get_loss_dict(outputs, batch, model.get_metrics_dict(outputs, batch))
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(sum(losses.values())).backward()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if "num_samples" in outputs:  # keep their number, and so the time of a step, about constant
            wanted = state.rays * settings.samples / max(1, int(outputs["num_samples"]))
            state.rays = int(min(max(0.9 * state.rays + 0.1 * wanted, FEWEST_RAYS), MOST_RAYS))
        for callback in callbacks:  # before anything that may stop here, to go on from a whole step
            callback.run_callback_at_location(state.step, TrainingCallbackLocation.AFTER_TRAIN_ITERATION)
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


@torch.no_grad()
def evaluate(model: Backbone, views: Views) -> dict[str, float]:
    """Mean PSNR and SSIM over views, and the samples per ray that weigh more than 0.01."""
    totals = {"psnr": 0.0, "ssim": 0.0, "samples_per_ray": 0.0}
    for i in range(len(views)):
        traced = trace(model, *views.rays(i))
        truth = views.image(i)
        picture = traced.composite(traced.rgb, model.background).clamp(0, 1).cpu().view(truth.shape)
        totals["psnr"] += psnr(picture, truth)
        totals["ssim"] += ssim(picture, truth)
        totals["samples_per_ray"] += float((traced.weight > 0.01).sum()) / traced.rays
    return {name: value / len(views) for name, value in totals.items()}

"""Stage 1: fit a backbone to a capture, and write the run."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor

from arf.errors import UserError
from arf.radiance.capture import Capture, CaptureDataParserConfig, Views, load_capture
from arf.radiance.metrics import psnr, ssim
from arf.radiance.nerfstudio_run import write_nerfstudio_files
from arf.radiance.pictures import is_transparent
from arf.radiance.trace import trace
from arf.radiance.voxel_model import VoxelModel, VoxelModelConfig
from arf.runs import Curves, Run
from arf.settings import FitSettings

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
        pixel = torch.randint(0, len(self.view), (count,)).to(self.view.device)
        origins, directions = self.origins[self.view[pixel]], self.directions[pixel]
        bundle = RayBundle(origins=origins, directions=directions, pixel_area=torch.ones_like(origins[:, :1]))
        return bundle, self.colors[pixel].float() / 255


def pick_device(name: str) -> torch.device:
    """The device of a setting: auto takes CUDA where there is some.

    Raises:
        UserError: CUDA was asked for and is not there, or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise UserError(f"device is {name!r}; it is cpu, cuda or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device is cuda, but PyTorch finds no CUDA GPU here; use --device cpu")
    return torch.device(name)


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


def model_config(settings: FitSettings, transparent: bool) -> VoxelModelConfig:
    """The backbone that a fit was asked to make."""
    background = settings.background
    if background == "auto":
        background = "1,1,1" if transparent else "0.5,0.5,0.5"
    shared = ("resolutions", "stages", "step", "distortion", "smoothness", "color_smoothness", "prune_below")
    values = {name: getattr(settings, name) for name in shared}
    if len(settings.stages) != len(settings.resolutions) - 1 or sorted(settings.stages) != list(settings.stages):
        raise UserError(
            f"{len(settings.resolutions)} resolutions need {len(settings.resolutions) - 1} ascending stages, "
            f"got {settings.stages}"
        )
    return VoxelModelConfig(background=background, total_steps=settings.steps, **values)


def build_model(config: VoxelModelConfig, capture: Capture, device: torch.device) -> VoxelModel:
    """A fresh backbone for a capture."""
    box = SceneBox(aabb=capture.scene_box)
    return config.setup(scene_box=box, num_train_data=len(capture.train), metadata=capture.metadata).to(device)


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
    settings = settings.for_kind(capture.metadata["kind"])
    bank = RayBank.of(capture.train, device)
    config = model_config(settings, transparent=is_transparent(capture.train.filenames[0]))
    model = build_model(config, capture, device)
    run = resume or Run.create(output, capture.name, "arf-voxel", kind="fit", data=data.resolve(), settings=settings)
    state = FitState(model, settings)
    if resume and resume.has("resume"):
        state.load(*resume.load("resume"))
    with Curves(run.path, state.curves) as curves:
        try:
            _optimise(state, bank, run, curves, progress)
        except KeyboardInterrupt:
            state.save(run)
            raise
    model.eval()
    metrics = {**evaluate(model, capture.held_out), "train_seconds": state.seconds}
    metrics |= {"size": capture.train.size(0), "views": len(capture.train)}
    run.save("model", model.state_dict(), step=state.step)
    write_nerfstudio_files(run, capture, parser_config(data, settings), config, model)
    curves.draw()
    run.finish(metrics=metrics, steps=state.step, model=config_values(config))
    return run


def config_values(config: VoxelModelConfig) -> dict[str, object]:
    """The fields of a backbone's configuration that arf.json keeps."""
    return {name: getattr(config, name) for name in VoxelModelConfig.__annotations__ if not name.startswith("_")}


class FitState:
    """Everything that changes during a fit; saved, it goes on to the same result."""

    def __init__(self, model: VoxelModel, settings: FitSettings) -> None:
        self.model, self.settings = model, settings
        self.step, self.rays = 0, 2048
        self.seconds = 0.0  # spent in training steps, over all sittings
        self.curves: list[dict[str, float]] = []
        self.optimizer = self._adam()

    def _adam(self) -> torch.optim.Adam:
        return torch.optim.Adam(
            [self.model.field.table], lr=self.settings.learning_rate, betas=(0.9, 0.99), eps=1e-15, fused=True
        )

    def save(self, run: Run) -> None:
        """Write resume.safetensors."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for state in self.optimizer.state.values():
            tensors |= {f"adam.{k}": v for k, v in state.items()}
        tensors["random"] = torch.get_rng_state()
        run.save("resume", tensors, step=self.step, rays=self.rays, seconds=self.seconds, curves=self.curves)

    def load(self, tensors: dict[str, Tensor], notes: dict) -> None:
        """Take over what `save` wrote."""
        self.step, self.rays, self.curves = notes["step"], notes["rays"], notes["curves"]
        self.seconds = notes["seconds"]
        self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        self.optimizer = self._adam()
        moments = {k[5:]: v.to(self.model.device) for k, v in tensors.items() if k.startswith("adam.")}
        if moments:
            self.optimizer.state[self.model.field.table] = moments
        torch.set_rng_state(tensors["random"])


def _optimise(state: FitState, bank: RayBank, run: Run, curves: Curves, progress: Progress | None) -> None:
    model, settings = state.model, state.settings
    model.train()
    decay = math.log(settings.final_learning_rate / settings.learning_rate) / settings.steps
    while state.step < settings.steps:
        start = time.perf_counter()
        bundle, color = bank.draw(state.rays)
        for group in state.optimizer.param_groups:
            group["lr"] = settings.learning_rate * math.exp(decay * state.step)
        outputs = model(bundle)
        losses = model.get_loss_dict(outputs, {"image": color})
        state.optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        state.optimizer.step()
        state.step += 1
        # keep the number of samples, and so the time of a step, about constant
        wanted = state.rays * settings.samples / max(1, int(outputs["num_samples"]))
        state.rays = int(min(max(0.9 * state.rays + 0.1 * wanted, FEWEST_RAYS), MOST_RAYS))
        model.refine(state.step, state.optimizer)  # before anything that may stop here, to go on from a whole step
        finished = state.step == settings.steps
        saving = state.step % settings.save_every == 0 and not finished
        if state.step % 10 == 0 or saving or finished:
            figures = {name: float(loss.detach()) for name, loss in losses.items()}
            if not (all(math.isfinite(v) for v in figures.values()) and model.field.table.isfinite().all()):
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
def evaluate(model: VoxelModel, views: Views) -> dict[str, float]:
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

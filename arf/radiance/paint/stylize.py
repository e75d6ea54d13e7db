"""Stage 2: repaint a fitted scene in the style of pictures, its geometry frozen.

recolour the photographs → re-fit the vertex colours to them → style loop → recolour again (Zhang et al., ARF, 2022).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from arf.errors import UserError
from arf.jobs.device import free_memory, pick_device
from arf.jobs.interrupts import held_interrupts
from arf.jobs.runs import Curves, Run
from arf.media import image
from arf.nerfstudio.nerfacto import NerfactoBackbone
from arf.nerfstudio.stylized import StylizedModel, StylizedModelConfig
from arf.nerfstudio.writing import write_nerfstudio_files
from arf.radiance.capture.capture import Capture
from arf.radiance.fields.backbone import Backbone
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.deferred import DeferredSet
from arf.radiance.operator.operators import OperatorSet, refit
from arf.radiance.paint.colors import VertexColors
from arf.radiance.paint.painting import description, finish_painting
from arf.radiance.scene import capture_config, open_photoreal
from arf.radiance.settings import StylizeSettings
from arf.style import encoder as encoders
from arf.style.color import Affine, Moments, keep_color, matching, recolor
from arf.style.losses import content_loss, total_variation
from arf.style.objective import StyleObjective

Progress = Callable[[str, int, int, dict[str, float]], None]  # what, step, steps, figures
FINAL_RATE = 0.1  # of the learning rate at the last step; ARF keeps it constant; here the last steps settle


def stylize(
    fitted: Run,
    styles: list[Path],
    settings: StylizeSettings,
    output: Path,
    progress: Progress = lambda *_: None,
    resume: Run | None = None,
) -> Run:
    """Repaint the scene of a `fit` run and write a `stylize` run below `output`.

    Args:
        styles: one or more pictures.
        progress: called with the phase, its step, its length and the figures so far.
        resume: an unfinished run to go on with; run, styles and settings must be the ones given.

    Raises:
        UserError: bad input, or a loss that is not finite (the last good state stays in the run).
        KeyboardInterrupt: passed on after the state has been saved.
    """
    settings.check()
    if not styles:
        raise UserError("no style picture; name at least one with --style")
    device = pick_device(settings.device)
    torch.manual_seed(settings.seed)
    pictures = [image.read_style(path) for path in styles]
    model, capture = open_photoreal(fitted, device)
    set_color_grid(model, capture, settings.color_resolution)
    encoder = encoders.load(settings.encoder, settings.encoder_weights, settings.pooling).to(device)
    painter = Painter(
        model, capture, pictures, encoder, settings
    )  # checks layers and weights before anything is written
    run = resume or Run.create(output, capture.name, "arf", **description(fitted, styles, settings, model))
    budget = int(settings.cache_memory * 2**30) or free_memory(device) // 2
    painter.cache = ViewCache(budget, run.path / "cache", device)
    try:
        painter.prepare(progress)
        if resume and resume.has("resume"):
            painter.load(*resume.load("resume"))
        try:
            with held_interrupts() as stopped, Curves(run.path, painter.curves) as curves:
                painter.paint(run, curves, stopped, progress)
        except KeyboardInterrupt:
            painter.save(run)
            raise
        _write(run, capture, painter, painter.finish(), pictures)
        curves.draw()
    finally:
        painter.cache.close()
    return run


def set_color_grid(model: Backbone, capture: Capture, resolution: int | None) -> None:
    """Choose how fine a nerfacto is repainted: with cells about as wide as pixels unless told otherwise.

    Raises:
        UserError: a resolution for a voxel grid, whose colours have their own.
    """
    if isinstance(model, NerfactoBackbone):
        pixels = int(torch.cat([capture.train.cameras.width, capture.train.cameras.height]).max())
        model.config.color_resolution = resolution or min(max(pixels, 192), 768)
    elif resolution:
        raise UserError("--color-resolution is for nerfacto; a voxel grid is repainted on its own: leave it out")


@dataclass
class _Timings:
    """Seconds of each phase."""

    trace: float = 0.0
    refit: float = 0.0
    content: float = 0.0
    steps: float = 0.0


class Painter:
    """The style loop and everything it needs: operators, targets, objective, vertex colours."""

    cache: ViewCache

    def __init__(
        self,
        model: Backbone,
        capture: Capture,
        styles: list[Tensor],
        encoder: encoders.Encoder,
        settings: StylizeSettings,
    ) -> None:
        self.model, self.views, self.settings = model, capture.train, settings
        self.device = model.device
        photographs = Moments.of(self.views.image(i) for i in range(len(self.views)))
        if settings.preserve_color:
            styles = [recolor(style, like=photographs) for style in styles]
        sizes = [self._seen_size(*self.views.size(i)) for i in range(len(self.views))]
        long_side = max(max(size) for size in sizes) * settings.style_scale
        shrunk = [image.fit_long_side(style, max(32, round(long_side))).to(self.device) for style in styles]
        self.objective = StyleObjective(
            encoder, settings.layers, shrunk, settings.style_weights, settings.loss, settings.neighbours
        )  # checks the weights
        if settings.preserve_color:
            self.recolor = Affine.identity()
        else:
            self.palette = _mixture(styles, np.array(self.objective.weights))
            self.recolor = matching(photographs, self.palette)
        self.steps = settings.steps or settings.epochs * len(self.views)
        self.step = 0
        self.curves: list[dict[str, float]] = []
        self.timings = _Timings()

    # --- before the loop ------------------------------------------------------------------------------------------

    def prepare(self, progress: Progress) -> None:
        """Trace the views, recolour and re-fit the colours, encode the content."""
        start = time.perf_counter()
        drop_weight = self.settings.drop_weight
        if self.settings.no_cache:
            self.operators = DeferredSet(self.model, self.views, drop_weight, lambda i, n: progress("trace", i, n, {}))
        else:
            self.operators = OperatorSet(
                self.model, self.views, self.cache, drop_weight, lambda i, n: progress("trace", i, n, {})
            )
        self.timings.trace = time.perf_counter() - start
        self.photoreal = self.model.vertex_colors(self.operators.keys.to(self.device))
        self.background = self.recolor.apply(self.model.background)
        start = time.perf_counter()
        theta = refit(
            self.operators, self.recolor.apply(self.photoreal), self.background, self._target,
            progress=lambda i, n: progress("re-fit", i, n, {}),
        )  # fmt: skip
        self.theta = theta.requires_grad_()
        self.optimizer = torch.optim.Adam([self.theta], lr=self.settings.learning_rate, betas=(0.9, 0.99), fused=True)
        self.timings.refit = time.perf_counter() - start
        self.encode(progress)

    @torch.no_grad()
    def encode(self, progress: Progress) -> None:
        """Keep the content features of every view, if there is a content loss."""
        start = time.perf_counter()
        for i in range(len(self.views) if self.settings.content_weight > 0 else 0):
            features = self.objective.features(self.shrunk(self._target(i).to(self.device)))
            self.cache.put(_content(i), {f"{k:02d}": f for k, f in enumerate(features)})
            progress("encode", i + 1, len(self.views), {})
        self.timings.content = time.perf_counter() - start

    def _target(self, i: int) -> Float[Tensor, "h w 3"]:
        """A photograph in the style's colours."""
        return self.recolor.apply(self.views.image(i)).clamp(0, 1)

    def _seen_size(self, height: int, width: int) -> tuple[int, int]:
        """Size at which the style loss looks at a view."""
        scale = min(1.0, self.settings.long_side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def shrunk(self, picture: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w 3"]:
        """A picture at the size at which the style loss looks at it."""
        size = self._seen_size(*picture.shape[:2])
        if size == tuple(picture.shape[:2]):
            return picture
        return interpolate(picture.permute(2, 0, 1)[None], size, mode="area")[0].permute(1, 2, 0)

    # --- the loop -------------------------------------------------------------------------------------------------

    def view_of(self, step: int) -> int:
        """The view of a step: every epoch passes over all of them in its own seeded order."""
        epoch, place = divmod(step, len(self.views))
        return int(np.random.default_rng((self.settings.seed, epoch)).permutation(len(self.views))[place])

    def render(self, i: int) -> Float[Tensor, "h w 3"]:
        """A training view with the present colours, unclamped."""
        return self.operators[i].apply(self.theta, self.background)

    def losses(self, picture: Float[Tensor, "h w 3"], i: int) -> dict[str, Tensor]:
        """The weighted loss terms of a rendering of view i."""
        s = self.settings
        features = self.objective.features(self.shrunk(picture))
        terms = {s.loss: s.style_weight * self.objective(features)}
        if s.content_weight > 0:
            content = [tensor for _, tensor in sorted(self.cache.get(_content(i)).items())]
            parts = [content_loss(f, c) for f, c in zip(features, content, strict=True)]
            terms["content"] = s.content_weight * sum(parts) / len(parts)
        if s.tv_weight > 0:
            terms["tv"] = s.tv_weight * total_variation(picture.permute(2, 0, 1)[None])
        return terms

    def prefetch(self, i: int) -> None:
        """Begin to bring what a step on view i needs to the device."""
        self.operators.prefetch(i)
        if self.settings.content_weight > 0:
            self.cache.prefetch(_content(i))

    def advance(self) -> dict[str, Tensor]:
        """One step: render a view, take the losses, pull the gradient back through the operator, update.

        On a GPU the host only hands out work and waits for nothing."""
        rate = self.settings.learning_rate * FINAL_RATE ** (self.step / self.steps)
        self.optimizer.param_groups[0]["lr"] = rate
        i = self.view_of(self.step)
        picture = self.render(i)
        if self.step + 1 < self.steps:
            self.prefetch(self.view_of(self.step + 1))
        terms = self.losses(picture, i)
        self.optimizer.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        self.optimizer.step()
        self.step += 1
        return terms

    def paint(self, run: Run, curves: Curves, stopped: Callable[[], bool], progress: Progress) -> None:
        """The style loop, to its end or until it is stopped. Losses stay on the device until they are written down,
        every tenth step.

        Raises:
            UserError: see `check`.
        """
        start = time.perf_counter()
        recent: list[Tensor] = []  # a row of loss terms per step
        while self.step < self.steps and not stopped():
            terms = self.advance()
            recent.append(torch.stack([term.detach() for term in terms.values()]))
            last = self.step == self.steps
            writing, saving = self.step % 10 == 0 or last, self.step % self.settings.save_every == 0 and not last
            if not (writing or saving):
                continue
            rows = torch.stack(recent).tolist()
            self.check(run, rows)
            if writing:
                figures = {name: sum(row) / len(rows) for name, row in zip(terms, zip(*rows, strict=True), strict=True)}
                curves.add(self.step, figures)
                progress("paint", self.step, self.steps, figures)
                recent = []
            if saving:
                self.save(run)
        self.timings.steps = time.perf_counter() - start

    def check(self, run: Run, rows: list[list[float]]) -> None:
        """Look at the colours, and at the loss terms of the steps up to this one.

        Raises:
            UserError: something is not finite; says since which step.
        """
        bad = [len(rows) - k - 1 for k, row in enumerate(rows) if not all(map(math.isfinite, row))]  # steps ago
        if bad or not self.theta.isfinite().all():
            raise UserError(
                f"the loss became NaN at step {self.step - max(bad, default=0)}; the last good state is in {run.path}: "
                f"lower --learning-rate (now {self.settings.learning_rate:g}) or --style-weight and stylize again"
            )

    def save(self, run: Run) -> None:
        """Write resume.safetensors.

        Raises:
            UserError: the colours are not finite; what was saved before stays.
        """
        self.check(run, [])
        state = self.optimizer.state.get(self.theta, {})
        tensors = {"theta": self.theta, **{f"adam.{k}": v for k, v in state.items()}}
        run.save("resume", tensors, step=self.step, curves=self.curves)

    def load(self, tensors: dict[str, Tensor], notes: dict) -> None:
        """Take over what `save` wrote."""
        self.step, self.curves[:] = notes["step"], notes["curves"]
        with torch.no_grad():
            self.theta.copy_(tensors["theta"])
        moments = {k[5:]: v.to(self.device) for k, v in tensors.items() if k.startswith("adam.")}
        if moments:
            self.optimizer.state[self.theta] = moments

    # --- after the loop -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def finish(self) -> VertexColors:
        """The final colours: recoloured once more from the renderings of all views, or the photographs' own chroma."""
        theta, fallback, background = self.theta.detach(), self.recolor, self.background
        if self.settings.preserve_color:
            theta = keep_color(theta, self.photoreal)
        else:
            renders = Moments.of(self.render(i).clamp(0, 1) for i in range(len(self.views)))
            again = matching(renders, self.palette)
            theta, background, fallback = again.apply(theta), again.apply(background), again.compose(fallback)
        keys = self.operators.keys.to(self.device)
        return VertexColors(self.operators.shape, keys, theta.contiguous(), fallback, background)


def _content(i: int) -> str:
    """What the cache calls the content features of a view."""
    return f"content-{i:04d}"


def _mixture(styles: list[Tensor], share: np.ndarray) -> Moments:
    """Colour moments of several pictures, each with its share whatever its size."""
    shares = zip(styles, share / share.sum(), strict=True)
    return Moments.of(image.resize(style, 256, max(1, round(256 * w))) for style, w in shares if w > 0)


def _write(run: Run, capture: Capture, painter: Painter, colors: VertexColors, styles: list[Tensor]) -> None:
    config = StylizedModelConfig(backbone=painter.model.config, drop_weight=painter.settings.drop_weight)
    model = StylizedModel.around(config, painter.model, colors)
    write_nerfstudio_files(run, capture, capture_config(run), config, model)
    operators, cache = painter.operators, painter.cache
    metrics = {
        "seconds": vars(painter.timings),
        "entries_per_pixel": operators.entries / operators.pixels,
        "operator_bytes_per_pixel": operators.nbytes / operators.pixels,
        "operator_bytes": operators.nbytes,
        "cache_bytes_in_memory": cache.in_memory,
        "cache_bytes_on_host": cache.on_host,
        "cache_bytes_on_disk": cache.on_disk,
        "final": painter.curves[-1] if painter.curves else {},
    }
    finish_painting(run, model, painter.views, styles, painter.step, metrics)

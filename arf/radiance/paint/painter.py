"""The style loop and everything it needs: operators, targets, objective, colours."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from arf.adam import Adam
from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.machine import give_back_memory
from arf.jobs.runs import Curves, Run, check_rows
from arf.jobs.tensors import check_tensors, tensors_like
from arf.media import image
from arf.radiance.capture.views import Views, view_of_step
from arf.radiance.fields.field import Field
from arf.radiance.looks.look import Look
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.deferred import DeferredSet
from arf.radiance.operator.refit import Target, refit
from arf.radiance.operator.views import OperatorSet
from arf.radiance.settings import StylizeSettings
from arf.style import encoder as encoders
from arf.style.color import Affine, Moments, keep_color, matching, recolor
from arf.style.losses import content_loss, shrink_weight, total_variation
from arf.style.objective import StyleObjective

Progress = Callable[[str, int, int, dict[str, float]], None]  # what, step, steps, figures
REMEDY = "stylize again"
FINAL_RATE = 0.1  # of the learning rate at the last step; ARF keeps it constant; here the last steps settle


@dataclass
class Notes:
    """What the file of a state says beside its tensors; an older one has no `recent`."""

    step: int
    curves: list[dict[str, int | float]]
    recent: list[list[float]] = field(default_factory=list)


@dataclass
class _Timings:
    """Seconds of each phase."""

    trace: float = 0.0
    refit: float = 0.0
    content: float = 0.0
    steps: float = 0.0


class Painter:
    """The style loop of one field over one capture's training views.

    Masked and transparent pixels are in no palette and in no loss; see `arf.radiance.capture.photographs.Photograph`.
    """

    cache: ViewCache

    def __init__(
        self,
        field: Field,
        views: Views,
        styles: list[Tensor],
        encoder: encoders.Encoder,
        settings: StylizeSettings,
    ) -> None:
        self.field, self.views, self.settings = field, views, settings
        self.device = field.device
        with field.survey(views, settings.color_resolution):
            pass  # not every field takes a resolution: refused before anything is written
        self._weights: dict[int, Tensor] = {}  # uint8 [h, w] of the views in which not every pixel counts in full
        photographs = Moments.of(self._counted(i) for i in range(len(views)))
        if settings.preserve_color:
            styles = [recolor(style, like=photographs) for style in styles]
        sizes = [self._seen_size(*views.size(i)) for i in range(len(views))]
        long_side = max(max(size) for size in sizes) * settings.style_scale
        shrunk = [image.fit_style(style, max(32, long_side)).to(self.device) for style in styles]
        self.objective = StyleObjective(
            encoder, settings.layers, shrunk, settings.style_weights, settings.loss, settings.neighbours
        )  # checks the layers and weights
        (height, width), needed = min(sizes, key=min), encoder.smallest(settings.layers)
        if min(height, width) < needed:
            layers = ", ".join(settings.layers)
            said = f"a view is looked at in {width}×{height} pixels, and {layers} need {needed} a side"
            raise UserError(f"{said}; take larger or less narrow views, or --layers of finer strokes such as relu2_1")
        if settings.preserve_color:
            self.recolor = Affine.identity()
        else:
            self.palette = _mixture(styles, np.array(self.objective.weights))
            self.recolor = matching(photographs, self.palette)
        self.steps = settings.steps or settings.epochs * len(views)
        self.step = 0
        self.curves: list[dict[str, float]] = []
        self.recent: list[Tensor] = []  # a row of loss terms for each step since the last row of the curves
        self.timings = _Timings()

    def _counted(self, i: int) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"] | None]:
        """A photograph and how much each of its pixels counts, which is kept."""
        photograph = self.views.photograph(i)
        if (weight := photograph.weight) is not None:
            self._weights[i] = (weight * 255).round().to(torch.uint8)
        return photograph.image, weight

    def weight(self, i: int) -> Float[Tensor, "h w"] | None:
        """How much each pixel of view i counts, None where all do."""
        weight = self._weights.get(i)
        return None if weight is None else weight.to(self.device).float() / 255

    # --- before the loop ------------------------------------------------------------------------------------------

    def prepare(self, progress: Progress) -> None:
        """Trace the views, recolour and re-fit the colours, encode the content."""
        start, s = time.perf_counter(), self.settings
        shared = s.dropped(self.field.drop), s.color_resolution, lambda i, n: progress("trace", i, n, {})
        if s.no_cache:
            self.operators = DeferredSet(self.field, self.views, *shared)
        else:
            self.operators = OperatorSet(self.field, self.views, self.cache, *shared)
        self.timings.trace = time.perf_counter() - start
        self.photoreal = self.field.colors
        self.background = self.recolor.apply(self.field.background)
        start = time.perf_counter()
        theta = refit(
            self.operators, self.recolor.apply(self.photoreal), self.background, self._refit_target,
            progress=lambda i, n: progress("re-fit", i, n, {}),
        )  # fmt: skip
        self.theta = theta.requires_grad_()
        self.optimizer = Adam([self.theta], lr=s.learning_rate, betas=(0.9, 0.99), fused=True)
        self.timings.refit = time.perf_counter() - start
        give_back_memory()
        self.encode(progress)
        give_back_memory()

    @torch.no_grad()
    def encode(self, progress: Progress) -> None:
        """Keep the content features of every view, if there is a content loss."""
        start = time.perf_counter()
        for i in range(len(self.views) if self.settings.content_weight > 0 else 0):
            features = self.objective.features(self.shrunk(self._target(i).to(self.device)))
            self.cache.put(
                _content(i), {f"{k:02d}": f.half() for k, f in enumerate(features)}
            )  # about 1: none overflows
            progress("encode", i + 1, len(self.views), {})
        self.timings.content = time.perf_counter() - start

    def _target(self, i: int) -> Float[Tensor, "h w 3"]:
        """A photograph in the style's colours."""
        return self.recolor.apply(self.views.image(i)).clamp(0, 1)

    def _refit_target(self, i: int) -> Target:
        """The same, with its mask: a transparent pixel should show the background, a masked one anything."""
        photograph = self.views.photograph(i)
        mask = None if photograph.mask is None else photograph.mask.float()
        return self.recolor.apply(photograph.image).clamp(0, 1), mask

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
        """The view of a step."""
        return view_of_step(step, len(self.views), self.settings.seed)

    def render(self, i: int) -> Float[Tensor, "h w 3"]:
        """A training view with the present colours, unclamped."""
        return self.operators[i].apply(self.theta, self.background)

    def losses(self, picture: Float[Tensor, "h w 3"], i: int) -> dict[str, Tensor]:
        """The weighted loss terms of a rendering of view i."""
        s, weight = self.settings, self.weight(i)
        features = self.objective.features(self.shrunk(picture))
        weights = None if weight is None else [shrink_weight(weight, f.shape[-2:]) for f in features]
        terms = {s.loss: s.style_strength * self.objective(features, weights)}
        if s.content_weight > 0:
            content = [tensor.float() for _, tensor in sorted(self.cache.get(_content(i)).items())]
            parts = zip(features, content, weights or [None] * len(features), strict=True)
            terms["content"] = s.content_weight * sum(content_loss(*part) for part in parts) / len(features)
        if s.tv_weight > 0:
            terms["tv"] = s.tv_weight * total_variation(picture.permute(2, 0, 1)[None], weight=weight)
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
        self.recent.append(torch.stack([term.detach() for term in terms.values()]))
        self.step += 1
        return terms

    def paint(self, run: Run, curves: Curves, stopped: Callable[[], bool], progress: Progress) -> None:
        """The style loop, to its end or until it is stopped. Losses stay on the device until they are written down,
        every tenth step.

        Raises:
            UserError: see `check`.
        """
        start = time.perf_counter()
        while self.step < self.steps and not stopped():
            terms = self.advance()
            last = self.step == self.steps
            writing, saving = self.step % 10 == 0 or last, self.step % self.settings.save_every == 0 and not last
            if not (writing or saving):
                continue
            rows = self.rows()
            self.check(run, rows)
            if writing:
                figures = {name: sum(row) / len(rows) for name, row in zip(terms, zip(*rows, strict=True), strict=True)}
                curves.add(self.step, figures)
                self.recent = []
                progress("paint", self.step, self.steps, figures)
            if saving:
                self.save(run)
        self.timings.steps = time.perf_counter() - start

    def rows(self) -> list[list[float]]:
        """The loss terms of the steps since the curves' last row."""
        return torch.stack(self.recent).tolist() if self.recent else []

    def check(self, run: Run, rows: list[list[float]]) -> None:
        """Look at the colours, and at the loss terms of the steps up to this one.

        Raises:
            UserError: something is not finite; says since which step.
        """
        bad = [len(rows) - k - 1 for k, row in enumerate(rows) if not all(map(math.isfinite, row))]  # steps ago
        if bad or not self.theta.isfinite().all():
            kept = f"the last good state is in {run.path}: " if run.has("resume") else ""
            raise UserError(
                f"the loss became NaN at step {self.step - max(bad, default=0)}; {kept}lower --learning-rate "
                f"(now {self.settings.learning_rate:g}) or --style-strength and stylize again"
            )

    def save(self, run: Run) -> None:
        """Write resume.safetensors.

        Raises:
            UserError: the colours or losses are not finite; what was saved before stays.
        """
        rows = self.rows()
        self.check(run, rows)
        state = self.optimizer.state.get(self.theta, {})
        tensors = {"theta": self.theta, **{f"adam.{k}": v for k, v in state.items()}}
        run.save("resume", tensors, step=self.step, curves=self.curves, recent=rows)

    def load(self, run: Run) -> None:
        """Take over what `save` wrote, if there is something.

        Raises:
            UserError: the file is damaged, or of another painting.
        """
        if not run.has("resume"):
            return
        tensors, values = run.load("resume")
        where = run.path / "resume.safetensors"
        notes = admit(Notes, values, where, REMEDY)
        if not 0 <= notes.step <= self.steps:
            raise UserError(f"{where}: step is {notes.step}, not between 0 and {self.steps}; {REMEDY}")
        check_rows(notes.curves, notes.step, where, REMEDY)
        s, since = self.settings, notes.step - (notes.curves[-1]["step"] if notes.curves else 0)
        terms = 1 + (s.content_weight > 0) + (s.tv_weight > 0)
        if len(notes.recent) not in (0, since) or any(len(row) != terms for row in notes.recent):
            raise UserError(f"{where}: recent: it has no row of {terms} losses for each of {since} steps; {REMEDY}")
        moments = {k.replace(".0.", "."): v for k, v in tensors_like(self.optimizer, "adam").items()}
        check_tensors(tensors, {"theta": self.theta, **(moments if notes.step else {})}, where, REMEDY)
        self.step, self.curves[:] = notes.step, notes.curves
        self.recent = [torch.tensor(row, device=self.device) for row in notes.recent]
        with torch.no_grad():
            self.theta.copy_(tensors["theta"])
        if notes.step:
            self.optimizer.state[self.theta] = {name[5:]: tensors[name].to(self.device) for name in moments}

    # --- after the loop -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def finish(self) -> Look:
        """The final colours: recoloured once more from the renderings of all views, or the photographs' own chroma."""
        theta, fallback, background = self.theta.detach(), self.recolor, self.background
        if self.settings.preserve_color:
            theta = keep_color(theta, self.photoreal)
        else:
            renders = Moments.of((self.render(i).clamp(0, 1), self.weight(i)) for i in range(len(self.views)))
            again = matching(renders, self.palette)
            theta, background, fallback = again.apply(theta), again.apply(background), again.compose(fallback)
        return Look(theta.contiguous(), background, fallback)


def _content(i: int) -> str:
    """What the cache calls the content features of a view."""
    return f"content-{i:04d}"


def _mixture(styles: list[Tensor], share: np.ndarray) -> Moments:
    """Colour moments of several pictures, each with its share whatever its size."""
    shares = zip(styles, share / share.sum(), strict=True)
    return Moments.of(image.resize(style, 256, max(1, round(256 * w))) for style, w in shares if w > 0)

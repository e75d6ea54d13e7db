"""The style loop: objective, colours, steps, and the state that is saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from arf.adam import Adam
from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.runs import Curves, Run, check_rows
from arf.jobs.tensors import check_tensors, tensors_like
from arf.media import image
from arf.radiance.capture.views import view_of_step
from arf.radiance.looks.look import Look
from arf.radiance.paint.by_method import painter_by
from arf.radiance.paint.lifted import lifted
from arf.radiance.paint.pictures import ViewPicture
from arf.radiance.paint.subject import PREVIEWED, Progress, Subject
from arf.radiance.settings import LiftSettings, RepaintSettings, StylizeSettings
from arf.style import encoder as encoders
from arf.style.color import Affine, Moments, keep_color, matching, recolor
from arf.style.losses import content_loss, shrink_weight, total_variation
from arf.style.objective import StyleObjective

REMEDY = "stylize again"
PREVIEW = 50  # steps between previews
FINAL_RATE = 0.1  # of the learning rate at the last step; ARF keeps it constant; here the last steps settle


@dataclass
class Notes:
    """What the file of a state says beside its tensors; an older one has no `recent`."""

    step: int
    curves: list[dict[str, int | float]]
    recent: list[list[float]] = field(default_factory=list)


class Painter:
    """The style loop of one style, or one mixture of styles, over a subject."""

    def __init__(
        self, subject: Subject, styles: list[Tensor], encoder: encoders.Encoder, settings: StylizeSettings
    ) -> None:
        self.subject, self.field, self.settings = subject, subject.field, settings
        self.device = subject.device
        self.styles = [image.fit_long_side(style, min(512, max(style.shape))) for style in styles]  # to be shown
        if settings.preserve_color:
            styles = [recolor(style, like=subject.palette) for style in styles]
        sizes = [subject.views.size(i) for i in range(len(subject))]
        self.long_side = max(max(size) for size in sizes)
        shrunk = [image.fit_style(s, max(32, self.long_side * settings.style_scale)).to(self.device) for s in styles]
        self.objective = StyleObjective(
            encoder, settings.layers, shrunk, settings.style_weights, settings.loss, settings.neighbours,
            settings.exact_matches,
        )  # fmt: skip
        (height, width), needed = min(sizes, key=min), encoder.smallest(settings.layers)
        if min(height, width) < needed:
            layers = ", ".join(settings.layers)
            said = f"a view is looked at in {width}×{height} pixels, and {layers} need {needed} a side"
            raise UserError(f"{said}; give a larger --size, --layers of finer strokes such as relu2_1, or wider views")
        if settings.preserve_color:
            self.recolor = Affine.identity()
        else:
            self.palette = _mixture(styles, np.array(self.objective.weights))
            self.recolor = matching(subject.palette, self.palette)
        self.background = self.recolor.apply(self.field.background)
        self.steps = settings.steps_of(len(subject))
        self.step = 0
        self.curves: list[dict[str, float]] = []
        self.recent: list[Tensor] = []  # a row of loss terms for each step since the last row of the curves

    def begin(self) -> None:
        """Take up the brush: the photoreal colours, recoloured. A recolouring of colours is one of all their pictures,
        so that no style needs a re-fit of its own; what ARF clips of the recoloured photographs stays."""
        for i in range(len(self.subject)):
            self.subject.cache.drop(_content(i))  # another style's
        self.theta = self.recolor.apply(self.subject.photoreal).requires_grad_()
        self.optimizer = Adam([self.theta], lr=self.settings.learning_rate, betas=(0.9, 0.99), fused=True)

    def lift(self, progress: Progress = lambda *_: None) -> None:
        """Take colours lifted from pictures of the views to begin with, where `settings.start` names a method."""
        if self.settings.start == "recolor":
            return
        common = {field.name: getattr(self.settings, field.name) for field in fields(RepaintSettings)}
        lifting = LiftSettings(**common)
        paint, pictures = painter_by(self.settings.start, self.styles, lifting), {}
        for i in range(len(self.subject)):
            pictures[i] = ViewPicture.of(paint(self.subject.image(i).cpu()))
            progress(self.settings.start, i + 1, len(self.subject), {})
        with torch.no_grad():
            self.theta.copy_(lifted(self.subject, pictures, lifting, progress).theta)

    @torch.no_grad()
    def content(self, i: int) -> list[Float[Tensor, "1 c h w"]]:
        """Features of a view's photograph in the style's colours; made once, in half precision."""
        name, cache = _content(i), self.subject.cache
        if not cache.has(name):
            features = self.objective.features(self.recolor.apply(self.subject.image(i)).clamp(0, 1))
            cache.put(name, {f"{k:02d}": f.half() for k, f in enumerate(features)})  # about 1: none overflows
        return [tensor.float() for _, tensor in sorted(cache.get(name).items())]

    # --- the loop -------------------------------------------------------------------------------------------------

    def view_of(self, step: int) -> int:
        """The view of a step."""
        return view_of_step(step, len(self.subject), self.settings.seed)

    def render(self, i: int) -> Float[Tensor, "h w 3"]:
        """A training view with the present colours, unclamped."""
        return self.subject.operators[i].apply(self.theta, self.background)

    def losses(self, picture: Float[Tensor, "h w 3"], i: int) -> dict[str, Tensor]:
        """The weighted loss terms of a rendering of view i."""
        s, weight = self.settings, self.subject.weight(i)
        features = self.objective.features(picture)
        weights = None if weight is None else [shrink_weight(weight, f.shape[-2:]) for f in features]
        terms = {s.loss: s.style_strength * self.objective(features, weights)}
        if s.content_weight > 0:
            parts = zip(features, self.content(i), weights or [None] * len(features), strict=True)
            terms["content"] = s.content_weight * sum(content_loss(*part) for part in parts) / len(features)
        if s.tv_weight > 0:
            terms["tv"] = s.tv_weight * total_variation(picture.permute(2, 0, 1)[None], weight=weight)
        return terms

    def prefetch(self, i: int) -> None:
        """Begin to bring what a step on view i needs to the device."""
        self.subject.operators.prefetch(i)
        if self.settings.content_weight > 0 and self.subject.cache.has(_content(i)):
            self.subject.cache.prefetch(_content(i))

    def advance(self) -> dict[str, Tensor]:
        """One step: render a view, take the losses, pull the gradient back through the operator, update.

        On a GPU the host only hands out work and waits for nothing, once every view has been seen."""
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
        while self.step < self.steps and not stopped():
            if self.step % PREVIEW == 0:
                self.show(run)
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

    def show(self, run: Run) -> None:
        """Write what there is so far as the run's preview."""
        image.write(run.path / "preview.png", self.preview(self.theta.detach(), self.background))

    @torch.no_grad()
    def preview(self, theta: Float[Tensor, "V 3"], background: Float[Tensor, " 3"]) -> Float[Tensor, "h w 3"]:
        """photograph | style | painting, for some of the views."""
        styles = [self.styles[k % len(self.styles)].cpu() for k in range(PREVIEWED)]
        shown = self.subject.some(PREVIEWED), styles, self.subject.some(PREVIEWED, theta, background)
        return image.contact_sheet(list(zip(*shown, strict=False)))

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
            theta = keep_color(theta, self.field.colors)
        else:
            count, weight = len(self.subject), self.subject.weight
            renders = Moments.of((self.render(i).clamp(0, 1), weight(i)) for i in range(count))
            again = matching(renders, self.palette)
            theta, background, fallback = again.apply(theta), again.apply(background), again.compose(fallback)
        return Look(theta.contiguous(), background, fallback)

    def figures(self) -> dict[str, Any]:
        """What a run remembers of the work."""
        operators, cache = self.subject.operators, self.subject.cache
        return {
            "size": self.long_side,
            "entries_per_pixel": operators.entries / max(1, operators.pixels),
            "operator_bytes_per_pixel": operators.nbytes / max(1, operators.pixels),
            "operator_bytes": operators.nbytes,
            "cache_budget": cache.budget,
            "cache_bytes_in_memory": cache.in_memory,
            "cache_bytes_on_host": cache.on_host,
            "cache_bytes_on_disk": cache.on_disk,
            "final": self.curves[-1] if self.curves else {},
        }


def _content(i: int) -> str:
    """What the cache calls the content features of a view."""
    return f"content-{i:04d}"


def _mixture(styles: list[Tensor], share: np.ndarray) -> Moments:
    """Colour moments of several pictures, each with its share whatever its size."""
    shares = zip(styles, share / share.sum(), strict=True)
    return Moments.of(image.resize(style, 256, max(1, round(256 * w))) for style, w in shares if w > 0)

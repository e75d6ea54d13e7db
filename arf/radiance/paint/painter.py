"""The style loop: objective, colours, steps, and the state that is saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

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
from arf.radiance.paint.lifting.by_method import Paint, painter_by
from arf.radiance.paint.lifting.lifted import lifted
from arf.radiance.paint.lifting.pictures import ViewPicture
from arf.radiance.paint.part import Part, mapped
from arf.radiance.paint.subject import PREVIEWED, Progress, Subject
from arf.radiance.settings import LiftSettings, RepaintSettings, StylizeSettings
from arf.style import encoder as encoders
from arf.style.color import Affine, Moments, keep_color
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
    """The style loop of one style, or one mixture of styles, over a subject.

    Attributes:
        parts: the styles, each where it goes: here one everywhere.
        views: those that are painted.
        share: [V] of each column that is painted; None: all of all. The rest stays `base`.
    """

    share: Float[Tensor, " V"] | None = None
    base: Float[Tensor, "V 3"]

    def __init__(
        self, subject: Subject, styles: list[Tensor], encoder: encoders.Encoder, settings: StylizeSettings
    ) -> None:
        self.subject, self.field, self.settings = subject, subject.field, settings
        self.device = subject.device
        self.styles = [image.fit_long_side(style, min(512, max(style.shape))) for style in styles]  # to be shown
        sizes = [subject.views.size(i) for i in range(len(subject))]
        self.long_side = max(max(size) for size in sizes)
        self.parts = [self.part(*values, encoder) for values in self.divided(styles)]
        (height, width), needed = min(sizes, key=min), encoder.smallest(settings.layers)
        if min(height, width) < needed:
            layers = ", ".join(settings.layers)
            said = f"a view is looked at in {width}×{height} pixels, and {layers} need {needed} a side"
            raise UserError(f"{said}; give a larger --size, --layers of finer strokes such as relu2_1, or wider views")
        self.views = list(range(len(subject)))
        self.steps = settings.steps_of(len(subject))
        self.step = 0
        self.curves: list[dict[str, float]] = []
        self.recent: list[Tensor] = []  # a row of loss terms for each step since the last row of the curves

    @property
    def objective(self) -> StyleObjective:
        """Of the first part; the features of all are the same."""
        return self.parts[0].objective

    @property
    def recolor(self) -> Affine:
        """What becomes of colours that no column holds."""
        return self.parts[-1].recolor

    @property
    def background(self) -> Float[Tensor, " 3"]:
        """Behind everything."""
        return self.recolor.apply(self.field.background)

    def divided(self, styles: list[Tensor]) -> Iterator[tuple[list[Tensor], Sequence[float], float]]:
        """Styles, weights and scale of each part."""
        yield styles, self.settings.style_weights, self.settings.style_scale

    def part(self, styles: list[Tensor], weights: Sequence[float], scale: float, encoder: encoders.Encoder) -> Part:
        return Part(self.subject, styles, weights, self.long_side * scale, encoder, self.settings)

    def prepare(self, progress: Progress = lambda *_: None) -> None:
        """What is to be done once the subject is open, before the first `begin`."""

    def begin(self) -> None:
        """Take up the brush: the photoreal colours, recoloured. A recolouring of colours is one of all their pictures,
        so that no style needs a re-fit of its own; what ARF clips of the recoloured photographs stays."""
        for i in range(len(self.subject)):
            self.subject.cache.drop(_content(i))  # another style's
        self.theta = self.first().requires_grad_()
        self.optimizer = Adam([self.theta], lr=self.settings.learning_rate, betas=(0.9, 0.99), fused=True)

    def first(self) -> Float[Tensor, "V 3"]:
        """The colours that the loop begins with."""
        return self._recolored(self.subject.photoreal)

    def lift(self, progress: Progress = lambda *_: None) -> None:
        """Take colours lifted from pictures of the views to begin with, where `settings.start` names a method."""
        if self.settings.start == "recolor":
            return
        common = {field.name: getattr(self.settings, field.name) for field in fields(RepaintSettings)}
        lifting = LiftSettings(**common)
        paints = [painter_by(self.settings.start, part.styles, lifting) for part in self.parts]
        pictures: dict[int, ViewPicture] = {}
        for i in range(len(self.subject)):
            pictures[i] = ViewPicture.of(self._composed(paints, i))
            progress(self.settings.start, i + 1, len(self.subject), {})
        with torch.no_grad():
            self.theta.copy_(lifted(self.subject, pictures, lifting, progress).theta)

    def _recolored(self, colors: Float[Tensor, "*n 3"], i: int | None = None) -> Float[Tensor, "*n 3"]:
        """Photoreal colours of the columns, or of the pixels of view i, as the styles have them."""
        return mapped(self.parts, [part.recolor.apply for part in self.parts], colors, i)

    def _composed(self, paints: Sequence[Paint], i: int) -> Float[Tensor, "h w 3"]:
        """The photograph of view i, painted in each part by its own."""
        photograph = self.subject.image(i).cpu()
        return mapped(self.parts, paints, photograph, i).clamp(0, 1)

    @torch.no_grad()
    def content(self, i: int) -> list[Float[Tensor, "1 c h w"]]:
        """Features of a view's photograph in the style's colours; made once, in half precision."""
        name, cache = _content(i), self.subject.cache
        if not cache.has(name):
            features = self.objective.features(self._recolored(self.subject.image(i), i).clamp(0, 1))
            cache.put(name, {f"{k:02d}": f.half() for k, f in enumerate(features)})  # about 1: none overflows
        return [tensor.float() for _, tensor in sorted(cache.get(name).items())]

    # --- the loop -------------------------------------------------------------------------------------------------

    def view_of(self, step: int) -> int:
        """The view of a step."""
        return self.views[view_of_step(step, len(self.views), self.settings.seed)]

    def colors(self) -> Float[Tensor, "V 3"]:
        """Of the columns: painted in the places, photoreal elsewhere. Differentiable in `theta`."""
        return self.theta if self.share is None else self.base.lerp(self.theta, self.share[:, None])

    def weight(self, i: int) -> Float[Tensor, "h w"] | None:
        """How much each pixel of view i counts; None where all do in full."""
        weight = self.subject.weight(i)
        if self.parts[0].place is None:
            return weight
        mask = sum(part.mask(i) for part in self.parts).clamp_max(1)
        return mask if weight is None else mask * weight

    def render(self, i: int) -> Float[Tensor, "h w 3"]:
        """A training view with the present colours, unclamped."""
        return self.subject.operators[i].apply(self.colors(), self.background)

    @property
    def terms(self) -> int:
        """How many loss terms there are."""
        return 1 + (self.settings.content_weight > 0) + (self.settings.tv_weight > 0)

    def losses(self, picture: Float[Tensor, "h w 3"], i: int) -> dict[str, Tensor]:
        """The weighted loss terms of a rendering of view i."""
        s, weight = self.settings, self.weight(i)
        whole = self.parts[0].place is None
        area = 1.0 if whole else weight.mean()  # a pixel of a small place pulls like one of a large one
        features = self.objective.features(picture)
        weights = None if weight is None else [shrink_weight(weight, f.shape[-2:]) for f in features]
        terms = {s.loss: s.style_strength * sum(part.loss(features, i) for part in self.parts)}
        if s.content_weight > 0:
            parts = zip(features, self.content(i), weights or [None] * len(features), strict=True)
            terms["content"] = s.content_weight * area * sum(content_loss(*part) for part in parts) / len(features)
        if s.tv_weight > 0:
            terms["tv"] = s.tv_weight * area * total_variation(picture.permute(2, 0, 1)[None], weight=weight)
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
        image.write(run.path / "preview.png", self.preview(self.colors().detach(), self.background))

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
        since = notes.step - (notes.curves[-1]["step"] if notes.curves else 0)
        if len(notes.recent) not in (0, since) or any(len(row) != self.terms for row in notes.recent):
            raise UserError(
                f"{where}: recent: it has no row of {self.terms} losses for each of {since} steps; {REMEDY}"
            )
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
        theta = self.colors().detach()
        if self.settings.preserve_color:
            return Look(keep_color(theta, self.field.colors).contiguous(), self.background, self.recolor)
        maps = self.again()
        background, recolor = maps[-1].apply(self.background), maps[-1].compose(self.recolor)
        theta = mapped(self.parts, [again.apply for again in maps], theta)
        return Look(theta.contiguous(), background, recolor)

    def again(self) -> list[Affine]:
        """For each part the map from what its views show of it to its style."""
        return [
            part.matching(Moments.of((self.render(i).clamp(0, 1), part.weight(i)) for i in self.views))
            for part in self.parts
        ]

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

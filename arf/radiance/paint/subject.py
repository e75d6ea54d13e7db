"""What is painted, whatever the style: a frozen field, its training views, and what they need in every step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from arf.jobs.device import free_memory
from arf.jobs.machine import give_back_memory
from arf.radiance.brought.views import Renderings
from arf.radiance.capture.views import Views, apart
from arf.radiance.fields.field import Direct, Field, Renders
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.refit import Target, refit
from arf.radiance.operator.views import OperatorSet
from arf.radiance.settings import RepaintSettings
from arf.style.color import Moments

Progress = Callable[[str, int, int, dict[str, float]], None]  # what, step, steps, figures
MOST_OF_SPLATS = 3 << 29  # bytes of matrices and features: beyond it views are rasterised anew, hardly more slowly
RAYS = 2  # to a pixel along each side, at most
PREVIEWED = 4  # views in a preview
GAIN = 0.03  # share of the squared error that a pass of the re-fit has to bring


class Subject:
    """A field and its training views at the size at which they are painted. The photographs are read once, and kept in
    eight bits.

    Masked and transparent pixels are in no palette and in no loss; see `arf.radiance.capture.photographs.Photograph`.

    Args:
        views: at the size at which the field was fitted to them.
        progress: called with "photographs", the views read and how many there are.

    Attributes:
        views: of at most `settings.side` pixels on their longer sides.
        palette: colour moments of the photographs.
        operators: of the views; `open` makes them. A field that needs no survey is traced as they are asked for.
        photoreal: [V, 3] the columns' colours: the field's own, after `refit` those nearest to the photographs.
        seconds: that each of these took.
    """

    operators: OperatorSet
    cache: ViewCache

    def __init__(
        self, field: Field, views: Views, settings: RepaintSettings, progress: Progress = lambda *_: None
    ) -> None:
        start = time.perf_counter()
        self.field, self.device, self.settings = field, field.device, settings
        with field.survey(views, settings.color_resolution):
            pass  # not every field takes a resolution: refused before anything is written
        self.views = views.within(settings.side(self.device.type == "cuda"))
        shrunk = max(max(views.size(i)) / max(self.views.size(i)) for i in range(len(views)))
        self.rays = 1 if field.antialiased else min(RAYS, round(shrunk))
        if isinstance(self.views, Renderings):
            self.views = replace(self.views, rays=self.rays)
        self.photoreal = field.colors
        self._images: list[Tensor] = []  # uint8 [h, w, 3]
        self._masks: dict[int, Tensor] = {}  # bool [h, w] of the views that have one
        self._weights: dict[int, Tensor] = {}  # uint8 [h, w] of the views in which not every pixel counts in full
        self.palette = Moments()
        for i in range(len(views)):
            photograph = self.views.photograph(i)
            self._images.append((photograph.image * 255).round().to(torch.uint8))
            if photograph.mask is not None:
                self._masks[i] = photograph.mask
            if (weight := photograph.weight) is not None:
                self._weights[i] = (weight * 255).round().to(torch.uint8)
            self.palette.update(photograph.image, weight)
            progress("photographs", i + 1, len(views), {})
        self.seconds = {"photographs": time.perf_counter() - start}

    def __len__(self) -> int:
        return len(self.views)

    def image(self, i: int) -> Float[Tensor, "h w 3"]:
        """The photograph of view i."""
        return self._images[i].to(self.device).float() / 255

    def weight(self, i: int) -> Float[Tensor, "h w"] | None:
        """How much each pixel of view i counts, None where all do."""
        weight = self._weights.get(i)
        return None if weight is None else weight.to(self.device).float() / 255

    @property
    def exact(self) -> bool:
        """Whether the columns' own colours are the same from everywhere, so that they render the field's pictures."""
        if not isinstance(self.field, Renders):
            return False
        return torch.equal(*(self.field.own(self.views.cameras[i]) for i in (0, len(self) // 2)))

    @property
    def unpainted(self) -> Float[Tensor, "V 3"]:
        """The columns' colours of what is not painted: the field's own, or `photoreal` where those do not do."""
        return self.field.colors if self.exact else self.photoreal

    def open(self, cache: ViewCache, progress: Progress = lambda *_: None) -> None:
        """Make the operators, some of them at once; `photoreal` is the field's own colours."""
        s, start = self.settings, time.perf_counter()
        self.cache = cache
        self.operators = OperatorSet(
            self.field, self.views, None if s.no_cache else cache, s.dropped(self.field.drop), s.color_resolution,
            self.rays, lambda i, n: progress("trace", i, n, {}),
        )  # fmt: skip
        self.photoreal = self.field.colors  # as many as the operators have columns
        for i in apart(len(self), PREVIEWED):
            self.operators[i]
        self.seconds["trace"] = time.perf_counter() - start

    def trace(self, progress: Progress = lambda *_: None) -> None:
        """Ask for all operators, as the re-fit does."""
        for i in range(len(self)):
            self.operators[i]
            progress("trace", i + 1, len(self), {})

    def refit(self, progress: Progress = lambda *_: None) -> None:
        """Find the `photoreal` colours that render nearest to the photographs. A fit of ours is hardly bettered by it;
        colours that depend on the direction lose it in the best way."""
        start = time.perf_counter()
        self.photoreal = refit(
            self.operators, self.photoreal, self.field.background, self._target, gain=GAIN,
            progress=lambda i, n: progress("re-fit", i, n, {}),
        )  # fmt: skip
        self.seconds["re-fit"] = time.perf_counter() - start
        give_back_memory()

    @torch.no_grad()
    def some(
        self, most: int, theta: Float[Tensor, "V 3"] | None = None, background: Float[Tensor, " 3"] | None = None
    ) -> list[Float[Tensor, "h w 3"]]:
        """At most so many views, on the CPU: rendered with colours, or their photographs."""
        chosen = apart(len(self), most)
        if theta is None:
            return [self.image(i).cpu() for i in chosen]
        return [self.operators[i].apply(theta, background).clamp(0, 1).cpu() for i in chosen]

    def _target(self, i: int) -> Target:
        """A transparent pixel should show the background, a masked one anything."""
        return self.image(i), self._masks.get(i)


def budget(settings: RepaintSettings, field: Field) -> int:
    """Bytes that matrices and features may take where `field` is: what the settings allow, or half of what is free."""
    free = free_memory(field.device) // 2
    if field.device.type == "cpu" and isinstance(field, Direct):
        free = min(free, MOST_OF_SPLATS)
    return int(settings.cache_memory * 2**30) or free

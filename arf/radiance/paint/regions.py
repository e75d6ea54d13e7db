"""Painting in regions: several styles, each in a place of its own, and what is in none stays as photographed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from arf.media import image
from arf.radiance.looks.look import Look
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.places import masks_of, overlay, places_of
from arf.radiance.paint.subject import Progress, Subject
from arf.radiance.settings import Region, StylizeSettings
from arf.style.color import Affine, keep_color
from arf.style.encoder import Encoder

LEAST = 1e-3  # of a view that the regions have to take up, for the view to be painted


class RegionPainter(Painter):
    """The loop of a style for each region, and perhaps one more for everything else.

    Raises:
        UserError: as `Painter`, or a mask is of no view, of another shape, or empty.
    """

    def __init__(
        self,
        subject: Subject,
        styles: list[Tensor],
        encoder: Encoder,
        settings: StylizeSettings,
        regions: Sequence[Region],
    ) -> None:
        self.regions = regions
        super().__init__(subject, styles, encoder, settings)
        for region in regions:
            masks_of(region, subject.views)  # refused early
        self.everywhere = len(styles) > len(regions)

    def divided(self, styles: list[Tensor]) -> Iterator[tuple[list[Tensor], Sequence[float], float]]:
        own = [region.scale for region in self.regions] + [None]
        for style, scale in zip(styles, own, strict=False):
            yield [style], (), scale or self.settings.style_scale

    def prepare(self, progress: Progress = lambda *_: None) -> None:
        """Find the places.

        Raises:
            UserError: there is nothing in a region.
        """
        places = places_of(self.subject, self.regions, self.everywhere, progress)
        for part, place in zip(self.parts, places, strict=True):
            part.settle(place)
        self.base = self.subject.unpainted
        self.share = torch.stack([place.share for place in places]).sum(0).clamp_max(1)
        self.views = [i for i in self.views if float(self.weight(i).mean()) > LEAST] or self.views

    @property
    def recolor(self) -> Affine:
        return super().recolor if self.everywhere else Affine.identity()

    def overlay(self) -> image.Picture:
        """Some views, and beside each the regions tinted."""
        return overlay(self.subject, [part.place for part in self.parts[: len(self.regions)]])

    @torch.no_grad()
    def finish(self) -> Look:
        if self.settings.preserve_color:
            theta, background, recolor = keep_color(self.colors().detach(), self.base), self.background, self.recolor
        else:
            whole = super().finish()
            theta, background, recolor = whole.theta, whole.background, whole.recolor
        if not self.everywhere:
            background, recolor = self.background, self.recolor
        return Look(self.base.lerp(theta, self._strength()[:, None]), background, recolor)

    def _strength(self) -> Tensor:
        """How much of the paint shows on each column, [V]: that of its places."""
        places = [part.place for part in self.parts]
        shares = torch.stack([place.share for place in places])  # [parts, V]
        strengths = shares.new_tensor([place.strength for place in places])
        return strengths @ shares / shares.sum(0).clamp_min(1e-6)

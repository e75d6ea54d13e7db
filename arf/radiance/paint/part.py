"""A style and where it goes: everywhere, or in a place of its own among others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from arf.media import image
from arf.radiance.paint.subject import Subject
from arf.radiance.settings import StylizeSettings
from arf.style.color import Affine, Moments, matching, recolor
from arf.style.encoder import Encoder
from arf.style.losses import shrink_weight
from arf.style.objective import Features, StyleObjective


@dataclass(frozen=True)
class Place:
    """Where a style goes. The places of one painting add up to at most 1.

    Attributes:
        share: [V] of each column, in [0, 1].
        masks: [h, w] of each view, in 255ths.
        strength: how much of the paint shows in the end, in [0, 1].
    """

    share: Float[Tensor, " V"]
    masks: Sequence[UInt8[Tensor, "h w"]]
    strength: float = 1.0


class Part:
    """One style, or one mixture of styles.

    Args:
        styles: pictures [H, W, 3] of any size.
        weights: one per style; equal when left out.
        long_side: of the pictures that are compared with them, in pixels.

    Attributes:
        place: None: everywhere.
        recolor: from the photographs' colours there to the style's.
        palette: the style's colours; None where the photographs' are kept.
    """

    place: Place | None = None

    def __init__(
        self,
        subject: Subject,
        styles: Sequence[image.Picture],
        weights: Sequence[float],
        long_side: float,
        encoder: Encoder,
        settings: StylizeSettings,
    ) -> None:
        self.subject, self.styles, self.settings = subject, styles, settings
        shown = [recolor(style, like=subject.palette) for style in styles] if settings.preserve_color else styles
        shrunk = [image.fit_style(style, max(32, long_side)).to(subject.device) for style in shown]
        self.objective = StyleObjective(
            encoder, settings.layers, shrunk, weights, settings.loss, settings.neighbours, settings.exact_matches
        )
        self.palette = None if settings.preserve_color else _mixture(styles, np.array(self.objective.weights))
        self.recolor = self.matching(subject.palette)

    def settle(self, place: Place) -> None:
        """Take a place, and its photographs' colours."""
        self.place = place
        views = range(len(self.subject))
        self.recolor = self.matching(Moments.of((self.subject.image(i), self.weight(i)) for i in views))

    def matching(self, colors: Moments) -> Affine:
        """The map from colours of such moments to the style's; none where the photographs' are kept, or there are no
        colours."""
        return Affine.identity() if self.palette is None or not colors.count else matching(colors, self.palette)

    def mask(self, i: int) -> Float[Tensor, "h w"] | None:
        """How much of view i is the style's, in [0, 1]; None where it is everywhere."""
        return None if self.place is None else self.place.masks[i].to(self.subject.device).float() / 255

    def weight(self, i: int) -> Float[Tensor, "h w"] | None:
        """How much each pixel of view i counts for the style; None where all do in full."""
        mask, weight = self.mask(i), self.subject.weight(i)
        return weight if mask is None else mask if weight is None else mask * weight

    def loss(self, features: Features, i: int) -> Float[Tensor, ""]:
        """The style loss of the features of a rendering of view i, times the place's share of the view."""
        weight = self.weight(i)
        if weight is None:
            return self.objective(features)
        found = self.objective(features, [shrink_weight(weight, f.shape[-2:]) for f in features])
        return found if self.place is None else found * weight.mean()


Map = Callable[[Float[Tensor, "*n 3"]], Float[Tensor, "*n 3"]]


def mapped(
    parts: Sequence[Part], maps: Sequence[Map], colors: Float[Tensor, "*n 3"], i: int | None = None
) -> Float[Tensor, "*n 3"]:
    """Colours of the columns, or of the pixels of view i, mapped part by part; what is in no place stays.

    Args:
        maps: one for each part.
    """
    if parts[0].place is None:
        return maps[0](colors)
    out = colors.clone()
    for part, new in zip(parts, maps, strict=True):
        share = (part.place.share if i is None else part.mask(i)).to(colors.device)
        out += share[..., None] * (new(colors) - colors)
    return out


def _mixture(styles: Sequence[Tensor], share: np.ndarray) -> Moments:
    """Colour moments of several pictures, each with its share whatever its size."""
    shares = zip(styles, share / share.sum(), strict=True)
    return Moments.of(image.resize(style, 256, max(1, round(256 * w))) for style, w in shares if w > 0)

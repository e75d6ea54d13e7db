"""What a picture is pulled towards: terms over encoder features, each a function of sums over positions.

Sums over positions may be taken tile by tile, which is how a picture larger than memory is looked at (`objective`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from arf.style.encoder import Encoder
from arf.style.losses import gram
from arf.transfer.engine.tiles import Tiling

Features = Mapping[str, Float[Tensor, "1 c h w"]]
Place = Callable[[str], tuple[slice, slice]]  # rows and columns of a tap that a tile holds


class Term(Protocol):
    """One term of a loss.

    Attributes:
        name: as progress and traces call it.
        taps: what it needs of the encoder.
    """

    name: str
    taps: tuple[str, ...]

    def sums(self, features: Features, place: Place) -> list[Tensor]:
        """Sums over the positions of a tile, which add up to those of the picture."""

    def loss(self, sums: list[Tensor]) -> Float[Tensor, ""]:
        """The weighted loss, from the sums over the whole picture."""


class GramTerm:
    """Gatys' style loss: weight · Σ_l w_l mean (G_l - Ĝ_l)², G = Σ_p m_p f_p f_pᵀ / Σ_p m_p (NIPS 2015, CVPR 2016).

    Args:
        targets: Gram matrix of every tap, over positions.
        layer_weights: w_l; they are normalised to sum 1.
        weight: of the whole term.
        masks: m, one map for every tap [h, w] in [0, 1], where the style belongs to a region. The loss is then
            multiplied by the region's share of the picture, so that a pixel counts as much in a small region.
    """

    def __init__(
        self,
        targets: Mapping[str, Float[Tensor, "c c"]],
        layer_weights: Sequence[float],
        weight: float,
        masks: Mapping[str, Float[Tensor, "h w"]] | None = None,
        name: str = "style",
    ) -> None:
        self.name, self.targets, self.taps, self.masks = name, targets, tuple(targets), masks
        self.layer_weights = [weight * w / sum(layer_weights) for w in layer_weights]

    def sums(self, features: Features, place: Place) -> list[Tensor]:
        found = []
        for tap in self.taps:
            f = features[tap]
            count = f.new_tensor(float(f.shape[2] * f.shape[3]))
            mask = None if self.masks is None else self.masks[tap][place(tap)]
            area = count if mask is None else mask.sum()
            found += [gram(f, "positions", mask)[0] * area, area, count]
        return found

    def loss(self, sums: list[Tensor]) -> Float[Tensor, ""]:
        total = sums[0].new_zeros(())
        for i, (tap, weight) in enumerate(zip(self.taps, self.layer_weights, strict=True)):
            products, area, count = sums[3 * i : 3 * i + 3]
            matrix = products / area.clamp_min(1e-6)
            total = total + weight * (area / count) * functional.mse_loss(matrix, self.targets[tap])
        return total


class ContentTerm:
    """Squared distance of features from a picture's: weight · Σ_l Σ(F - F̂)² / n_l.

    n_l is the number of values (Gatys et al., CVPR 2016), or with `relative` their squared norm Σ F̂² (Mahendran &
    Vedaldi, CVPR 2015). Several taps are averaged.
    """

    def __init__(self, targets: Features, weight: float, relative: bool = False, name: str = "content") -> None:
        self.name, self.targets, self.taps = name, targets, tuple(targets)
        norms = [float(t.square().sum()) if relative else float(t.numel()) for t in targets.values()]
        self.weights = [weight / (max(norm, 1e-12) * len(norms)) for norm in norms]

    def sums(self, features: Features, place: Place) -> list[Tensor]:
        return [
            functional.mse_loss(features[tap], self.targets[tap][(..., *place(tap))], reduction="sum")
            for tap in self.taps
        ]

    def loss(self, sums: list[Tensor]) -> Float[Tensor, ""]:
        return sum(weight * total for weight, total in zip(self.weights, sums, strict=True))


class ActivationTerm:
    """Minus the mean activation of some channels of a tap, or minus half the mean square of all of them: what DeepDream
    climbs (Mordvintsev, Olah & Tyka, 2015)."""

    def __init__(self, tap: str, channels: Sequence[int] = (), weight: float = 1.0, name: str = "activation") -> None:
        self.name, self.taps, self.channels, self.weight = name, (tap,), list(channels), weight

    def sums(self, features: Features, place: Place) -> list[Tensor]:
        f = features[self.taps[0]]
        found = f[:, self.channels] if self.channels else f.square() / 2
        return [found.sum(), f.new_tensor(float(found.numel()))]

    def loss(self, sums: list[Tensor]) -> Float[Tensor, ""]:
        total, count = sums
        return -self.weight * total / count


@torch.no_grad()
def gram_targets(
    encoder: Encoder, picture: Float[Tensor, "1 3 h w"], taps: Sequence[str], inner: bool = False, tile: int = 0
) -> dict[str, Float[Tensor, "c c"]]:
    """Gram matrices of a picture, over positions.

    Args:
        inner: leave out the positions that see beyond the borders (but never all of them).
        tile: side in pixels of the tiles to look at; 0 for the whole picture.
    """
    tiling = Tiling(encoder, taps, tile)
    sums = {tap: [0.0, 0] for tap in taps}  # of products, and of positions
    for part in tiling.tiles(*picture.shape[2:]):
        for tap, f in tiling.features(part.cut(picture), part).items():
            stride = encoder.stride(tap)
            if inner:
                lengths = [side // stride for side in picture.shape[2:]]
                margin = min(-(-encoder.reach(tap) // stride), (min(lengths) - 1) // 2)
                f = f[(..., *_inside(part.within_picture(stride), lengths, margin))]
            count = f.shape[2] * f.shape[3]
            if count:
                sums[tap][0] += gram(f, "positions")[0] * count
                sums[tap][1] += count
    return {tap: products / count for tap, (products, count) in sums.items()}


def _inside(spans: tuple[slice, slice], lengths: Sequence[int], margin: int) -> list[slice]:
    """What of a tile's positions lies at least `margin` from the picture's borders, in the tile's own positions."""
    kept = []
    for span, length in zip(spans, lengths, strict=True):
        first, last = max(span.start, margin), min(span.stop, length - margin)
        kept.append(slice(first - span.start, max(first, last) - span.start))
    return kept

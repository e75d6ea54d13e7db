"""Loss and gradient of a picture: at once, or tile by tile in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from arf.encoder import Encoder
from arf.transfer.terms import Term

Planes = Float[Tensor, "1 3 h w"]
Priors = Mapping[str, Callable[[Planes], Float[Tensor, ""]]]


@dataclass(frozen=True)
class Evaluation:
    """The loss at a picture, its terms by name, and its gradient [1, 3, H, W]."""

    total: float
    parts: dict[str, float]
    gradient: Planes


@dataclass(frozen=True)
class Tile:
    """Part of a picture that is looked at by itself.

    Attributes:
        window: index into [3, H, W] of what the encoder sees, the tile and a margin.
        top, left: of the window, in the picture.
        rows, columns: first and last + 1 pixel of the tile, in the picture.
    """

    window: tuple[Tensor, Tensor, Tensor]
    top: int
    left: int
    rows: tuple[int, int]
    columns: tuple[int, int]

    def within_picture(self, stride: int) -> tuple[slice, slice]:
        """The tile's positions at a stride, in the picture's features."""
        return slice(*(p // stride for p in self.rows)), slice(*(p // stride for p in self.columns))

    def within_window(self, stride: int) -> tuple[slice, slice]:
        """The tile's positions at a stride, in the window's features."""
        rows, columns = [[p - self.top for p in self.rows], [p - self.left for p in self.columns]]
        return slice(*(p // stride for p in rows)), slice(*(p // stride for p in columns))


class Objective:
    """Σ terms(features) + Σ priors(picture).

    With `tile`, the encoder sees one tile after the other, with a margin as wide as its deepest tap reaches. All sums
    over positions are gathered without a gradient first; the gradient of the loss with respect to the sums then goes
    back through each tile on its own. So memory does not grow with the picture, and the result is the same to rounding
    (where max pooling finds equal values, rounding chooses which of them the gradient goes to). The price is a second
    forward pass and the margins.

    Args:
        encoder: frozen.
        terms: over features.
        priors: functions of the picture itself, by name.
        tile: side of a tile in pixels; 0 looks at the whole picture at once.

    Raises:
        ValueError: two terms or priors of one name.
    """

    def __init__(self, encoder: Encoder, terms: Sequence[Term], priors: Priors | None = None, tile: int = 0) -> None:
        self.encoder, self.terms, self.priors = encoder, list(terms), dict(priors or {})
        names = [*(term.name for term in self.terms), *self.priors]
        if len(set(names)) < len(names):
            raise ValueError(f"terms and priors have different names, got {', '.join(names)}")
        self.taps = list(dict.fromkeys(tap for term in terms for tap in term.taps))
        self.stride = max(encoder.stride(tap) for tap in self.taps)
        self.tile = -(-tile // self.stride) * self.stride
        self.margin = -(-max(encoder.reach(tap) for tap in self.taps) // self.stride) * self.stride

    def __call__(self, picture: Planes) -> Evaluation:
        whole = not self.tile or max(picture.shape[2:]) <= self.tile
        losses, gradient = self._whole(picture) if whole else self._tiled(picture)
        for name, prior in self.priors.items():
            x = picture.detach().requires_grad_()
            losses[name] = prior(x)
            gradient += torch.autograd.grad(losses[name], x)[0]
        parts = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
        return Evaluation(sum(parts.values()), parts, gradient)

    def _whole(self, picture: Planes) -> tuple[dict[str, Tensor], Planes]:
        x = picture.detach().requires_grad_()
        features = self.encoder(x, self.taps)
        losses = {term.name: term.loss(term.sums(features, _everywhere)) for term in self.terms}
        (gradient,) = torch.autograd.grad(sum(losses.values()), x)
        return {name: loss.detach() for name, loss in losses.items()}, gradient.contiguous()

    def _tiled(self, picture: Planes) -> tuple[dict[str, Tensor], Planes]:
        tiles = list(self._tiles(*picture.shape[2:]))
        with torch.no_grad():
            gathered = [self._sums(picture[0][tile.window][None], tile) for tile in tiles]  # of tiles, of terms
        of_terms = zip(*gathered, strict=True)
        totals = [[sum(parts).requires_grad_() for parts in zip(*tiled, strict=True)] for tiled in of_terms]
        losses = {term.name: term.loss(sums) for term, sums in zip(self.terms, totals, strict=True)}
        flat = [s for sums in totals for s in sums]
        pulls = torch.autograd.grad(sum(losses.values()), flat, materialize_grads=True)
        gradient = torch.zeros_like(picture)
        for tile in tiles:
            x = picture[0][tile.window][None].detach().requires_grad_()
            sums = [s for of_term in self._sums(x, tile) for s in of_term]
            moved = [(s, pull) for s, pull in zip(sums, pulls, strict=True) if s.requires_grad]  # counts do not
            (part,) = torch.autograd.grad([s for s, _ in moved], x, [pull for _, pull in moved])
            gradient[0].index_put_(tile.window, part[0], accumulate=True)  # a window may hold a pixel twice
        return {name: loss.detach() for name, loss in losses.items()}, gradient

    def _sums(self, window: Planes, tile: Tile) -> list[list[Tensor]]:
        """Every term's sums over a tile's own positions."""
        features = {
            tap: f[(..., *tile.within_window(self.encoder.stride(tap)))]
            for tap, f in self.encoder(window, self.taps).items()
        }
        return [term.sums(features, lambda tap: tile.within_picture(self.encoder.stride(tap))) for term in self.terms]

    def _tiles(self, height: int, width: int) -> Iterator[Tile]:
        """Tiles whose windows begin and end at multiples of the deepest stride, or at the picture's borders."""
        for top, bottom, rows in self._spans(height):
            for left, right, columns in self._spans(width):
                window = torch.arange(3)[:, None, None], (rows % height)[:, None], columns % width
                yield Tile(window, int(rows[0]), int(columns[0]), (top, bottom), (left, right))

    def _spans(self, length: int) -> Iterator[tuple[int, int, Tensor]]:
        """First and last + 1 pixel of every tile along a side, and the pixels of its window."""
        first, last = (-self.margin, length + self.margin) if self.encoder.padding == "circular" else (0, length)
        starts = [start for start in range(0, length, self.tile) if not start or length - start >= self.stride]
        for start, stop in pairwise([*starts, length]):
            yield start, stop, torch.arange(max(start - self.margin, first), min(stop + self.margin, last))


def _everywhere(tap: str) -> tuple[slice, slice]:
    return slice(None), slice(None)

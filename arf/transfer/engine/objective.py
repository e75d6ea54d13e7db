"""Loss and gradient of a picture: at once, or tile by tile in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from arf.style.encoder import Encoder
from arf.transfer.engine.terms import Term
from arf.transfer.engine.tiles import Planes, Tile, Tiling

Priors = Mapping[str, Callable[[Planes], Float[Tensor, ""]]]


@dataclass(frozen=True)
class Evaluation:
    """The loss at a picture, its terms by name, and its gradient [1, 3, H, W]."""

    total: float
    parts: dict[str, float]
    gradient: Planes


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
        self.tiling = Tiling(encoder, self.taps, tile)

    def __call__(self, picture: Planes) -> Evaluation:
        tiles = list(self.tiling.tiles(*picture.shape[2:]))
        alone = len(tiles) == 1
        losses, gradient = self._at_once(picture, tiles[0]) if alone else self._tile_by_tile(picture, tiles)
        for name, prior in self.priors.items():
            x = picture.detach().requires_grad_()
            losses[name] = prior(x)
            gradient += torch.autograd.grad(losses[name], x)[0]
        parts = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
        return Evaluation(sum(parts.values()), parts, gradient)

    def _at_once(self, picture: Planes, tile: Tile) -> tuple[dict[str, Tensor], Planes]:
        x = picture.detach().requires_grad_()
        losses = {term.name: term.loss(sums) for term, sums in zip(self.terms, self._sums(x, tile), strict=True)}
        (gradient,) = torch.autograd.grad(sum(losses.values()), x)
        return {name: loss.detach() for name, loss in losses.items()}, gradient.contiguous()

    def _tile_by_tile(self, picture: Planes, tiles: list[Tile]) -> tuple[dict[str, Tensor], Planes]:
        with torch.no_grad():
            gathered = [self._sums(tile.cut(picture), tile) for tile in tiles]  # of tiles, of terms
        of_terms = zip(*gathered, strict=True)
        totals = [[sum(parts).requires_grad_() for parts in zip(*tiled, strict=True)] for tiled in of_terms]
        losses = {term.name: term.loss(sums) for term, sums in zip(self.terms, totals, strict=True)}
        flat = [s for sums in totals for s in sums]
        pulls = torch.autograd.grad(sum(losses.values()), flat, materialize_grads=True)
        gradient = torch.zeros_like(picture)
        for tile in tiles:
            x = tile.cut(picture).detach().requires_grad_()
            sums = [s for of_term in self._sums(x, tile) for s in of_term]
            moved = [(s, pull) for s, pull in zip(sums, pulls, strict=True) if s.requires_grad]  # counts do not
            (part,) = torch.autograd.grad([s for s, _ in moved], x, [pull for _, pull in moved])
            gradient[0].index_put_(tile.window, part[0], accumulate=True)  # a window may hold a pixel twice
        return {name: loss.detach() for name, loss in losses.items()}, gradient

    def _sums(self, window: Planes, tile: Tile) -> list[list[Tensor]]:
        """Every term's sums over a tile's own positions."""
        features = self.tiling.features(window, tile)
        return [term.sums(features, lambda tap: tile.within_picture(self.encoder.stride(tap))) for term in self.terms]

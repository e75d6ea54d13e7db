"""Which splats each tile of a picture sees, nearest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arf.errors import UserError
from arf.radiance.fields.jit import kernel
from arf.radiance.fields.splats.kernels.projection import TILE, Projected

MOST = 2**31 - 1  # pairs of a tile and a splat in one picture
STRIDE = 0.6180339887  # of all tiles: threads, which take runs of neighbours in this order, all get some of everything


@dataclass
class Tiles:
    """The T tiles of a picture, row by row.

    Attributes:
        starts: int64 [T + 1] where each tile's splats begin.
        splats: int32 [M] numbers of splats, by ascending depth within a tile.
        order: int64 [T] in which tiles are worked on.
    """

    starts: np.ndarray
    splats: np.ndarray
    order: np.ndarray


def tiles_of(projected: Projected) -> Tiles:
    """
    Raises:
        UserError: millions of splats each cover the whole picture.
    """
    across, down = -(-projected.width // TILE), -(-projected.height // TILE)
    seen = np.nonzero(projected.tiles[:, 1] > projected.tiles[:, 0])[0].astype(np.int32)
    nearest = seen[_ascending(projected.depths[seen])]
    starts = _count(nearest, projected.tiles, across, down)
    if starts[-1] > MOST:
        raise UserError("too many splats cover the whole picture; take a smaller picture, or clean the splats")
    splats = np.empty(starts[-1], np.int32)
    _fill(nearest, projected.tiles, across, starts, splats)
    return Tiles(starts, splats, _spread(across * down))


def _ascending(depths: np.ndarray) -> np.ndarray:
    """The stable order of positive numbers, by halves of their bits: numpy sorts sixteen bits by their digits."""
    bits = depths.view(np.uint32)
    order = np.argsort(bits.astype(np.uint16), kind="stable")
    return order[np.argsort((bits >> 16).astype(np.uint16)[order], kind="stable")]


def _spread(count: int) -> np.ndarray:
    step = max(1, round(STRIDE * count))
    while np.gcd(step, count) != 1:
        step += 1
    return np.arange(count, dtype=np.int64) * step % count


@kernel(parallel=False)
def _count(nearest, tiles, across, down):
    starts = np.zeros(across * down + 1, np.int64)
    for i in nearest:
        for row in range(tiles[i, 2], tiles[i, 3]):
            for column in range(tiles[i, 0], tiles[i, 1]):
                starts[row * across + column + 1] += 1
    return starts.cumsum()


@kernel(parallel=False)
def _fill(nearest, tiles, across, starts, splats):
    at = starts[:-1].copy()
    for i in nearest:
        for row in range(tiles[i, 2], tiles[i, 3]):
            for column in range(tiles[i, 0], tiles[i, 1]):
                tile = row * across + column
                splats[at[tile]] = i
                at[tile] += 1

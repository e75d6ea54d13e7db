"""Splats blended into pictures, nearest first, and a picture's gradient pulled back to their colours.

    picture = Σ_i w_i c_i + t ⊗ background          w_i = alpha_i Π_{j<i} (1 − alpha_j),  t = Π (1 − alpha)

Both walk over a tile's splats in the same order, so that the second is the first's transpose to the last weight. Unlike
3D Gaussian Splatting's own, a pixel takes in the splat that closes it (transmittance below 1e-4) before it stops: less
of the background shines through what is opaque.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from jaxtyping import Float, Int

from arf.radiance.fields.jit import kernel
from arf.radiance.fields.splats.kernels.alphas import LOOK, PIXELS, alphas, blend, closed, rows_of
from arf.radiance.fields.splats.kernels.projection import TILE, Projected
from arf.radiance.fields.splats.kernels.tiles import Tiles

HEAVY = 0.01  # a weight that counts

Picture = tuple[Float[np.ndarray, "h w c"], Float[np.ndarray, "h w"], Int[np.ndarray, "h w"]]


def rasterise(
    projected: Projected, tiles: Tiles, colors: Float[np.ndarray, "n c"], background: Float[np.ndarray, " c"]
) -> Picture:
    """The picture of any number of channels, the transmittance left, and how many splats weigh more than 0.01."""
    size = projected.height, projected.width
    picture = np.empty((*size, colors.shape[1]), np.float32)
    left, heavy = np.empty(size, np.float32), np.empty(size, np.int32)
    _rasterise(
        tiles.starts, tiles.splats, tiles.order, projected.ellipses, np.ascontiguousarray(colors, np.float32),
        background.astype(np.float32), picture, left, heavy,
    )  # fmt: skip
    return picture, left, heavy


def pull(projected: Projected, tiles: Tiles, gradient: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "n c"]:
    """Σ over pixels of w_i · gradient: how much each splat contributed."""
    slots = np.zeros((len(tiles.splats), gradient.shape[2]), np.float32)
    gradient = np.ascontiguousarray(gradient, np.float32)
    _pull(tiles.starts, tiles.splats, tiles.order, projected.ellipses, gradient, slots)
    out = np.zeros((len(projected.depths), gradient.shape[2]), np.float32)
    gather(tiles.splats, slots, out)
    return out


@kernel()
def _rasterise(starts, splats, order, ellipses, colors, background, picture, left, heavy):
    height, width, channels = picture.shape
    across = (width + TILE - 1) // TILE
    for k in nb.prange(len(order)):
        x0, y0 = order[k] % across * TILE, order[k] // across * TILE
        rows, columns = min(TILE, height - y0), min(TILE, width - x0)
        sums, many = np.zeros((channels, PIXELS), np.float32), np.zeros(PIXELS, np.float32)
        through = np.ones(PIXELS, np.float32)
        weights = np.empty(TILE, np.float32)
        for at in range(starts[order[k]], starts[order[k] + 1]):
            i = splats[at]
            first, last = rows_of(ellipses, i, y0, rows)
            for row in range(first, last):
                alphas(ellipses, i, x0, y0 + row, weights)
                here = row * TILE
                blend(weights, through, here)
                for lane in range(TILE):
                    many[here + lane] += np.float32(1) if weights[lane] > np.float32(HEAVY) else np.float32(0)
                for channel in range(channels):
                    color = colors[i, channel]
                    for lane in range(TILE):
                        sums[channel, here + lane] += weights[lane] * color
            if at & LOOK == LOOK and closed(through):
                break
        for row in range(rows):
            for column in range(columns):
                here = row * TILE + column
                left[y0 + row, x0 + column] = through[here]
                heavy[y0 + row, x0 + column] = nb.int32(many[here])
                for channel in range(channels):
                    picture[y0 + row, x0 + column, channel] = sums[channel, here] + through[here] * background[channel]


@kernel()
def _pull(starts, splats, order, ellipses, gradient, slots):
    height, width, channels = gradient.shape
    across = (width + TILE - 1) // TILE
    for k in nb.prange(len(order)):
        x0, y0 = order[k] % across * TILE, order[k] // across * TILE
        rows, columns = min(TILE, height - y0), min(TILE, width - x0)
        given = np.zeros((channels, PIXELS), np.float32)
        through = np.ones(PIXELS, np.float32)
        for row in range(rows):
            for column in range(columns):
                for channel in range(channels):
                    given[channel, row * TILE + column] = gradient[y0 + row, x0 + column, channel]
        weights = np.empty(TILE, np.float32)
        sums = np.empty((channels, TILE), np.float32)
        for at in range(starts[order[k]], starts[order[k] + 1]):
            i = splats[at]
            sums[:] = np.float32(0)
            first, last = rows_of(ellipses, i, y0, rows)
            for row in range(first, last):
                alphas(ellipses, i, x0, y0 + row, weights)
                here = row * TILE
                blend(weights, through, here)
                for channel in range(channels):
                    for lane in range(TILE):
                        sums[channel, lane] += weights[lane] * given[channel, here + lane]
            for channel in range(channels):
                total = np.float32(0)
                for lane in range(TILE):
                    total += sums[channel, lane]
                slots[at, channel] = total
            if at & LOOK == LOOK and closed(through):
                break


@kernel(parallel=False)
def gather(splats, slots, out):
    """Sums what a splat is owed by all tiles, always in the same order."""
    for at in range(len(splats)):
        for channel in range(slots.shape[1]):
            out[splats[at], channel] += slots[at, channel]

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

from arf.radiance.fields.jit import device, kernel
from arf.radiance.fields.splats.kernels.alphas import LOOK, PIXELS, along, beside, closed, rows_of, weight_at
from arf.radiance.fields.splats.kernels.projection import TILE, Projected
from arf.radiance.fields.splats.kernels.tiles import Tiles

HEAVY = 0.01  # a weight that counts
GROUP = 4  # channels that are taken at once

Picture = tuple[Float[np.ndarray, "h w c"], Float[np.ndarray, "h w"], Int[np.ndarray, "h w"]]


def rasterise(
    projected: Projected, tiles: Tiles, colors: Float[np.ndarray, "n c"], background: Float[np.ndarray, " c"]
) -> Picture:
    """The picture of any number of channels, the transmittance left, and how many splats weigh more than 0.01."""
    size, count, channels = (projected.height, projected.width), len(colors), colors.shape[1]
    picture = np.empty((*size, channels), np.float32)
    left, heavy = np.empty(size, np.float32), np.empty(size, np.int32)
    for first in range(0, channels, GROUP):
        some = min(GROUP, channels - first)
        held, behind = np.zeros((count, GROUP), np.float32), np.zeros(GROUP, np.float32)
        held[:, :some], behind[:some] = colors[:, first : first + some], background[first : first + some]
        parts = tiles.starts, tiles.splats, tiles.order, projected.ellipses, held, behind
        _rasterise(*parts, first, picture, left, heavy)
    return picture, left, heavy


def pull(projected: Projected, tiles: Tiles, gradient: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "n c"]:
    """Σ over pixels of w_i · gradient: how much each splat contributed."""
    out = np.zeros((len(projected.depths), gradient.shape[2]), np.float32)
    slots = np.empty((len(tiles.splats), GROUP), np.float32)
    for first in range(0, gradient.shape[2], GROUP):
        given = np.ascontiguousarray(gradient[:, :, first : first + GROUP], np.float32)
        _pull(tiles.starts, tiles.splats, tiles.order, projected.ellipses, given, slots)
        out[:, first : first + GROUP] = gather(tiles.splats, slots, len(out))[:, : given.shape[2]]
    return out


@kernel()
def _rasterise(starts, splats, order, ellipses, colors, background, channel, picture, left, heavy):
    height, width = left.shape
    channels = min(GROUP, picture.shape[2] - channel)
    across = (width + TILE - 1) // TILE
    for k in nb.prange(len(order)):
        x0, y0 = order[k] % across * TILE, order[k] // across * TILE
        rows, columns = min(TILE, height - y0), min(TILE, width - x0)
        state = np.zeros((GROUP + 2) * PIXELS, np.float32)  # transmittance, number of heavy weights, sums
        state[:PIXELS] = np.float32(1)
        for at in range(starts[order[k]], starts[order[k] + 1]):
            i = splats[at]
            l0, c0, c1, c2, c3 = ellipses[i, 2], colors[i, 0], colors[i, 1], colors[i, 2], colors[i, 3]
            first, last = rows_of(ellipses, i, y0, rows)
            for row in range(first, last):
                here = row * TILE
                top, u = along(ellipses, i, x0, y0 + row)
                if beside(top, u, l0):
                    continue
                for lane in range(TILE):
                    p = here + lane
                    way = np.float32(u + l0 * np.float32(np.int32(lane)))
                    weight = weight_at(state, p, np.float32(top - way * way))
                    state[nb.uintp(p + PIXELS)] += np.float32(1) if weight > np.float32(HEAVY) else np.float32(0)
                    state[nb.uintp(p + 2 * PIXELS)] += weight * c0
                    state[nb.uintp(p + 3 * PIXELS)] += weight * c1
                    state[nb.uintp(p + 4 * PIXELS)] += weight * c2
                    state[nb.uintp(p + 5 * PIXELS)] += weight * c3
            if at & LOOK == LOOK and closed(state):
                break
        for row in range(rows):
            for column in range(columns):
                p = row * TILE + column
                left[y0 + row, x0 + column] = state[p]
                heavy[y0 + row, x0 + column] = nb.int32(state[PIXELS + p])
                for c in range(channels):
                    picture[y0 + row, x0 + column, channel + c] = state[(2 + c) * PIXELS + p] + state[p] * background[c]


@kernel()
def _pull(starts, splats, order, ellipses, gradient, slots):
    height, width, channels = gradient.shape
    across = (width + TILE - 1) // TILE
    for k in nb.prange(len(order)):
        x0, y0 = order[k] % across * TILE, order[k] // across * TILE
        rows, columns = min(TILE, height - y0), min(TILE, width - x0)
        state = np.zeros((GROUP + 1) * PIXELS, np.float32)  # transmittance, what is given
        state[:PIXELS] = np.float32(1)
        for row in range(rows):
            for column in range(columns):
                for channel in range(channels):
                    state[(1 + channel) * PIXELS + row * TILE + column] = gradient[y0 + row, x0 + column, channel]
        sums = np.empty(GROUP * TILE, np.float32)
        at, end = starts[order[k]], starts[order[k] + 1]
        while at < end:
            i = splats[at]
            sums[:] = np.float32(0)
            l0 = ellipses[i, 2]
            first, last = rows_of(ellipses, i, y0, rows)
            for row in range(first, last):
                here = row * TILE
                top, u = along(ellipses, i, x0, y0 + row)
                if beside(top, u, l0):
                    continue
                for lane in range(TILE):
                    p = here + lane
                    way = np.float32(u + l0 * np.float32(np.int32(lane)))
                    weight = weight_at(state, p, np.float32(top - way * way))
                    sums[nb.uintp(lane)] += weight * state[nb.uintp(p + PIXELS)]
                    sums[nb.uintp(lane + TILE)] += weight * state[nb.uintp(p + 2 * PIXELS)]
                    sums[nb.uintp(lane + 2 * TILE)] += weight * state[nb.uintp(p + 3 * PIXELS)]
                    sums[nb.uintp(lane + 3 * TILE)] += weight * state[nb.uintp(p + 4 * PIXELS)]
            for channel in range(GROUP):
                slots[at, channel] = total(sums, channel * TILE)
            at += 1
            if (at - 1) & LOOK == LOOK and closed(state):
                break
        while at < end:  # nothing is seen of the rest
            slots[at, :] = np.float32(0)
            at += 1


@device
def total(sums, first):
    """Of a tile's row, from `first` on: pairs, pairs of pairs, and so on, whatever the machine."""
    for half in (8, 4, 2, 1):
        for lane in range(half):
            sums[nb.uintp(first + lane)] += sums[nb.uintp(first + lane + half)]
    return sums[first]


@kernel(parallel=False)
def gather(splats, slots, count):
    """Sums what each of `count` splats is owed by all tiles, always in the same order."""
    out = np.zeros((count, slots.shape[1]), np.float32)
    for at in range(len(splats)):
        for part in range(slots.shape[1]):
            out[splats[at], part] += slots[at, part]
    return out

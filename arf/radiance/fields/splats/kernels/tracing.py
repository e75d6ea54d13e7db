"""What each pixel sees of the splats, as rows of a sparse matrix: (pixel, splat, weight), nearest first."""

from __future__ import annotations

import numba as nb
import numpy as np

from arf.radiance.fields.jit import device, kernel
from arf.radiance.fields.rows import Rows
from arf.radiance.fields.splats.kernels.alphas import (
    LOOK,
    PIXELS,
    along,
    beside,
    closed,
    rows_of,
    weight_at,
)
from arf.radiance.fields.splats.kernels.projection import TILE, Projected
from arf.radiance.fields.splats.kernels.tiles import Tiles


def trace(projected: Projected, tiles: Tiles) -> Rows:
    """All weights of all pixels, row by row: int64 [P + 1], int32 [E], float32 [E]."""
    size = projected.height, projected.width
    counts = np.zeros(size, np.int32)
    parts = tiles.starts, tiles.splats, tiles.order, projected.ellipses
    _count(*parts, *size, counts)
    starts = np.zeros(size[0] * size[1] + 1, np.int64)
    np.cumsum(counts.ravel(), out=starts[1:])
    columns, weights = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    _write(*parts, *size, starts, columns, weights)
    return starts, columns, weights


@kernel()
def _count(starts, splats, order, ellipses, height, width, counts):
    """Each pixel's entries."""
    across = (width + TILE - 1) // TILE
    for k in nb.prange(len(order)):
        x0, y0 = order[k] % across * TILE, order[k] // across * TILE
        rows, columns = min(TILE, height - y0), min(TILE, width - x0)
        state = np.zeros(2 * PIXELS, np.float32)  # transmittance, number of entries
        open_within(state, rows, columns)
        for at in range(starts[order[k]], starts[order[k] + 1]):
            i = splats[at]
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
                    state[nb.uintp(p + PIXELS)] += np.float32(1) if weight > np.float32(0) else np.float32(0)
            if at & LOOK == LOOK and closed(state):
                break
        for row in range(rows):
            for column in range(columns):
                counts[y0 + row, x0 + column] = nb.int32(state[PIXELS + row * TILE + column])


@kernel()
def _write(starts, splats, order, ellipses, height, width, rows_out, columns_out, weights_out):
    """The entries themselves."""
    across = (width + TILE - 1) // TILE
    for k in nb.prange(len(order)):
        x0, y0 = order[k] % across * TILE, order[k] // across * TILE
        rows, columns = min(TILE, height - y0), min(TILE, width - x0)
        state, number = np.zeros(PIXELS, np.float32), np.zeros(PIXELS, np.int64)
        open_within(state, rows, columns)
        for row in range(rows):
            for column in range(columns):
                number[row * TILE + column] = rows_out[(y0 + row) * width + x0 + column]
        weights = np.empty(TILE, np.float32)
        for at in range(starts[order[k]], starts[order[k] + 1]):
            i = splats[at]
            l0 = ellipses[i, 2]
            first, last = rows_of(ellipses, i, y0, rows)
            for row in range(first, last):
                here = row * TILE
                top, u = along(ellipses, i, x0, y0 + row)
                if beside(top, u, l0):
                    continue
                for lane in range(TILE):
                    way = np.float32(u + l0 * np.float32(np.int32(lane)))
                    weight = weight_at(state, here + lane, np.float32(top - way * way))
                    weights[lane] = weight
                for lane in range(TILE):
                    if weights[lane] > np.float32(0):
                        columns_out[number[here + lane]] = i
                        weights_out[number[here + lane]] = weights[lane]
                        number[here + lane] += 1
            if at & LOOK == LOOK and closed(state):
                break


@device
def open_within(state, rows, columns):
    """Transmittance before the first splat; what lies beside the picture is closed from the start."""
    for row in range(rows):
        for column in range(columns):
            state[row * TILE + column] = np.float32(1)

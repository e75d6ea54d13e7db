"""Products of an operator on the cores of a CPU, the transposed one on four at most. The same bits with any number."""

from __future__ import annotations

import numba as nb
import numpy as np
from jaxtyping import Float, Int

from arf.radiance.fields.jit import kernel, ready

UNIT = {np.dtype(np.uint16): np.float32(1 / 65535), np.dtype(np.float32): np.float32(1)}  # of a weight
BLOCKS = 4  # of pixels, summed each for itself and then in turn
CHUNK = 1 << 12  # rows that a thread takes at once
GROUP = 3  # channels that are taken at once

Weights = Float[np.ndarray, " e"] | Int[np.ndarray, " e"]
Rows = tuple[Int[np.ndarray, " p1"], Int[np.ndarray, " e"], Weights]  # starts, columns, weights


def times(rows: Rows, theta: Float[np.ndarray, "V c"]) -> Float[np.ndarray, "p c"]:
    """A θ."""
    out = np.empty((len(rows[0]) - 1, theta.shape[1]), np.float32)
    with ready():
        for first in range(0, theta.shape[1], GROUP):
            _times(*rows, UNIT[rows[2].dtype], _group(theta, first), out, first)
    return out


def transposed(rows: Rows, pixels: Float[np.ndarray, "p c"], count: int) -> Float[np.ndarray, "V c"]:
    """Aᵀ times pixels."""
    out = np.empty((count, pixels.shape[1]), np.float32)
    parts = np.empty((BLOCKS, count, GROUP + 1), np.float32)
    with ready():
        for first in range(0, pixels.shape[1], GROUP):
            parts[:] = 0
            _transposed(*rows, UNIT[rows[2].dtype], _group(pixels, first), parts, out, first)
    return out


def _group(values: Float[np.ndarray, "n c"], first: int) -> Float[np.ndarray, "n 4"]:
    """Some channels, each row in one sixteen bytes."""
    some = values[:, first : first + GROUP]
    held = np.zeros((len(values), GROUP + 1), np.float32)
    held[:, : some.shape[1]] = some
    return held


@kernel()
def _times(starts, columns, values, unit, theta, out, first):
    rows, channels = len(starts) - 1, min(GROUP, out.shape[1] - first)
    for chunk in nb.prange((rows + CHUNK - 1) // CHUNK):
        sums = np.zeros(GROUP, np.float32)
        for row in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            x = y = z = np.float32(0)
            for e in range(starts[row], starts[row + 1]):
                value, column = np.float32(values[e]), nb.uintp(columns[e])
                x += value * theta[column, nb.uintp(0)]
                y += value * theta[column, nb.uintp(1)]
                z += value * theta[column, nb.uintp(2)]
            sums[0], sums[1], sums[2] = x * unit, y * unit, z * unit
            for channel in range(channels):
                out[row, first + channel] = sums[channel]


@kernel()
def _transposed(starts, columns, values, unit, pixels, parts, out, first):
    rows, blocks, channels = len(pixels), len(parts), min(GROUP, out.shape[1] - first)
    for block in nb.prange(blocks):
        for row in range(rows * block // blocks, rows * (block + 1) // blocks):
            x, y, z = pixels[row, 0] * unit, pixels[row, 1] * unit, pixels[row, 2] * unit
            for e in range(starts[row], starts[row + 1]):
                value, column = np.float32(values[e]), nb.uintp(columns[e])
                parts[block, column, nb.uintp(0)] += value * x
                parts[block, column, nb.uintp(1)] += value * y
                parts[block, column, nb.uintp(2)] += value * z
    for column in nb.prange(len(out)):
        for channel in range(channels):
            total = np.float32(0)
            for block in range(blocks):
                total += parts[block, column, channel]
            out[column, first + channel] = total

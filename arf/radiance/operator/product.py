"""Products of a lean operator, whose weights are sixteen bits each, on all cores. The same bits with any number."""

from __future__ import annotations

import numba as nb
import numpy as np
from jaxtyping import Float, Int

from arf.radiance.fields.jit import kernel, ready

UNIT = np.float32(1 / 65535)  # of a weight
BLOCKS = 4  # of pixels, summed each for itself and then in turn
CHUNK = 1 << 12  # rows that a thread takes at once

Rows = tuple[Int[np.ndarray, " p1"], Int[np.ndarray, " e"], Int[np.ndarray, " e"]]  # starts, columns, uint16 values


def times(rows: Rows, theta: Float[np.ndarray, "V c"]) -> Float[np.ndarray, "p c"]:
    """A θ."""
    out = np.empty((len(rows[0]) - 1, theta.shape[1]), np.float32)
    with ready():
        _times(*rows, np.ascontiguousarray(theta), out)
    return out


def transposed(rows: Rows, pixels: Float[np.ndarray, "p c"], count: int) -> Float[np.ndarray, "V c"]:
    """Aᵀ times pixels."""
    parts = np.zeros((BLOCKS, count, pixels.shape[1]), np.float32)
    out = np.empty(parts.shape[1:], np.float32)
    with ready():
        _transposed(*rows, np.ascontiguousarray(pixels), parts, out)
    return out


@kernel()
def _times(starts, columns, values, theta, out):
    rows, channels = out.shape
    for chunk in nb.prange((rows + CHUNK - 1) // CHUNK):
        sums = np.empty(channels, np.float32)
        for row in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            sums[:] = np.float32(0)
            for e in range(starts[row], starts[row + 1]):
                value = np.float32(values[e])
                for channel in range(channels):
                    sums[channel] += value * theta[columns[e], channel]
            for channel in range(channels):
                out[row, channel] = sums[channel] * UNIT


@kernel()
def _transposed(starts, columns, values, pixels, parts, out):
    rows, channels = pixels.shape
    blocks = len(parts)
    for block in nb.prange(blocks):
        for row in range(rows * block // blocks, rows * (block + 1) // blocks):
            for e in range(starts[row], starts[row + 1]):
                value = np.float32(values[e])
                for channel in range(channels):
                    parts[block, columns[e], channel] += value * pixels[row, channel]
    for column in nb.prange(len(out)):
        for channel in range(channels):
            total = np.float32(0)
            for block in range(blocks):
                total += parts[block, column, channel]
            out[column, channel] = total * UNIT

"""Trilinear look-up in a table of vertices, its transpose, and the Laplacian of the vertices, compiled."""

from __future__ import annotations

import numba as nb
import numpy as np

from arf.radiance.fields.jit import device, kernel

_ONE = np.float32(1)


@device
def share(fraction, i, corner):
    """The weight of a cell's corner, in the order of `CORNERS`."""
    x, y, z = fraction[i, 0], fraction[i, 1], fraction[i, 2]
    x = x if corner & 4 else _ONE - x
    y = y if corner & 2 else _ONE - y
    return x * y * (z if corner & 1 else _ONE - z)


@kernel()
def look_up(table, corners, cell, fraction, out):
    """out[i] = Σ_j w_ij table[corners[cell[i], j]], four channels."""
    for i in nb.prange(len(cell)):
        a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for j in range(8):
            row, w = corners[cell[i], j], share(fraction, i, j)
            a += w * table[row, 0]
            b += w * table[row, 1]
            c += w * table[row, 2]
            d += w * table[row, 3]
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = a, b, c, d


@kernel()
def spread(gradient, corners, cell, fraction, parts, out):
    """The transpose, added to `out`. Each part of the rows is one thread's, which takes the samples in their order, so
    that the sums are the same for any number of parts. The corners of a cell ascend."""
    for part in nb.prange(parts):
        low, high = len(out) * part // parts, len(out) * (part + 1) // parts
        for i in range(len(cell)):
            k = cell[i]
            if corners[k, 7] < low or corners[k, 0] >= high:
                continue
            for j in range(8):
                row = corners[k, j]
                if low <= row < high:
                    w = share(fraction, i, j)
                    for c in range(4):
                        out[row, c] += w * gradient[i, c]


@kernel()
def differences(starts, columns, values, table, strength, out):
    """A sparse matrix [V, V] times a table of four channels, times a strength for each."""
    for row in nb.prange(len(out)):
        a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for at in range(starts[row], starts[row + 1]):
            value, column = values[at], columns[at]
            a += value * table[column, 0]
            b += value * table[column, 1]
            c += value * table[column, 2]
            d += value * table[column, 3]
        out[row, 0], out[row, 1] = a * strength[0], b * strength[1]
        out[row, 2], out[row, 3] = c * strength[2], d * strength[3]

"""Rows of sparse matrices: each column once, and without the lightest entries."""

from __future__ import annotations

import numba as nb
import numpy as np
from jaxtyping import Float, Int

from arf.radiance.fields.jit import device, kernel

BINS = 64  # of weights when the lightest are looked for, four to each halving
CHUNK = 1 << 12  # rows that a thread takes at once
ANY = 2**31 - 1

Rows = tuple[Int[np.ndarray, " p1"], Int[np.ndarray, " e"], Float[np.ndarray, " e"]]  # starts, columns, weights


def merge(rows: Rows) -> Rows:
    """Rows in which each column stands once, with the sum of its weights, where it stood first."""
    starts, columns, weights = rows
    counts, held = np.zeros(len(starts), np.int64), (np.empty_like(columns), np.empty_like(weights))
    longest = int(np.diff(starts).max(initial=1))
    _merge(starts, columns, weights, 1 << (2 * longest - 1).bit_length(), *held, counts)
    fresh = counts.cumsum()
    merged = np.empty(fresh[-1], columns.dtype), np.empty(fresh[-1], np.float32)
    _close_up(starts, *held, fresh, *merged)
    return fresh, *merged


def lighten(rows: Rows, drop: float, most: int = ANY) -> Rows:
    """Rows without their lightest entries: a share `drop` of each row's weight at the most, or as much more as leaves
    `most` entries. The entry before takes it over, or the first that stays, so that a row's total is kept."""
    starts, columns, weights = rows
    fresh, stays = np.zeros(len(starts), np.int64), np.empty(len(weights), np.bool_)
    _choose(starts, weights, np.float32(drop), most, stays, fresh)
    fresh = fresh.cumsum()
    lean = np.empty(fresh[-1], np.int32), np.empty(fresh[-1], np.float32)
    _keep(starts, columns, weights, stays, fresh, *lean)
    return fresh, *lean


@kernel()
def _merge(starts, columns, weights, slots, columns_out, weights_out, counts):
    """Each row's columns in a hash table that says where they are; what it says of earlier rows is out of date."""
    rows = len(starts) - 1
    for chunk in nb.prange((rows + CHUNK - 1) // CHUNK):
        table = np.full(slots, -1, np.int64)
        for row in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            begin = np.int64(starts[row])
            end = begin
            for e in range(begin, np.int64(starts[row + 1])):
                slot = (np.int64(columns[e]) * 2654435761 >> 7) & (slots - 1)
                while table[slot] >= begin and columns_out[table[slot]] != columns[e]:
                    slot = (slot + 1) & (slots - 1)
                if table[slot] < begin:
                    table[slot] = end
                    columns_out[end], weights_out[end] = columns[e], weights[e]
                    end += 1
                else:
                    weights_out[table[slot]] += weights[e]
            counts[row + 1] = end - begin


@kernel()
def _close_up(starts, columns, weights, fresh, columns_out, weights_out):
    rows = len(starts) - 1
    for chunk in nb.prange((rows + CHUNK - 1) // CHUNK):
        for row in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            for k in range(fresh[row + 1] - fresh[row]):
                columns_out[fresh[row] + k] = columns[starts[row] + k]
                weights_out[fresh[row] + k] = weights[starts[row] + k]


@kernel()
def _choose(starts, weights, drop, most, stays, kept):
    """Which entries stay, and how many of each row. Weights are sorted into bins: the lightest bins go as a whole, and
    of the first that is too heavy for that as many as there is room for, the farthest first."""
    rows = len(starts) - 1
    for chunk in nb.prange((rows + CHUNK - 1) // CHUNK):
        sums, counts = np.zeros(BINS, np.float32), np.zeros(BINS, np.int64)
        for row in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            begin, end = starts[row], starts[row + 1]
            sums[:], counts[:] = np.float32(0), 0
            total = np.float32(0)
            for e in range(begin, end):
                total += weights[e]
                sums[_bin(weights[e])] += weights[e]
                counts[_bin(weights[e])] += 1
            spare, edge, over = drop * total, 0, end - begin - most
            while edge < BINS - 1 and (sums[edge] <= spare or counts[edge] <= over):
                spare -= sums[edge]
                over -= counts[edge]
                edge += 1
            number = 0
            for e in range(end - 1, begin - 1, -1):
                which = _bin(weights[e])
                stays[e] = which > edge or (which == edge and weights[e] > spare and over <= 0)
                if which == edge and not stays[e]:
                    spare -= weights[e]
                    over -= 1
                number += stays[e]
            kept[row + 1] = number


@device
def _bin(weight):
    """Which bin a weight falls into: by its exponent of two and the two bits behind it, from 2^-15 on."""
    bits = np.int64(np.float32(weight).view(np.int32) >> np.int32(21))
    return min(max(bits - ((127 - 15) << 2), 0), BINS - 1)


@kernel()
def _keep(starts, columns, weights, stays, fresh, columns_out, weights_out):
    rows = len(starts) - 1
    for chunk in nb.prange((rows + CHUNK - 1) // CHUNK):
        for row in range(chunk * CHUNK, min(rows, (chunk + 1) * CHUNK)):
            at, waiting = fresh[row], np.float32(0)
            for e in range(starts[row], starts[row + 1]):
                if stays[e]:
                    columns_out[at] = columns[e]
                    weights_out[at] = weights[e] + waiting
                    waiting = np.float32(0)
                    at += 1
                elif at > fresh[row]:
                    weights_out[at - 1] += weights[e]
                else:
                    waiting += weights[e]

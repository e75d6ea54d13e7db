"""What rays show of a voxel grid, marched and composited in one go, without a list of samples: on a CPU.

A ray is left where less than 1e-4 of what is behind comes through, and the colour of a sample that weighs less than
1e-6 is not looked up: a picture of colours in [0, 1] is within 2e-4 of that of all samples.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.fields.arrays import arrays
from arf.radiance.fields.jit import device, kernel, ready
from arf.radiance.fields.rays.space import FAR
from arf.radiance.fields.voxel.grid import BRICK
from arf.radiance.fields.voxel.kernels import brick_at, cell_at, depth_at, inside, scaled_at
from arf.radiance.fields.voxel.march import numbers_of, plan
from arf.radiance.fields.voxel.table import RAW_PER_VALUE, VoxelTable

BLOCK = 256  # rays, neighbours in a picture, that one thread takes in turn
LEAST, GREATEST, FINE = -16, 48, 64  # densities before their activation: from where to where, and how finely, tabled
_OPAQUE, _FAINT, _HEAVY = np.float32(1e-4), np.float32(1e-6), np.float32(0.01)
_ZERO, _ONE, _HALF, _TINY = (np.float32(x) for x in (0, 1, 0.5, 1e-6))
_FAR, _BRICK = np.float32(FAR), np.float32(BRICK)
_LEAST, _GREATEST, _FINE = (np.float32(x) for x in (LEAST, GREATEST, FINE))


class Composite(NamedTuple):
    """What R rays show.

    Attributes:
        color: float32 [R, c] background included, unclamped.
        leftover: float32 [R] transmittance behind the ray, below 1e-4 where it was not followed to its end.
        weight, inverse, heavy: float32 [R] sums over the samples: weights, weights over distances, and how many weigh
            more than 0.01.
    """

    color: Float[Tensor, "r c"]
    leftover: Float[Tensor, " r"]
    weight: Float[Tensor, " r"]
    inverse: Float[Tensor, " r"]
    heavy: Float[Tensor, " r"]


def composite(
    voxels: VoxelTable,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    colors: Float[Tensor, "V c"] | None,
    background: Float[Tensor, " c"],
    last_sample: bool,
) -> Composite:
    """Any colours of the vertices as rays see them, sampled in the middle of each step.

    Args:
        directions: unit vectors.
        colors: None for the vertices' own.
        last_sample: whether a ray's last sample takes what is left, where it has one.

    Raises:
        ValueError: other colours than one for each vertex, or another background than theirs.
    """
    channels = len(background)
    if colors is not None and colors.shape != (len(voxels.table), channels):
        shape = [len(voxels.table), channels]
        raise ValueError(f"the vertices' colours and what is behind them are {shape}, got {list(colors.shape)}")
    held = (voxels.table, 1) if colors is None else (colors, 0)
    space, grid = voxels.space, voxels.grid
    way = plan(space, grid, origins, directions, voxels.step)
    lines = arrays(way.origins, way.directions, way.entry[:, 0], way.ahead[:, 0])
    steps = way.segments, way.count, np.float32(way.length)
    shapes = grid.shape, grid.rows.brick_shape
    rows = arrays(grid.near, grid.rows.bricks, grid.rows.slots, grid.corners)
    unit, thickness = np.float32(RAW_PER_VALUE), np.float32(voxels.per_arc() * way.length)
    density = np.linspace(LEAST, GREATEST, (GREATEST - LEAST) * FINE + 1)
    taken = -np.expm1(-thickness * np.logaddexp(0, density))
    table = *arrays(voxels.table), unit, taken.astype(np.float32), thickness
    values = *arrays(held[0]), held[1], *arrays(background), last_sample
    color, leftover, sums = (torch.empty(len(origins), *shape) for shape in ((channels,), (), (3,)))
    with ready():
        out = arrays(color, leftover, sums)
        _composite(*numbers_of(space), *lines, *steps, *shapes, *rows, *table, *values, nb.get_num_threads(), *out)
    return Composite(color, leftover, *sums.unbind(1))


@device
def straight(kind, box, extent, shape, o, d, entry):
    """Where a ray is in cells at arc 0, how far an arc takes it, and the arc at which it begins: all maps but the
    contraction take lines to lines, and steps along them to even ones."""
    across, high, deep = np.float32(shape[0]), np.float32(shape[1]), np.float32(shape[2])
    if kind == 0:
        a, b, c = across / (box[1, 0] - box[0, 0]), high / (box[1, 1] - box[0, 1]), deep / (box[1, 2] - box[0, 2])
        x, y, z = o[0] + entry * d[0] - box[0, 0], o[1] + entry * d[1] - box[0, 1], o[2] + entry * d[2] - box[0, 2]
        return x * a, y * b, z * c, d[0] * a, d[1] * b, d[2] * c, _ZERO
    a, b, near = _HALF * across / box[1, 0], _HALF * high / box[1, 1], box[0, 2]
    right, up = d[0] / max(-d[2], _TINY), d[1] / max(-d[2], _TINY)
    x, y = (o[0] + o[2] * right) / near, (o[1] + o[2] * up) / near  # beside the axis, times the disparity
    first = extent * (_ONE + near / o[2]) if o[2] < -near else _ZERO  # nothing behind the camera
    x0, y0 = (x + right) * a + _HALF * across, (y + up) * b + _HALF * high
    return x0, y0, _ZERO, -x * a / extent, -y * b / extent, deep / extent, first


@device
def place(kind, box, extent, shape, o, d, entry, arc, line, depth):
    """Where a ray is in cells at an arc, and how deep; on a straight `line` that is left as it was."""
    if kind == 1:
        depth = depth_at(kind, box, extent, o, d, entry, arc)
        x, y, z = scaled_at(kind, box, shape, o, d, depth)
        return x, y, z, depth
    x0, y0, z0, dx, dy, dz, start = line
    at = max(arc, start)
    return x0 + at * dx, y0 + at * dy, z0 + at * dz, depth


@device
def rows_at(corners, cell):
    """Rows of a cell's vertices, of two neighbours along z the first: the other's is the next. Unsigned, as no index
    need be looked at for its sign."""
    i = nb.uintp(cell)
    return nb.uintp(corners[i, 0]), nb.uintp(corners[i, 2]), nb.uintp(corners[i, 4]), nb.uintp(corners[i, 6])


@device
def between(rows, share, values, c):
    """Channel c at a place in a cell."""
    total = _ZERO
    for j in range(4):
        row = nb.uintp(rows[j])
        total += share[2 * j] * values[row, c] + share[2 * j + 1] * values[row + nb.uintp(1), c]
    return total


@device
def shares(x, y, z):
    """`trilinear_weights` of a place in cells."""
    x, y, z = inside(x), inside(y), inside(z)
    x0, y0, z0 = _ONE - x, _ONE - y, _ONE - z
    a, b, c, d = x0 * y0, x0 * y, x * y0, x * y
    return a * z0, a * z, b * z0, b * z, c * z0, c * z, d * z0, d * z


@device
def alpha_at(density, taken, thickness):
    """What a step takes of the light, by the density before its activation."""
    if not density > _LEAST:
        return _ZERO if density <= _LEAST else density  # NaN stays
    if density >= _GREATEST:
        return -np.float32(math.expm1(-density * thickness))
    place = (density - _LEAST) * _FINE
    i = np.int64(place)
    before, after = taken[nb.uintp(i)], taken[nb.uintp(i + 1)]
    return before + (place - np.float32(i)) * (after - before)


@device
def follow(
    kind, box, extent, o, d, entry, ahead, segments, count, length, shape, bricks, near, numbers, slots,
    corners, table, unit, taken, thickness, colors, skip, background, last, shown,
):  # fmt: skip
    """One ray, from front to back; see `_composite`. Returns what is left, and the row of `along`."""
    through, total, inverse, heavy = _ONE, _ZERO, _ZERO, _ZERO
    weight, distance, cell = _ZERO, _ONE, np.int64(-1)  # of the last sample so far
    rows, share = (nb.uintp(0), nb.uintp(0), nb.uintp(0), nb.uintp(0)), shares(_ZERO, _ZERO, _ZERO)
    line = (_ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO)
    if kind != 1:
        line = straight(kind, box, extent, shape, o, d, entry)
    stretch, depth = np.float32(count) * length, _ZERO
    shown[:] = _ZERO
    for k in range(segments):
        if depth >= _FAR or through < _OPAQUE:
            break
        arc = (np.float32(k) + _HALF) * stretch
        x, y, z, depth = place(kind, box, extent, shape, o, d, entry, arc, line, depth)
        brick = brick_at(x / _BRICK, y / _BRICK, z / _BRICK, bricks)
        if brick < 0 or not near[brick]:
            continue
        for step in range(k * count, (k + 1) * count):
            arc = (np.float32(step) + _HALF) * length
            x, y, z, depth = place(kind, box, extent, shape, o, d, entry, arc, line, depth)
            here = cell_at(x, y, z, shape, bricks, numbers, slots)
            if here < 0:
                continue
            if kind != 1:
                depth = depth_at(kind, box, extent, o, d, entry, arc)
            if not depth < _FAR:
                break
            cell, rows, share, distance = here, rows_at(corners, here), shares(x, y, z), max(depth + ahead, _TINY)
            weight = through * alpha_at(between(rows, share, table, nb.uintp(0)) * unit, taken, thickness)
            through -= weight
            total += weight
            inverse += weight / distance
            heavy += _ONE if weight > _HEAVY else _ZERO
            if not weight < _FAINT:
                for c in range(len(shown)):
                    shown[nb.uintp(c)] += weight * between(rows, share, colors, nb.uintp(c + skip))
            if through < _OPAQUE:
                break
    if last and cell >= 0:
        for c in range(len(shown)):
            shown[c] += through * between(rows, share, colors, nb.uintp(c + skip))
        heavy += _ONE if weight <= _HEAVY < weight + through else _ZERO
        total += through
        inverse += through / distance
        through = _ZERO
    for c in range(len(shown)):
        shown[c] += through * background[c]
    return through, total, inverse, heavy


@device
def triple(rows, r):
    """Row r by itself, so that nothing that is written can be taken for it."""
    return rows[r, 0], rows[r, 1], rows[r, 2]


@kernel()
def _composite(
    kind, box, extent, origins, directions, entry, ahead, segments, count, length, shape, bricks, near, numbers, slots,
    corners, table, unit, taken, thickness, colors, skip, background, last, parts, picture, left, along,
):  # fmt: skip
    """What rays show of any colours of the vertices.

    Args:
        unit: of the density in `table`.
        taken: [(GREATEST - LEAST) FINE + 1] what a step takes of the light, by the density before its activation.
        thickness: of a step, at a density of 1 after its activation.
        skip: columns of `colors` before the first channel.
        last: whether the last sample takes what is left.
        parts: of the rays, that threads take in turn.
        picture: [R, c]; left: [R] transmittance behind a ray.
        along: [R, 3] a ray's weight, its weight over depth, and how many samples weigh more than 0.01.
    """
    for part in nb.prange(parts):
        for first in range(part * BLOCK, len(left), parts * BLOCK):
            for r in range(first, min(first + BLOCK, len(left))):
                left[r], along[r, 0], along[r, 1], along[r, 2] = follow(
                    kind, box, extent, triple(origins, r), triple(directions, r), entry[r], ahead[r], segments, count,
                    length, shape, bricks, near, numbers, slots, corners, table, unit, taken, thickness, colors,
                    skip, background, last, picture[r],
                )  # fmt: skip

"""`march`, compiled: which stretches of a ray come near an occupied brick, the steps in those, and all in one list."""

from __future__ import annotations

import numba as nb
import numpy as np

from arf.radiance.fields.jit import device, kernel
from arf.radiance.fields.rays.space import FAR, NEAR
from arf.radiance.fields.voxel.grid import BRICK

KINDS = ("bounded", "unbounded", "forward")
_FAR, _NEAR, _BRICK = np.float32(FAR), np.float32(NEAR), np.float32(BRICK)
_ZERO, _ONE, _TWO, _HALF, _QUARTER = (np.float32(x) for x in (0, 1, 2, 0.5, 0.25))
_END, _TINY = np.float32(1 - 1e-7), np.float32(1e-6)


@device
def depth_at(kind, box, extent, o, d, entry, arc):
    """`Space.depth` along the ray from o in the direction d."""
    if kind == 0:
        return entry + arc
    if kind == 1:
        if arc < entry:
            return min(_NEAR + arc, _FAR)
        speed = max(abs(d[0]), abs(d[1]), abs(d[2]))
        shell = min(max((arc - entry) * speed, _ZERO), _END)
        return min(_NEAR + (entry + (_ONE / (_ONE - shell) - _ONE) / speed), _FAR)
    disparity = _ONE - min(max(arc / extent, _ZERO), _END)
    return min(max((box[0, 2] / disparity + o[2]) / max(-d[2], _TINY), _ZERO), _FAR)


@device
def scaled_at(kind, box, shape, o, d, depth):
    """`Space.warp` of a place on a ray, in cells."""
    x, y, z = o[0] + depth * d[0], o[1] + depth * d[1], o[2] + depth * d[2]
    if kind == 0:
        x = (x - box[0, 0]) / (box[1, 0] - box[0, 0])
        y = (y - box[0, 1]) / (box[1, 1] - box[0, 1])
        z = (z - box[0, 2]) / (box[1, 2] - box[0, 2])
    elif kind == 1:
        radius = max(abs(x), abs(y), abs(z), _ONE)
        squeezed = (_TWO - _ONE / radius) / radius * _QUARTER
        x, y, z = x * squeezed + _HALF, y * squeezed + _HALF, z * squeezed + _HALF
    else:
        away = max(-z, _TINY)
        x, y = x / away / box[1, 0] * _HALF + _HALF, y / away / box[1, 1] * _HALF + _HALF
        z = _ONE - box[0, 2] / away
    return x * np.float32(shape[0]), y * np.float32(shape[1]), z * np.float32(shape[2])


@device
def whole(place, high):
    """The place's whole number, within [0, high)."""
    return np.int64(min(max(place, _ZERO), np.float32(high - 1)))


@device
def brick_at(x, y, z, shape):
    """Row-major number of the brick around a place in bricks; of the nearest one up to a brick beyond; else -1."""
    for place, high in ((x, shape[0]), (y, shape[1]), (z, shape[2])):
        if not -_ONE < place < np.float32(high + 1):
            return -1
    return (whole(x, shape[0]) * shape[1] + whole(y, shape[1])) * shape[2] + whole(z, shape[2])


@device
def inside(place):
    """How far inside its cell a place is, 0..1."""
    return place - np.floor(place)


@device
def cell_at(x, y, z, shape, bricks, numbers, slots):
    """Number of the cell around a place in cells; -1 where there is none."""
    if not (x >= _ZERO and y >= _ZERO and z >= _ZERO):
        return np.int64(-1)
    if not (x < np.float32(shape[0]) and y < np.float32(shape[1]) and z < np.float32(shape[2])):
        return np.int64(-1)
    a, b, c = np.int64(x), np.int64(y), np.int64(z)
    brick = np.int64(numbers[nb.uintp(((a >> 2) * bricks[1] + (b >> 2)) * bricks[2] + (c >> 2))])
    if brick < 0:
        return np.int64(-1)
    return np.int64(slots[nb.uintp((brick << 6) | ((a & 3) << 4) | ((b & 3) << 2) | (c & 3))])


@kernel()
def look(kind, box, extent, origins, directions, entry, stretch, shape, bricks, near, seen, found):
    """Which stretches, each as long as a brick, come near one that has a cell: `seen` [R, k]; how many do."""
    for r in nb.prange(len(origins)):
        many = 0
        for k in range(seen.shape[1]):
            arc = (np.float32(k) + _HALF) * stretch
            depth = depth_at(kind, box, extent, origins[r], directions[r], entry[r], arc)
            x, y, z = scaled_at(kind, box, shape, origins[r], directions[r], depth)
            brick = brick_at(x / _BRICK, y / _BRICK, z / _BRICK, bricks)
            seen[r, k] = brick >= 0 and near[brick]
            many += seen[r, k]
        found[r] = many


@kernel()
def walk(
    kind, box, extent, origins, directions, entry, jitter, length, count, shape, bricks, numbers, slots, seen, room,
    cells, places, found,
):  # fmt: skip
    """The steps of those stretches that lie in a cell, from `room[r]` on: cells; x, y, z in the cell, arc, depth."""
    for r in nb.prange(len(origins)):
        at = room[r]
        for k in range(seen.shape[1]):
            if not seen[r, k]:
                continue
            for step in range(k * count, (k + 1) * count):
                arc = (np.float32(step) + jitter[r]) * length
                depth = depth_at(kind, box, extent, origins[r], directions[r], entry[r], arc)
                x, y, z = scaled_at(kind, box, shape, origins[r], directions[r], depth)
                cell = cell_at(x, y, z, shape, bricks, numbers, slots)
                if cell < 0 or not depth < _FAR:
                    continue
                cells[at] = cell
                places[at, 0], places[at, 1], places[at, 2] = inside(x), inside(y), inside(z)
                places[at, 3], places[at, 4] = arc, depth
                at += 1
        found[r] = at - room[r]


@kernel()
def pack(room, starts, cells, places, ahead, ray, cell, fraction, arc, depth):
    """All steps in one list, as `Samples` has them."""
    for r in nb.prange(len(starts) - 1):
        for i in range(starts[r + 1] - starts[r]):
            to, at = starts[r] + i, room[r] + i
            ray[to], cell[to] = r, cells[at]
            fraction[to, 0], fraction[to, 1], fraction[to, 2] = places[at, 0], places[at, 1], places[at, 2]
            arc[to], depth[to] = places[at, 3], places[at, 4] + ahead[r]

"""Marching rays through a sparse grid: from rays to the samples that lie in occupied cells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.fields.arrays import arrays, suits
from arf.radiance.fields.jit import ready
from arf.radiance.fields.rays.samples import Samples, ray_starts
from arf.radiance.fields.rays.space import FAR, Space
from arf.radiance.fields.voxel.grid import BRICK, SparseGrid
from arf.radiance.fields.voxel.kernels import KINDS, look, pack, walk


def step_length(space: Space, shape: tuple[int, int, int], step: float) -> float:
    """Length in arc units of a step that is given in voxels."""
    return step * float((space.extent.cpu() / torch.tensor(shape)).min())


def march(
    space: Space,
    grid: SparseGrid,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    step: float,
    jitter: Float[Tensor, "r 1"] | float = 0.5,
) -> Samples:
    """Samples in occupied cells, one each `step` along the ray.

    Args:
        directions: unit vectors.
        step: length of a step in voxels.
        jitter: offset of a ray's samples in steps, 0..1; 0.5 puts them in the middle (evaluation).
    """
    way = plan(space, grid, origins, directions, step)
    return (_compiled if suits(origins, directions) else _in_torch)(space, grid, way, jitter)


def plan(
    space: Space, grid: SparseGrid, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"], step: float
) -> Plan:
    """Where rays are to be looked at; arguments as of `march`."""
    ahead = space.start(origins, directions)  # [r, 1]
    origins = origins + ahead * directions
    length = step_length(space, grid.shape, step)
    count = max(1, int(BRICK / step))  # steps in a segment: as long as a brick
    reach = space.length()
    if ahead.any():  # what lies aside of the unit cube is as much longer to pass
        reach *= max(1.0, float(origins[ahead[:, 0] > 0].abs().amax()))
    segments = int(reach / (count * length)) + 1
    return Plan(origins, directions, ahead, space.entry(origins, directions), segments, count, length)


class Plan(NamedTuple):
    """Rays, and where on them to look: so many segments of so many steps of a length, from `ahead` on."""

    origins: Tensor
    directions: Tensor
    ahead: Tensor
    entry: Tensor
    segments: int
    count: int
    length: float


def numbers_of(space: Space) -> tuple[int, np.ndarray, np.float32]:
    """A space as kernels have it: the number of its kind, its box, its depth."""
    return KINDS.index(space.kind), *arrays(space.box), np.float32(space.extent[2])


def _in_torch(space: Space, grid: SparseGrid, way: Plan, jitter: Tensor | float) -> Samples:
    origins, directions, ahead, entry, segments, count, length = way
    rays, device = len(origins), origins.device

    # Coarse: which segments of a ray come near an occupied brick?
    arc = (torch.arange(segments, device=device) + 0.5) * (count * length)  # [k]
    depth = space.depth(arc[None].expand(rays, -1), entry, origins, directions)  # [r, k]
    unit = space.warp(origins[:, None] + depth[..., None] * directions[:, None])  # [r, k, 3]
    near = grid.near_brick(unit.flatten(0, 1)).view(rays, segments)
    ray, segment = near.nonzero().unbind(1)  # [m]

    # Fine: the steps of those segments, and the cell that each of them is in.
    number = segment[:, None] * count + torch.arange(count, device=device)
    offset = jitter[ray] if isinstance(jitter, Tensor) else jitter
    arc = ((number + offset) * length).flatten()  # [m * s]
    ray = ray.repeat_interleave(count)
    o, d = origins[ray], directions[ray]
    depth = space.depth(arc[:, None], entry[ray], o, d)  # [m * s, 1]
    scaled = grid.scaled(space.warp(o + depth * d))
    cell = grid.locate(scaled)
    at = ((cell >= 0) & (depth[:, 0] < FAR)).nonzero().squeeze(1)  # [n]
    ray, scaled = ray[at], scaled[at]
    return Samples(
        ray, ray_starts(ray, rays), cell[at], scaled - scaled.floor(), arc[at], (depth[at] + ahead[ray])[:, 0]
    )


def _compiled(space: Space, grid: SparseGrid, way: Plan, jitter: Tensor | float) -> Samples:
    origins, directions, ahead, entry, segments, count, length = way
    rays = len(origins)
    kind = numbers_of(space)
    lines = arrays(origins, directions, entry[:, 0])
    offset = torch.as_tensor(jitter, dtype=torch.float32).expand(rays, 1)[:, 0]
    shape, bricks = np.array(grid.shape), np.array(grid.rows.brick_shape)
    seen, found = np.empty((rays, segments), bool), np.empty(rays, np.int64)
    with ready():
        stretch = np.float32(count * length)
        look(*kind, *lines, stretch, shape, bricks, *arrays(grid.near), seen, found)
        room = np.concatenate([[0], np.cumsum(found) * count])
        cells, places = np.empty(room[-1], np.int32), np.empty((room[-1], 5), np.float32)
        table = shape, bricks, *arrays(grid.rows.bricks, grid.rows.slots)
        walk(*kind, *lines, *arrays(offset), np.float32(length), count, *table, seen, room, cells, places, found)
        starts = torch.from_numpy(np.concatenate([[0], np.cumsum(found)]))
        n = int(starts[-1])
        ray, cell = torch.empty(n, dtype=torch.long), torch.empty(n, dtype=torch.int32)
        samples = Samples(ray, starts, cell, torch.empty(n, 3), torch.empty(n), torch.empty(n))
        parts = ray, cell, samples.fraction, samples.arc, samples.depth
        pack(room, *arrays(starts), cells, places, *arrays(ahead[:, 0], *parts))
    return samples

"""Marching rays through a sparse grid: from rays to the samples that lie in occupied cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.fields.voxel.grid import BRICK, SparseGrid, trilinear_weights
from arf.radiance.fields.voxel.space import FAR, Space


@dataclass
class Samples:
    """Packed samples of R rays, ray after ray, front to back.

    Attributes:
        ray: int64 [N] the ray of each sample.
        starts: int64 [R + 1] where each ray's samples begin.
        cell: int32 [N] row of the cell in the grid.
        fraction: float32 [N, 3] position inside the cell, 0..1.
        arc: float32 [N] position along the ray in the space's warped length.
        depth: float32 [N] distance from the ray's origin in world units.
    """

    ray: Int[Tensor, " n"]
    starts: Int[Tensor, " r1"]
    cell: Int[Tensor, " n"]
    fraction: Float[Tensor, "n 3"]
    arc: Float[Tensor, " n"]
    depth: Float[Tensor, " n"]

    def vertices(self, grid: SparseGrid) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
        """The eight vertices around each sample and their trilinear weights."""
        return grid.corners[self.cell], trilinear_weights(self.fraction)

    def keep(self, chosen: Tensor) -> Samples:
        """The samples that a mask [N] selects, with `starts` to match."""
        index = chosen.nonzero().squeeze(1)
        ray = self.ray[index]
        starts = ray_starts(ray, len(self.starts) - 1)
        return Samples(ray, starts, self.cell[index], self.fraction[index], self.arc[index], self.depth[index])


def ray_starts(ray: Int[Tensor, " n"], count: int) -> Int[Tensor, " r1"]:
    """Where each of `count` rays begins in a sorted list of ray numbers."""
    return torch.searchsorted(ray, torch.arange(count + 1, device=ray.device))


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
    rays, device = len(origins), origins.device
    length = step_length(space, grid.shape, step)
    count = max(1, int(BRICK / step))  # steps in a segment: as long as a brick
    segments = int(space.length() / (count * length)) + 1
    entry = space.entry(origins, directions)  # [r, 1]

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
    return Samples(ray, ray_starts(ray, rays), cell[at], scaled - scaled.floor(), arc[at], depth[at, 0])

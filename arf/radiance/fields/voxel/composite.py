"""What rays show of a voxel grid, marched and composited in one go, without a list of samples: on a CPU."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.fields.arrays import arrays
from arf.radiance.fields.jit import ready
from arf.radiance.fields.voxel import kernels
from arf.radiance.fields.voxel.march import numbers_of, plan
from arf.radiance.fields.voxel.table import RAW_PER_VALUE, VoxelTable


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
    colors: Float[Tensor, "V c"],
    background: Float[Tensor, " c"],
    last_sample: bool,
) -> Composite:
    """Any colours of the vertices as rays see them, sampled in the middle of each step.

    A ray is left where less than 1e-4 of what is behind comes through, and the colour of a sample below 1e-6 is not
    looked up.

    Args:
        directions: unit vectors.
        last_sample: whether a ray's last sample takes what is left, where it has one.
    """
    space, grid = voxels.space, voxels.grid
    way = plan(space, grid, origins, directions, voxels.step)
    lines = arrays(way.origins, way.directions, way.entry[:, 0], way.ahead[:, 0])
    steps = way.segments, way.count, np.float32(way.length)
    shapes = np.array(grid.shape), np.array(grid.rows.brick_shape)
    rows = arrays(grid.near, grid.rows.bricks, grid.rows.slots, grid.corners)
    unit, thickness = np.float32(RAW_PER_VALUE), np.float32(voxels.per_arc() * way.length)
    table = *arrays(voxels.table), unit, thickness, *arrays(colors, background), last_sample
    color, leftover, sums = (torch.empty(len(origins), *shape) for shape in ((colors.shape[1],), (), (3,)))
    with ready():
        out = arrays(color, leftover, sums)
        kernels.composite(*numbers_of(space), *lines, *steps, *shapes, *rows, *table, numba.get_num_threads(), *out)
    return Composite(color, leftover, *sums.unbind(1))

"""A sparse voxel grid: which cells exist, and which vertices each of them has.

Cells live in bricks of 4x4x4: a coarse dense table says which brick a place belongs to (or none), a brick says which
of its cells exist, and a cell names its eight vertices. Memory grows with the occupied surface, not with the volume,
and an empty brick answers after one look-up, so the same structure skips empty space.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import max_pool3d

from arf.radiance.fields.rays.space import Space

BRICK = 4
CORNERS = torch.tensor([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])  # [8, 3] z fastest


def linear_index(coords: Int[Tensor, "n 3"], shape: tuple[int, int, int]) -> Int[Tensor, " n"]:
    """Row-major index of integer coordinates in a dense volume of `shape`."""
    return (coords[..., 0].long() * shape[1] + coords[..., 1]) * shape[2] + coords[..., 2]


def grid_coords(index: Int[Tensor, " n"], shape: tuple[int, int, int]) -> Int[Tensor, "n 3"]:
    """Inverse of `linear_index`."""
    z = index % shape[2]
    y = index // shape[2] % shape[1]
    return torch.stack([index // (shape[1] * shape[2]), y, z], -1)


class BrickMap(nn.Module):
    """From integer coordinates to the row of a sorted list, or -1: two look-ups, and memory only where there is some.

    Args:
        shape: of the dense volume that is addressed.
        index: [N] sorted row-major indices of what exists; its position here is its row.

    Buffers (derived, not saved):
        bricks: int32 dense table of bricks: the brick's number, or -1.
        slots: int32 [B * 64], a brick's places: a row or -1. One spare brick of -1 lies at the end.
    """

    def __init__(self, shape: tuple[int, int, int], index: Int[Tensor, " N"]) -> None:
        super().__init__()
        self.shape = tuple(int(n) for n in shape)
        self.brick_shape = tuple((n + BRICK - 1) // BRICK for n in self.shape)
        coords = grid_coords(index, self.shape)  # [N, 3]
        brick = linear_index(coords // BRICK, self.brick_shape)  # [N]
        present, number = torch.unique(brick, return_inverse=True)  # [B], [N]
        count = self.brick_shape[0] * self.brick_shape[1] * self.brick_shape[2]
        bricks = torch.full((count,), -1, dtype=torch.int32, device=index.device)
        bricks[present] = torch.arange(len(present), dtype=torch.int32, device=index.device)
        slots = torch.full(((len(present) + 1) * BRICK**3,), -1, dtype=torch.int32, device=index.device)
        local = linear_index(coords % BRICK, (BRICK, BRICK, BRICK))
        slots[number * BRICK**3 + local] = torch.arange(len(index), dtype=torch.int32, device=index.device)
        self.register_buffer("bricks", bricks, persistent=False)
        self.register_buffer("slots", slots, persistent=False)

    def find(self, coords: Int[Tensor, "n 3"]) -> Int[Tensor, " n"]:
        """Row at integer coordinates, -1 where there is none. The coordinates must lie in the volume."""
        return self.find_at(*coords.unbind(-1))

    def find_at(self, x: Int[Tensor, "*n"], y: Int[Tensor, "*n"], z: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """The same for coordinates that come apart."""
        _, by, bz = self.brick_shape
        brick = self.bricks[((x >> 2) * by + (y >> 2)) * bz + (z >> 2)]  # [n]
        slot = (brick << 6) | ((x & 3) << 4) | ((y & 3) << 2) | (z & 3)
        # a missing brick (-1) gives a negative slot, which counts from the end: the spare brick, all of it -1
        return self.slots[slot]


class SparseGrid(nn.Module):
    """The occupied cells of a grid over the unit cube, and their vertices.

    Args:
        shape: cells per axis.
        cells: [C] row-major indices of the occupied cells, in any order, unique.

    Buffers (all but `cells` derived, not saved):
        cells: int64 [C], sorted.
        near: bool dense table of bricks: this brick or a neighbour has a cell.
        corners: int32 [C, 8], a cell's vertices: rows of whatever table is interpolated.
        vertices: int32 [V, 3], integer coordinates of each vertex, sorted row-major.
    """

    def __init__(self, shape: tuple[int, int, int], cells: Int[Tensor, " C"]) -> None:
        super().__init__()
        self.shape = tuple(int(n) for n in shape)
        cells = cells.long().sort().values
        self.rows = BrickMap(self.shape, cells)
        points = tuple(n + 1 for n in self.shape)
        corner = linear_index(grid_coords(cells, self.shape)[:, None] + CORNERS.to(cells.device), points)  # [C, 8]
        vertex, row = torch.unique(corner, return_inverse=True)
        occupied = (self.rows.bricks >= 0).view(1, *self.rows.brick_shape).float()
        self.register_buffer("cells", cells)
        self.register_buffer("near", max_pool3d(occupied, 3, 1, 1).bool().flatten(), persistent=False)
        self.register_buffer("corners", row.int(), persistent=False)
        self.register_buffer("vertices", grid_coords(vertex, points).int(), persistent=False)

    @classmethod
    def dense(cls, shape: tuple[int, int, int], device: torch.device | str = "cpu") -> SparseGrid:
        """Every cell of the cube."""
        return cls(shape, torch.arange(shape[0] * shape[1] * shape[2], device=device))

    def scaled(self, unit: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Unit-cube coordinates in cells."""
        return unit * torch.tensor(self.shape, dtype=unit.dtype, device=unit.device)

    def locate(self, scaled: Float[Tensor, "n 3"]) -> Int[Tensor, " n"]:
        """Row of the cell around each place (in cells), -1 where there is none or the place is outside."""
        limit = torch.tensor(self.shape, device=scaled.device)
        inside = ((scaled >= 0) & (scaled < limit)).all(-1)
        cell = self.rows.find(scaled.clamp_min(0).minimum(limit - 1).int())
        return torch.where(inside, cell, -1)

    def near_brick(self, unit: Float[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
        """Whether the brick around a place of the unit cube, or one next to it, has a cell."""
        limit = torch.tensor(self.rows.brick_shape, device=unit.device)
        brick = self.scaled(unit) / BRICK
        inside = ((brick > -1) & (brick < limit + 1)).all(-1)
        brick = brick.clamp_min(0).minimum(limit - 1).int()  # in this order: what is far away fits into no int
        return self.near[linear_index(brick, self.rows.brick_shape)] & inside

    def occupancy(self) -> Bool[Tensor, "x y z"]:
        """Dense mask of the occupied cells."""
        mask = torch.zeros(self.shape[0] * self.shape[1] * self.shape[2], dtype=torch.bool, device=self.cells.device)
        mask[self.cells] = True
        return mask.view(self.shape)


def trilinear_weights(fraction: Float[Tensor, "n 3"]) -> Float[Tensor, "n 8"]:
    """Weights of a cell's eight vertices, in the order of `CORNERS`, for a position inside it (0..1 per axis)."""
    x, y, z = fraction.unbind(-1)
    x0, y0, z0 = 1 - x, 1 - y, 1 - z
    a, b, c, d = x0 * y0, x0 * y, x * y0, x * y
    return torch.stack([a * z0, a * z, b * z0, b * z, c * z0, c * z, d * z0, d * z], -1)


def shape_at(space: Space, resolution: int) -> tuple[int, int, int]:
    """Cells per axis: cubic voxels, `resolution` of them along the longest side."""
    extent = space.extent
    return tuple(int(n) for n in (resolution * extent / extent.max()).ceil())

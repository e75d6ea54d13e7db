"""Density and colour on the vertices of a sparse voxel grid.

After Sun et al., "Direct Voxel Grid Optimization" (CVPR 2022): density is interpolated first and activated after, so
that a coarse grid can hold a sharp surface. Colour is view-independent and linear in its vertices, which is what makes
rendering a frozen scene a matrix product.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from arf.radiance.fields.rays.samples import Samples
from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.rays.volume import interpolate
from arf.radiance.fields.voxel.grid import SparseGrid, grid_coords, linear_index, trilinear_weights
from arf.radiance.fields.voxel.march import step_length

DENSITY_UNIT = 100.0  # thickness per edge length of the cube at softplus(raw) = 1: about 1 per voxel at 100^3
RAW_PER_VALUE = 10.0  # density is stored in tenths, so that one learning rate suits it and the colours
INITIAL = (-0.6, 0.5, 0.5, 0.5)  # nearly clear, so that nothing grows in front of the cameras; grey
MOST = 1024  # cells along an axis
EMPTY = (-1.0, 0.5, 0.5, 0.5)


class VoxelTable(nn.Module):
    """Raw density and RGB on the vertices of a sparse grid.

    Args:
        space: the map of the world into the grid's cube.
        shape: cells per axis.
        step: marching step in voxels.
    """

    def __init__(self, space: Space, shape: tuple[int, int, int], step: float) -> None:
        super().__init__()
        self.space, self.step = space, step
        self.register_buffer("shape", torch.tensor(shape))
        self.set_grid(SparseGrid.dense(shape))
        table = torch.tensor(INITIAL).repeat(len(self.grid.vertices), 1)
        self.table = nn.Parameter(table)  # [V, 4] density before its activation (tenths), red, green, blue

    def set_grid(self, grid: SparseGrid) -> None:
        """Use another set of cells; the caller sets a table to match."""
        self.grid = grid
        self.shape = torch.tensor(grid.shape, device=self.shape.device)

    def sigma(self, density: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Density per arc length from interpolated table values."""
        return softplus(density * RAW_PER_VALUE) * self.per_arc()

    def per_arc(self) -> float:
        """Density per arc length where it is 1 after its activation."""
        return DENSITY_UNIT / float(self.space.extent.max())

    def at(self, samples: Samples) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Optical thickness and colour of marched samples."""
        values = interpolate(self.table, self.grid.corners[samples.cell], trilinear_weights(samples.fraction))  # [n, 4]
        length = step_length(self.space, self.grid.shape, self.step)
        return self.sigma(values[:, 0]) * length, values[:, 1:]

    # --- coarse to fine -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def rebuild(self, shape: tuple[int, int, int], cells: Tensor) -> None:
        """Move to another grid: values are interpolated from the present one, clear where it has no cell."""
        grid = SparseGrid(shape, cells)
        unit = grid.vertices / torch.tensor(grid.shape, device=cells.device)
        values, found = self.values_at(unit)
        values[~found] = torch.tensor(EMPTY, device=values.device)
        self.set_grid(grid)
        self.table = nn.Parameter(values)

    @torch.no_grad()
    def prune(self, cells: Tensor) -> Tensor:
        """Keep only these of the present cells. Returns the rows [V'] that survive, for whatever runs alongside."""
        grid = SparseGrid(self.grid.shape, cells)
        points = tuple(n + 1 for n in grid.shape)
        rows = torch.searchsorted(linear_index(self.grid.vertices, points), linear_index(grid.vertices, points))
        self.set_grid(grid)
        self.table = nn.Parameter(self.table[rows])
        return rows

    @torch.no_grad()
    def values_at(self, unit: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "n 4"], Tensor]:
        """Raw values at places of the unit cube, and whether a cell is there.

        A place on the boundary of its cell belongs to any existing cell that touches it.
        """
        scaled = self.grid.scaled(unit)
        limit = torch.tensor(self.grid.shape, device=unit.device)
        values = self.table.new_zeros(len(unit), 4)
        found = torch.zeros(len(unit), dtype=torch.bool, device=unit.device)
        for corner in range(8):
            nudge = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], device=unit.device) * -1e-3 + 5e-4
            coords = torch.minimum((scaled + nudge).floor().int().clamp_min(0), limit.int() - 1)
            cell = self.grid.rows.find(coords)
            new = ((cell >= 0) & ~found).nonzero().squeeze(1)
            fraction = (scaled[new] - coords[new]).clamp(0, 1)
            rows = self.grid.corners[cell[new]]
            values[new] = interpolate(self.table, rows, trilinear_weights(fraction))
            found[new] = True
        return values, found

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """A checkpoint says which cells it has: take its grid before its values."""
        cells, shape = (state_dict.get(prefix + name) for name in ("grid.cells", "shape"))
        if cells is not None and shape is not None:
            if not _is_grid(cells, shape):
                args[-1].append("shape and cells are no grid's")  # torch's list of errors
                return
            device = self.table.device
            self.set_grid(SparseGrid(tuple(shape.tolist()), cells.to(device)))
            self.table.data = torch.empty(len(self.grid.vertices), 4, device=device)  # still what an optimizer has
        super()._load_from_state_dict(state_dict, prefix, *args)


def _is_grid(cells: Tensor, shape: Tensor) -> bool:
    """Whether these are cells of a grid of that shape, ascending: files may say anything."""
    if cells.dtype != torch.int64 or shape.dtype != torch.int64 or cells.dim() != 1 or shape.shape != (3,):
        return False
    if not len(cells) or int(shape.min()) < 1 or int(shape.max()) > MOST:
        return False
    return int(cells[0]) >= 0 and int(cells[-1]) < int(shape.prod()) and bool((cells.diff() > 0).all())


def dilate(mask: Tensor, cells: int = 1) -> Tensor:
    """Grow a mask [x, y, z] by some cells in every direction."""
    return nn.functional.max_pool3d(mask[None, None].float(), 2 * cells + 1, 1, cells)[0, 0].bool()


def subdivide(mask: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Row-major indices of the cells of a finer grid that lie in a coarse mask."""
    index = torch.arange(shape[0] * shape[1] * shape[2], device=mask.device)
    middle = (grid_coords(index, shape) + 0.5) / torch.tensor(shape, device=mask.device)
    coords = (middle * torch.tensor(mask.shape, device=mask.device)).long()
    return index[mask.flatten()[linear_index(coords, tuple(mask.shape))]]

"""The vertex table: moving between grids."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import max_pool3d
from voxels import dense_table

from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.voxel.grid import SparseGrid, grid_coords, linear_index
from arf.radiance.fields.voxel.table import EMPTY, VoxelTable, dilate, subdivide


def random_field(shape: tuple[int, int, int] = (7, 6, 9), share: float = 1.0, seed: int = 0) -> VoxelTable:
    """Random values on a share of the cells of a box."""
    generator = torch.Generator().manual_seed(seed)
    field = VoxelTable(Space("bounded", torch.tensor([[-1.0, -1.0, 0.0], [1.0, 2.0, 2.0]])), shape, 1.0)
    with torch.no_grad():
        field.table.copy_(torch.randn(field.table.shape, generator=generator))
    if share < 1:
        keep = torch.rand(len(field.grid.cells), generator=generator) < share
        field.prune(field.grid.cells[keep])
    return field


def places(count: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))


def trilinear(field: VoxelTable, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Values by hand from the dense table, and whether the cell exists."""
    dense, occupied = dense_table_of(field)
    shape = torch.tensor(field.grid.shape)
    cell = (unit * shape).floor().long().clamp_min(0).minimum(shape - 1)
    fraction = unit * shape - cell
    total = 0
    for corner in range(8):
        offset = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        share = (1 - (fraction - offset).abs()).prod(-1)
        total = total + share[:, None] * dense[tuple((cell + offset).T)]
    return total, occupied[tuple(cell.T)]


def dense_table_of(field: VoxelTable) -> tuple[Tensor, Tensor]:
    holder = torch.nn.Module()
    holder.voxels = field
    return dense_table(holder, field.table.detach())


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_values_anywhere_are_trilinear(share):
    field = random_field(share=share)
    unit = places(2000)
    inner = ((unit * torch.tensor(field.grid.shape)) % 1 - 0.5).abs().amax(1) < 0.499  # not on a face, to the tolerance
    found, exists = field.values_at(unit)
    wanted, there = trilinear(field, unit)
    assert torch.equal(exists[inner], there[inner])
    torch.testing.assert_close(found[inner & there], wanted[inner & there], rtol=0, atol=1e-5)
    assert not found[~exists].any()


def test_values_on_vertices_are_the_tables_even_where_only_one_cell_touches():
    field = random_field(share=0.1)
    values, exists = field.values_at(field.grid.vertices / torch.tensor(field.grid.shape))
    assert exists.all()
    torch.testing.assert_close(values, field.table.detach(), rtol=0, atol=1e-5)


def test_a_finer_grid_of_whole_multiples_keeps_every_value():
    field = random_field(share=0.4)
    before, mask = random_field(share=0.4), field.grid.occupancy()
    fine = tuple(3 * n for n in field.grid.shape)
    cells = subdivide(mask, fine)
    assert len(cells) == 27 * len(field.grid.cells)
    field.rebuild(fine, cells)
    assert field.shape.tolist() == list(fine)
    assert field.table.requires_grad
    unit = places(3000)
    inner = ((unit * torch.tensor(before.grid.shape)) % 1 - 0.5).abs().amax(1) < 0.499
    wanted, there = before.values_at(unit)
    found, exists = field.values_at(unit)
    assert torch.equal(exists[inner], there[inner])
    assert there.float().mean() > 0.2
    torch.testing.assert_close(found[inner & there], wanted[inner & there], rtol=0, atol=5e-5)


def test_rebuilding_where_nothing_was_is_clear():
    field = random_field(share=0.05)
    field.rebuild((14, 12, 18), torch.arange(14 * 12 * 18))
    clear = (field.table == torch.tensor(EMPTY)).all(1)
    assert 0.5 < clear.float().mean() < 1
    assert field.sigma(torch.tensor(EMPTY[0])) < 0.01  # per unit of length: nothing to be seen


def test_pruning_keeps_rows_and_says_which():
    field, before = random_field(), random_field()
    keep = torch.rand(len(field.grid.cells), generator=torch.Generator().manual_seed(5)) < 0.2
    rows = field.prune(field.grid.cells[keep])
    assert torch.equal(field.grid.cells, before.grid.cells[keep])
    assert torch.equal(before.grid.vertices[rows], field.grid.vertices)
    assert torch.equal(before.table[rows], field.table)
    assert isinstance(field.table, torch.nn.Parameter)


@pytest.mark.parametrize("shape", [(5, 4, 6), (11, 13, 9)])
def test_state_goes_round_into_a_field_of_another_grid(shape):
    field = random_field(share=0.3)
    other = VoxelTable(field.space, shape, 1.0)
    other.load_state_dict(field.state_dict())
    assert other.grid.shape == field.grid.shape
    assert torch.equal(other.grid.cells, field.grid.cells)
    assert torch.equal(other.table, field.table)
    unit = places(500)
    assert torch.equal(other.values_at(unit)[0], field.values_at(unit)[0])
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(field.state_dict() | {"table": field.table[:-1]})


def test_dilate_is_a_box_filter():
    mask = torch.zeros(9, 8, 7, dtype=torch.bool)
    mask[4, 3, 2] = mask[0, 0, 6] = True
    for n in (1, 2):
        wanted = max_pool3d(mask[None].float(), 2 * n + 1, 1, n)[0].bool()
        assert torch.equal(dilate(mask, n), wanted)
    assert dilate(mask).sum() == 27 + 8


@pytest.mark.parametrize("shape", [(6, 8, 10), (5, 7, 11), (3, 4, 5)])
def test_subdivide_takes_the_cells_whose_middle_lies_in_the_mask(shape):
    mask = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0)) < 0.4
    found = subdivide(mask, shape)
    assert torch.equal(found, found.sort().values)
    wanted = []
    for index, cell in enumerate(grid_coords(torch.arange(shape[0] * shape[1] * shape[2]), shape).tolist()):
        coarse = [int((c + 0.5) / n * m) for c, n, m in zip(cell, shape, mask.shape, strict=True)]
        if mask[tuple(coarse)]:
            wanted.append(index)
    assert found.tolist() == wanted


def test_a_new_field_is_nearly_clear_and_grey():
    field = VoxelTable(Space("unbounded"), (8, 8, 8), 1.0)
    step = 4 / 8
    assert (field.sigma(field.table[:, 0]) * step < 0.1).all()
    assert (field.table[:, 1:] == 0.5).all()
    assert torch.equal(linear_index(field.grid.vertices, (9, 9, 9)), torch.arange(9**3))
    assert isinstance(field.grid, SparseGrid)

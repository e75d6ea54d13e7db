"""The sparse grid against dictionaries and dense arrays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from arf.radiance.fields.voxel.grid import (
    BRICK,
    CORNERS,
    BrickMap,
    SparseGrid,
    grid_coords,
    linear_index,
    trilinear_weights,
)

SHAPES = [(7, 9, 5), (8, 4, 12), (1, 1, 1), (3, 17, 2)]  # whole bricks and cut ones


def some_cells(shape: tuple[int, int, int], share: float, seed: int = 0) -> Tensor:
    """Row-major indices of random cells, in random order; at least one."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape))
    return torch.from_numpy(rng.choice(count, max(1, int(share * count)), replace=False))


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_index_is_numpys_and_inverts(shape):
    coords = torch.from_numpy(np.indices(shape).reshape(3, -1).T.copy())
    index = linear_index(coords, shape)
    assert torch.equal(index, torch.from_numpy(np.ravel_multi_index(tuple(coords.numpy().T), shape)))
    assert torch.equal(grid_coords(index, shape), coords)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_brick_map_is_a_dictionary(shape, share):
    index = some_cells(shape, share).sort().values
    rows = {int(key): row for row, key in enumerate(index)}
    table = BrickMap(shape, index)
    everywhere = torch.arange(int(np.prod(shape)))
    wanted = torch.tensor([rows.get(int(i), -1) for i in everywhere])
    assert torch.equal(table.find(grid_coords(everywhere, shape).int()).long(), wanted)
    assert torch.equal(table.find(grid_coords(everywhere, shape).int()).long(), wanted)


def test_empty_brick_map_finds_nothing():
    table = BrickMap((5, 6, 7), torch.zeros(0, dtype=torch.int64))
    assert (table.find(grid_coords(torch.arange(5 * 6 * 7), (5, 6, 7)).int()) == -1).all()


def test_brick_map_takes_memory_only_where_there_is_something():
    shape = (64, 64, 64)
    table = BrickMap(shape, torch.tensor([0, 1, 64 * 64 * 64 - 1]))
    assert table.slots.numel() == 3 * BRICK**3  # two bricks and the spare one
    assert table.bricks.numel() == 16**3


@pytest.mark.parametrize("shape", SHAPES)
def test_corners_are_the_eight_vertices_of_each_cell(shape):
    grid = SparseGrid(shape, some_cells(shape, 0.3))
    coords = grid_coords(grid.cells, shape)
    assert torch.equal(grid.cells, grid.cells.sort().values)
    for row, cell in enumerate(coords.tolist()):
        for k, offset in enumerate(itertools.product((0, 1), repeat=3)):  # z fastest
            vertex = grid.vertices[grid.corners[row, k].long()].tolist()
            assert vertex == [c + o for c, o in zip(cell, offset, strict=True)]
    keys = linear_index(grid.vertices, tuple(n + 1 for n in shape))
    assert torch.equal(keys, keys.unique())  # sorted, none twice
    assert torch.equal(grid.corners.unique().long(), torch.arange(len(grid.vertices)))  # and none unused
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(coords.T)] = True
    assert torch.equal(grid.occupancy(), mask)


def test_dense_grid_has_every_cell():
    grid = SparseGrid.dense((3, 4, 5))
    assert grid.occupancy().all()
    assert len(grid.vertices) == 4 * 5 * 6


@pytest.mark.parametrize("shape", SHAPES)
def test_locate_is_a_floor_and_a_look_up(shape):
    grid = SparseGrid(shape, some_cells(shape, 0.4))
    rows = {int(c): r for r, c in enumerate(grid.cells)}
    places = (torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2) * torch.tensor(shape)
    whole = torch.tensor(list(itertools.product(*([-1, 0, n - 1, n] for n in shape)))).float()  # borders, exactly
    places = torch.cat([places, whole])
    for place, found in zip(places.tolist(), grid.locate(places).tolist(), strict=True):
        cell = np.floor(place).astype(int)
        inside = all(0 <= c < n for c, n in zip(cell, shape, strict=True))
        assert found == (rows.get(int(np.ravel_multi_index(cell, shape)), -1) if inside else -1)


@pytest.mark.parametrize("shape", [(16, 20, 12), (7, 41, 5)])
def test_near_brick_never_misses_a_brick_or_its_neighbours(shape):
    grid = SparseGrid(shape, some_cells(shape, 0.001, seed=3))
    occupied = np.zeros([-(-n // BRICK) for n in shape], dtype=bool)
    occupied[tuple((grid_coords(grid.cells, shape) // BRICK).T.numpy())] = True
    unit = torch.rand(2000, 3, generator=torch.Generator().manual_seed(1)) * 1.8 - 0.4
    answers = grid.near_brick(unit)
    bricks = torch.floor(unit * torch.tensor(shape) / BRICK).int().numpy()
    for brick, answer in zip(bricks, answers.tolist(), strict=True):
        window = tuple(slice(max(0, b - 1), max(0, b + 2)) for b in brick)
        if occupied[window].any():  # the brick around the place or one that touches it
            assert answer
        inside = all(0 <= b < n for b, n in zip(brick, occupied.shape, strict=True))
        if inside and not occupied[window].any():
            assert not answer
    assert not grid.near_brick(torch.tensor([[9.0, 0.5, 0.5], [0.5, -9.0, 0.5]])).any()
    assert 0 < answers.float().mean() < 1


def test_trilinear_weights_reproduce_grid_sample():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 2, 2, generator=generator)
    fraction = torch.rand(50, 3, generator=generator)
    volume = values[None, None]  # [1, 1, x, y, z]; grid_sample takes its coordinates last axis first
    places = (2 * fraction - 1).flip(-1).view(1, 50, 1, 1, 3)
    wanted = grid_sample(volume, places, align_corners=True).flatten()
    found = trilinear_weights(fraction) @ values[tuple(CORNERS.T)]
    torch.testing.assert_close(found, wanted)


def test_trilinear_weights_are_exact_on_linear_functions_and_at_corners():
    fraction = torch.rand(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = trilinear_weights(fraction)
    torch.testing.assert_close(weights.sum(1), torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(weights @ CORNERS.double(), fraction)
    assert torch.equal(trilinear_weights(CORNERS.double()), torch.eye(8, dtype=torch.float64))

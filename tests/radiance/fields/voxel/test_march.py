"""Marching with skipped space against marching every step of every ray."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.fields.rays.samples import ray_starts
from arf.radiance.fields.rays.space import FAR, Space
from arf.radiance.fields.voxel import march as marching
from arf.radiance.fields.voxel.grid import SparseGrid, grid_coords, trilinear_weights
from arf.radiance.fields.voxel.march import march, step_length


@pytest.fixture(params=["compiled", "in torch"], autouse=True)
def way(request, monkeypatch):
    """As on a CPU, and as on a GPU."""
    if request.param == "in torch":
        monkeypatch.setattr(marching, "suits", lambda *_: False)


SPACES = {
    "bounded": Space("bounded", torch.tensor([[-1.0, -2.0, -0.5], [1.5, 1.0, 1.0]])),
    "unbounded": Space("unbounded"),
    "forward": Space("forward", torch.tensor([[-0.9, -0.6, 1.0], [0.9, 0.6, float("inf")]])),
}


def some_rays(kind: str, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rays as each kind of capture has them: from around the box, from within, from a plane that looks along -z.

    From the very corners of the unbounded cube, steps just behind it can be longer than a brick (test_space.py); those
    rays are left out.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(count, 3, generator=generator)
    origins = torch.rand(count, 3, generator=generator) * 2 - 1
    if kind == "bounded":
        origins[: count // 2] = 3 * normalize(origins[: count // 2], dim=1)
        directions[: count // 2] = torch.rand(count // 2, 3, generator=generator) - 0.5 - origins[: count // 2]
        directions[0] = torch.tensor([0.0, 0.0, 1.0])  # along an axis: two slabs are parallel to it
        origins[0] = torch.tensor([0.3, -0.4, -3.0])
    if kind == "unbounded":
        origins = origins * 0.7
    if kind == "forward":
        origins = origins * torch.tensor([0.1, 0.1, 0.05])
        directions = torch.cat([directions[:, :2] * 0.3, -torch.ones(count, 1)], 1)
    return origins, normalize(directions, dim=1)


def sparse(shape: tuple[int, int, int], share: float, seed: int = 0) -> SparseGrid:
    """Random balls of cells, as surfaces are: most bricks have none."""
    cells = grid_coords(torch.arange(shape[0] * shape[1] * shape[2]), shape)
    middle = torch.rand(6, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor(shape)
    away = torch.cdist(cells.float() + 0.5, middle)
    return SparseGrid(shape, (away.amin(1) < share * min(shape)).nonzero().squeeze(1))


def every_step(space: Space, grid: SparseGrid, origins: Tensor, directions: Tensor, step: float, jitter) -> tuple:
    """(ray, cell, scaled, arc, depth) of all steps in occupied cells, with no skipping and a dense mask."""
    length = step_length(space, grid.shape, step)
    count = int(space.length() / length) + 2
    numbers = torch.arange(count)[None].expand(len(origins), -1)
    arc = (numbers + jitter) * length  # [r, k]
    depth = space.depth(arc, space.entry(origins, directions), origins, directions)
    scaled = space.warp(origins[:, None] + depth[..., None] * directions[:, None]) * torch.tensor(grid.shape)
    limit = torch.tensor(grid.shape)
    inside = ((scaled >= 0) & (scaled < limit)).all(-1) & (depth < FAR)
    cell = scaled.floor().long().clamp_min(0).minimum(limit - 1)
    occupied = inside & grid.occupancy()[tuple(cell.unbind(-1))]
    ray, at = occupied.nonzero().unbind(1)
    return ray, cell[ray, at], scaled[ray, at], arc[ray, at], depth[ray, at]


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("step", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("shape", [(40, 36, 44), (23, 18, 30)])
def test_no_occupied_step_is_missed(kind, step, shape):
    space, grid = SPACES[kind], sparse(shape, 0.12)
    origins, directions = some_rays(kind, 600)
    jitter = torch.rand(600, 1, generator=torch.Generator().manual_seed(5))
    for offset in (0.5, jitter):
        samples = march(space, grid, origins, directions, step, offset)
        ray, cell, scaled, arc, depth = every_step(space, grid, origins, directions, step, offset)
        last = step_length(space, shape, step) * int(space.length() / step_length(space, shape, step))
        within = samples.arc < last  # a segment may reach a little past the end of the space
        assert len(ray) > 100
        kept = samples.keep(within)
        again = arc < last
        assert torch.equal(kept.ray, ray[again])
        torch.testing.assert_close(kept.arc, arc[again])
        torch.testing.assert_close(kept.depth, depth[again], rtol=1e-5, atol=1e-6)
        assert torch.equal(grid_coords(grid.cells[kept.cell.long()], shape), cell[again])
        torch.testing.assert_close(kept.fraction, scaled[again] - cell[again], rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", SPACES)
def test_samples_lie_packed_in_order_and_where_they_say(kind):
    space, grid = SPACES[kind], sparse((40, 36, 44), 0.12)
    origins, directions = some_rays(kind, 200)
    samples = march(space, grid, origins, directions, 1.0)
    for r in range(200):
        mine = slice(samples.starts[r], samples.starts[r + 1])
        assert (samples.ray[mine] == r).all()
        assert (samples.arc[mine].diff() > 0).all()
        assert (samples.depth[mine].diff() >= 0).all()
    assert samples.starts[0] == 0
    assert samples.starts[-1] == len(samples.ray)
    rows, weights = (grid.corners[samples.cell], trilinear_weights(samples.fraction))
    place = (grid.vertices[rows.long()] * weights[..., None]).sum(1) / torch.tensor(grid.shape)
    world = origins[samples.ray] + samples.depth[:, None] * directions[samples.ray]
    torch.testing.assert_close(place, space.warp(world), rtol=0, atol=2e-5)
    assert torch.equal(weights, trilinear_weights(samples.fraction))


def test_keep_selects_samples_and_moves_the_starts():
    grid = sparse((20, 20, 20), 0.2)
    samples = march(SPACES["bounded"], grid, *some_rays("bounded", 50), 1.0)
    chosen = torch.rand(len(samples.ray), generator=torch.Generator().manual_seed(0)) < 0.3
    kept = samples.keep(chosen)
    assert torch.equal(kept.ray, samples.ray[chosen])
    assert torch.equal(kept.depth, samples.depth[chosen])
    assert kept.starts.diff().tolist() == [int((kept.ray == r).sum()) for r in range(50)]


def test_rays_that_meet_nothing():
    grid = SparseGrid((8, 8, 8), torch.tensor([0]))
    away = torch.tensor([[5.0, 5.0, 5.0], [6.0, 5.0, 5.0]])
    samples = march(SPACES["bounded"], grid, away, normalize(away, dim=1), 1.0)
    assert len(samples.ray) == 0
    assert samples.starts.tolist() == [0, 0, 0]


def test_ray_starts_of_sorted_rays():
    assert ray_starts(torch.tensor([1, 1, 4]), 6).tolist() == [0, 0, 2, 2, 2, 3, 3]


def test_step_length_is_the_shortest_edge_of_a_voxel():
    space = Space("bounded", torch.tensor([[0.0, 0.0, 0.0], [2.0, 3.0, 4.0]]))
    assert step_length(space, (10, 10, 10), 0.5) == pytest.approx(0.1)


@pytest.mark.parametrize("reach", [1.2, 3.0, 20.0])
def test_an_unbounded_scene_is_met_from_outside_of_the_unit_cube(reach):
    """C18: zooming out made the background, then everything, disappear."""
    space, grid = SPACES["unbounded"], SparseGrid.dense((24, 24, 24))
    origins = normalize(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    origins = reach * origins / origins.abs().amax(1, keepdim=True)
    samples = march(space, grid, origins, normalize(-origins, dim=1), 1.0)  # through the middle
    places = origins[samples.ray] - normalize(origins, dim=1)[samples.ray] * samples.depth[:, None]
    per_ray = samples.starts.diff()
    assert (per_ray > 12).all()  # the cube is 12 voxels wide
    for ray in range(40):
        mine = slice(int(samples.starts[ray]), int(samples.starts[ray + 1]))
        size = places[mine].abs().amax(1)
        assert size[0] <= 1.1  # from the near side of the cube
        assert size.min() < 0.1  # through the middle
        assert size[-1] > 5  # and far out behind it
        unit = 4 * space.warp(places[mine])
        assert unit.diff(dim=0).abs().max() < 4 * 4 / 24  # a few voxels apart at most, as from the cube's corners

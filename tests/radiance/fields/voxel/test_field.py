"""The voxel grid as a field: rendering against autograd through dense sums, losses, coarse to fine."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from voxels import BOX, around, ball_model, dense_render

from arf.errors import UserError
from arf.radiance.fields.rays.batch import RayBatch
from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.voxel.field import VoxelConfig, VoxelField
from arf.radiance.fields.voxel.grid import SparseGrid, linear_index, shape_at
from arf.radiance.fields.voxel.march import step_length

MODELS = {
    "colour behind": lambda: ball_model(),
    "last sample behind": lambda: ball_model(background="last"),
    "unbounded": lambda: ball_model(24, kind="unbounded", background="last"),
}


def rays() -> tuple[Tensor, Tensor]:
    return around(1)[0].rays()


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_density_and_colour_are_those_of_dense_rendering(name, monkeypatch):
    model = MODELS[name]()
    target = torch.rand(280, 3, generator=torch.Generator().manual_seed(0))
    last, model.last_sample = model.last_sample, False  # in training it is a colour that is behind: here grey
    wanted_picture = dense_render(model, *rays())[0]
    model.last_sample = last
    wanted = torch.autograd.grad((wanted_picture - target).square().mean(), model.voxels.table)[0]
    model.train()
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, 0.5))  # no jitter, and that grey
    found = torch.autograd.grad((model.learn(*rays())[0] - target).square().mean(), model.voxels.table)[0]
    assert relative(found[:, 1:], wanted[:, 1:]) < 1e-5
    assert relative(found[:, 0], wanted[:, 0]) < 1e-4
    assert wanted[:, 0].norm() > 1e-5


def test_with_the_last_sample_behind_weights_sum_to_one_wherever_something_is():
    model = ball_model(background="last")
    samples, weights, leftover, _ = model.samples(*rays())
    total = torch.zeros(280).index_add(0, samples.ray, weights)
    some = samples.starts.diff() > 0
    torch.testing.assert_close(total, some.float(), rtol=0, atol=1e-5)
    torch.testing.assert_close(leftover, (~some).float(), rtol=0, atol=1e-6)


def test_in_training_it_shows_another_colour_behind_each_ray(monkeypatch):
    model = ball_model(background="last").train()
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, 0.5))
    over_grey = model.learn(*rays())[0]
    behind = torch.rand(280, 3) * 0 + torch.linspace(0, 1, 280)[:, None]
    monkeypatch.setattr(torch, "rand", lambda r, c, **_: behind if c == 3 else torch.full((r, c), 0.5))
    leftover = model.samples(*rays())[2]
    torch.testing.assert_close(model.learn(*rays())[0] - over_grey, leftover[:, None] * (behind - 0.5))
    assert 0.1 < leftover.mean() < 0.9


def test_rays_are_gathered_six_times_as_much_at_the_end():
    model = ball_model(total_steps=100).train()

    def at(step: int) -> float:
        model.before_step(step)
        torch.manual_seed(0)
        return float(model.learn(*rays())[1]["distortion"].detach())

    first = at(0)
    assert [at(50), at(90), at(100)] == pytest.approx([first, 6 * first, 6 * first], rel=1e-5)
    assert at(70) == pytest.approx(6**0.5 * first, rel=1e-5)


def test_training_jitters_within_a_step_and_notes_which_cells_were_seen():
    model = ball_model().train()
    torch.manual_seed(0)
    first, second = model.learn(*rays())[0], model.learn(*rays())[0]
    assert not torch.equal(first, second)
    assert (first - second).abs().mean() < 0.05
    model.eval()
    samples, weights, _, _ = model.samples(*rays())
    fresh = ball_model()
    fresh.samples = lambda *_: (samples, weights, torch.zeros(280), torch.zeros(len(weights), 3))
    fresh.learn(*rays())
    wanted = torch.zeros(len(fresh.seen))
    for cell, weight in zip(samples.cell.tolist(), weights.tolist(), strict=True):
        wanted[cell] = max(wanted[cell].item(), weight)
    torch.testing.assert_close(fresh.seen, wanted)


def batch() -> RayBatch:
    origins, directions = rays()
    return RayBatch(origins, directions, torch.rand(280, 3), torch.zeros(280, dtype=torch.int64))


def test_losses_are_their_weighted_definitions():
    model = ball_model(distortion=0.3, smoothness=0.2, color_smoothness=0.7).train()
    given = batch()
    torch.manual_seed(1)
    color, terms, count = model.learn(given.origins, given.directions)
    torch.manual_seed(1)  # the same jitter
    losses, samples = model.losses(given)
    assert samples == count > 0
    torch.testing.assert_close(losses["rgb"], (color - given.colors).square().mean())
    torch.testing.assert_close(losses["distortion"], terms["distortion"])
    torch.manual_seed(1)
    heavier = ball_model(distortion=0.6).train().learn(given.origins, given.directions)[1]
    torch.testing.assert_close(heavier["distortion"], 2 * terms["distortion"])
    vertices, table = model.voxels.grid.vertices, model.voxels.table
    rows = {tuple(v): i for i, v in enumerate(vertices.tolist())}
    strength = torch.tensor([0.2, 0.7, 0.7, 0.7])
    total = 0
    for (x, y, z), i in rows.items():
        for neighbour in ((x + 1, y, z), (x, y + 1, z), (x, y, z + 1)):
            if neighbour in rows:
                total = total + (strength * (table[i] - table[rows[neighbour]]).square()).sum()
    torch.testing.assert_close(losses["smoothness"], total / (2 * len(rows)))


def coarse_to_fine() -> tuple[VoxelField, torch.optim.Optimizer]:
    """A model of stages 8, 16 over 40 steps, after one step of Adam."""
    config = VoxelConfig(
        resolutions=(8, 16), stages=(0.5,), total_steps=40, prune_every=10, prune_below=0.1, background="0,0,0"
    )
    model = VoxelField(config, Space("bounded", BOX))
    optimizer = torch.optim.Adam([model.voxels.table], lr=0.01)
    generator = torch.Generator().manual_seed(0)
    model.voxels.table.grad = torch.randn(model.voxels.table.shape, generator=generator)
    optimizer.step()
    return model, optimizer


def see(model: VoxelField, cells: list[tuple[int, int, int]], weight: float = 0.5) -> None:
    mask = torch.zeros(model.voxels.grid.shape)
    for cell in cells:
        mask[cell] = weight
    model.seen = mask.view(-1)[model.voxels.grid.cells].clone()


def test_stages_begin_at_their_shares_of_all_steps():
    model, _ = coarse_to_fine()
    assert [model.stage(s) for s in (0, 19, 20, 40)] == [0, 0, 1, 1]


def test_pruning_keeps_seen_cells_their_neighbours_and_their_moments():
    model, optimizer = coarse_to_fine()
    grid, table, state = model.voxels.grid, model.voxels.table, dict(optimizer.state[model.voxels.table])
    see(model, [(2, 3, 4)])
    model.refine(7, optimizer)  # no step for pruning
    assert model.voxels.table is table
    model.refine(10, optimizer)
    wanted = [(x, y, z) for x in (1, 2, 3) for y in (2, 3, 4) for z in (3, 4, 5)]
    kept = model.voxels.grid.occupancy().nonzero().tolist()
    assert [tuple(c) for c in kept] == wanted
    rows = {tuple(v): i for i, v in enumerate(grid.vertices.tolist())}
    old = torch.tensor([rows[tuple(v)] for v in model.voxels.grid.vertices.tolist()])
    assert torch.equal(model.voxels.table, table[old])
    assert list(optimizer.state) == [model.voxels.table]
    assert optimizer.param_groups[0]["params"] == [model.voxels.table]
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(optimizer.state[model.voxels.table][name], state[name][old])
    assert optimizer.state[model.voxels.table]["step"] == 1
    assert len(model.seen) == 27
    assert model.seen.max() == 0.25  # what was seen once fades
    model.voxels.table.grad = torch.ones_like(model.voxels.table)
    before = model.voxels.table.detach().clone()
    optimizer.step()
    assert (model.voxels.table != before).all()


def test_a_finer_grid_takes_over_the_field_and_starts_the_moments_anew():
    model, optimizer = coarse_to_fine()
    see(model, [(2, 3, 4), (5, 5, 2)])
    unit = (torch.tensor([[2.3, 3.6, 4.2], [5.5, 5.9, 2.1]]) + torch.zeros(2, 3)) / torch.tensor(
        model.voxels.grid.shape
    )
    wanted, _ = model.voxels.values_at(unit)
    model.refine(20, optimizer)
    assert model.voxels.grid.shape == shape_at(model.voxels.space, 16) == (16, 16, 12)
    found, exists = model.voxels.values_at(unit)
    assert exists.all()
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-3)
    assert len(model.voxels.grid.cells) == 2 * 27 * 8
    assert not optimizer.state
    assert optimizer.param_groups[0]["params"] == [model.voxels.table]
    assert torch.equal(model.seen, torch.zeros(len(model.voxels.grid.cells)))


def test_nothing_goes_while_nothing_was_learnt_or_there_is_little_to_gain():
    model, optimizer = coarse_to_fine()
    table = model.voxels.table
    model.refine(10, optimizer)  # no ray has seen anything
    assert model.voxels.table is table
    everything = model.voxels.grid.occupancy().nonzero().tolist()
    see(model, [tuple(c) for c in everything[:-1]])
    model.refine(10, optimizer)
    assert model.voxels.table is table


def test_smoothness_follows_the_grid():
    model, optimizer = coarse_to_fine()
    model.train()
    losses = []
    for step in (None, 10):
        if step:
            see(model, [(2, 3, 4)])
            model.refine(step, optimizer)
        losses.append(model.losses(batch())[0]["smoothness"])
    assert losses[0] != losses[1]


def test_a_checkpoint_of_another_stage_loads():
    model, optimizer = coarse_to_fine()
    see(model, [(2, 3, 4)])
    model.refine(20, optimizer)
    fresh, _ = coarse_to_fine()
    fresh.load_state_dict(model.state_dict())
    assert isinstance(fresh.voxels.grid, SparseGrid)
    fresh.eval()
    model.eval()
    for name, part in vars(model.shoot_rays(rays())).items():
        assert torch.equal(getattr(fresh.shoot_rays(rays()), name), part)
    fresh.train()
    fresh.losses(batch())
    assert len(fresh.seen) == len(fresh.voxels.grid.cells)


def test_voxels_are_cubes_and_the_longest_side_has_as_many_as_asked_for():
    space = Space("bounded", torch.tensor([[0.0, 0.0, 0.0], [4.0, 2.0, 3.0]]))
    assert shape_at(space, 10) == (10, 5, 8)
    assert step_length(space, (10, 5, 8), 1.0) == pytest.approx(3 / 8)
    assert shape_at(Space("unbounded"), 12) == (12, 12, 12)


def test_a_run_of_arf_0_1_loads():
    """Its tensors had other names, and one of nerfstudio's among them."""
    model, fresh = ball_model(), ball_model(12)
    old = {name.replace("voxels.", "field."): value for name, value in model.state_dict().items()}
    fresh.load_state_dict({**old, "device_indicator_param": torch.empty(0)})
    for name, value in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name


def test_vertices_by_their_numbers_in_the_grid_are_found_again():
    model = ball_model()
    some = torch.tensor([3, 5, 100, model.count - 1])
    keys = linear_index(model.voxels.grid.vertices[some], tuple(n + 1 for n in model.shape))
    assert torch.equal(model.adopt(model.shape, keys), some)
    for shape, wrong in ((model.shape, keys - 1), (model.shape, keys + 10**6), ((9, 9, 9), keys)):
        with pytest.raises(UserError, match="none of the grid's"):
            model.adopt(shape, wrong)

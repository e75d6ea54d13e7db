"""The voxel backbone as a model: rendering against autograd through dense sums, losses, coarse to fine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor
from voxels import BOX, around, ball_model, dense_render

from arf.radiance.capture.capture import Views
from arf.radiance.fields.voxel.grid import SparseGrid
from arf.radiance.fields.voxel.march import step_length
from arf.radiance.fields.voxel.model import VoxelModel, VoxelModelConfig, composited, shape_at
from arf.radiance.fields.voxel.space import Space

MODELS = {
    "colour behind": lambda: ball_model(),
    "last sample behind": lambda: ball_model(background="last"),
    "unbounded": lambda: ball_model(24, kind="unbounded", background="last"),
}


def bundle() -> RayBundle:
    origins, directions = Views(around(1), [Path()]).rays(0)
    return RayBundle(origins=origins, directions=directions, pixel_area=torch.ones_like(origins[:, :1]))


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_dense_renderings(name):
    model = MODELS[name]()
    outputs = model(bundle())
    picture, weights, leftover, depth = dense_render(model, bundle().origins, bundle().directions)
    torch.testing.assert_close(outputs["rgb"].double(), picture.clamp(0, 1), rtol=0, atol=1e-5)
    torch.testing.assert_close(outputs["accumulation"][:, 0].double(), 1 - leftover, rtol=0, atol=1e-5)
    hit = weights.sum(1) > 0.01
    wanted = weights.sum(1) / (weights / depth).sum(1).clamp_min(1e-9)  # harmonic
    torch.testing.assert_close(outputs["depth"][:, 0].double()[hit], wanted[hit], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_density_and_colour_are_those_of_dense_rendering(name, monkeypatch):
    model = MODELS[name]()
    target = torch.rand(280, 3, generator=torch.Generator().manual_seed(0))
    wanted_picture = dense_render(model, bundle().origins, bundle().directions)[0]
    wanted = torch.autograd.grad((wanted_picture - target).square().mean(), model.field.table)[0]
    model.train()
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, 0.5))  # no jitter
    found = torch.autograd.grad((model(bundle())["rgb"] - target).square().mean(), model.field.table)[0]
    assert relative(found[:, 1:], wanted[:, 1:]) < 1e-5
    assert relative(found[:, 0], wanted[:, 0]) < 1e-4
    assert wanted[:, 0].norm() > 1e-5


def test_with_the_last_sample_behind_weights_sum_to_one_wherever_something_is():
    model = ball_model(background="last")
    samples, weights, leftover, _ = model.samples(bundle().origins, bundle().directions)
    total = torch.zeros(280).index_add(0, samples.ray, weights)
    some = samples.starts.diff() > 0
    torch.testing.assert_close(total, some.float(), rtol=0, atol=1e-5)
    torch.testing.assert_close(leftover, (~some).float(), rtol=0, atol=1e-6)


def test_training_jitters_within_a_step_and_notes_which_cells_were_seen():
    model = ball_model().train()
    torch.manual_seed(0)
    first, second = model(bundle()), model(bundle())
    assert not torch.equal(first["rgb"], second["rgb"])
    assert (first["rgb"] - second["rgb"]).abs().mean() < 0.05
    model.eval()
    samples, weights, _, _ = model.samples(bundle().origins, bundle().directions)
    fresh = ball_model()
    fresh.training = True
    fresh.samples = lambda *_: (samples, weights, torch.zeros(280), torch.zeros(len(weights), 3))
    fresh.get_outputs(bundle())
    wanted = torch.zeros(len(fresh.seen))
    for cell, weight in zip(samples.cell.tolist(), weights.tolist(), strict=True):
        wanted[cell] = max(wanted[cell].item(), weight)
    torch.testing.assert_close(fresh.seen, wanted)


def test_losses_are_their_weighted_definitions():
    model = ball_model(distortion=0.3, smoothness=0.2, color_smoothness=0.7).train()
    torch.manual_seed(1)
    outputs = model(bundle())
    image = torch.rand(280, 4)
    losses = model.get_loss_dict(outputs, {"image": image})
    truth = image[:, :3] * image[:, 3:] + (1 - image[:, 3:]) * model.background
    torch.testing.assert_close(losses["rgb"], (outputs["rgb"] - truth).square().mean())
    torch.testing.assert_close(losses["distortion"], 0.3 * outputs["distortion"])
    vertices, table = model.field.grid.vertices, model.field.table
    rows = {tuple(v): i for i, v in enumerate(vertices.tolist())}
    strength = torch.tensor([0.2, 0.7, 0.7, 0.7])
    total = 0
    for (x, y, z), i in rows.items():
        for neighbour in ((x + 1, y, z), (x, y + 1, z), (x, y, z + 1)):
            if neighbour in rows:
                total = total + (strength * (table[i] - table[rows[neighbour]]).square()).sum()
    torch.testing.assert_close(losses["smoothness"], total / (2 * len(rows)))
    assert set(model.eval().get_loss_dict(outputs, {"image": image})) == {"rgb"}


def coarse_to_fine() -> tuple[VoxelModel, torch.optim.Optimizer]:
    """A model of stages 8, 16 over 40 steps, after one step of Adam."""
    config = VoxelModelConfig(
        resolutions=(8, 16), stages=(0.5,), total_steps=40, prune_every=10, prune_below=0.1, background="0,0,0"
    )
    metadata = {"kind": "bounded", "space_box": BOX}
    model = config.setup(scene_box=SceneBox(aabb=BOX), num_train_data=1, metadata=metadata)
    optimizer = torch.optim.Adam([model.field.table], lr=0.01)
    generator = torch.Generator().manual_seed(0)
    model.field.table.grad = torch.randn(model.field.table.shape, generator=generator)
    optimizer.step()
    return model, optimizer


def see(model: VoxelModel, cells: list[tuple[int, int, int]], weight: float = 0.5) -> None:
    mask = torch.zeros(model.field.grid.shape)
    for cell in cells:
        mask[cell] = weight
    model.seen = mask.view(-1)[model.field.grid.cells].clone()


def test_stages_begin_at_their_shares_of_all_steps():
    model, _ = coarse_to_fine()
    assert [model.stage(s) for s in (0, 19, 20, 40)] == [0, 0, 1, 1]


def test_pruning_keeps_seen_cells_their_neighbours_and_their_moments():
    model, optimizer = coarse_to_fine()
    grid, table, state = model.field.grid, model.field.table, dict(optimizer.state[model.field.table])
    see(model, [(2, 3, 4)])
    model.refine(7, optimizer)  # no step for pruning
    assert model.field.table is table
    model.refine(10, optimizer)
    wanted = [(x, y, z) for x in (1, 2, 3) for y in (2, 3, 4) for z in (3, 4, 5)]
    kept = model.field.grid.occupancy().nonzero().tolist()
    assert [tuple(c) for c in kept] == wanted
    rows = {tuple(v): i for i, v in enumerate(grid.vertices.tolist())}
    old = torch.tensor([rows[tuple(v)] for v in model.field.grid.vertices.tolist()])
    assert torch.equal(model.field.table, table[old])
    assert list(optimizer.state) == [model.field.table]
    assert optimizer.param_groups[0]["params"] == [model.field.table]
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(optimizer.state[model.field.table][name], state[name][old])
    assert optimizer.state[model.field.table]["step"] == 1
    assert len(model.seen) == 27
    assert model.seen.max() == 0.25  # what was seen once fades
    model.field.table.grad = torch.ones_like(model.field.table)
    before = model.field.table.detach().clone()
    optimizer.step()
    assert (model.field.table != before).all()


def test_a_finer_grid_takes_over_the_field_and_starts_the_moments_anew():
    model, optimizer = coarse_to_fine()
    see(model, [(2, 3, 4), (5, 5, 2)])
    unit = (torch.tensor([[2.3, 3.6, 4.2], [5.5, 5.9, 2.1]]) + torch.zeros(2, 3)) / torch.tensor(model.field.grid.shape)
    wanted, _ = model.field.values_at(unit)
    model.refine(20, optimizer)
    assert model.field.grid.shape == shape_at(model.field.space, 16) == (16, 16, 12)
    found, exists = model.field.values_at(unit)
    assert exists.all()
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-3)
    assert len(model.field.grid.cells) == 2 * 27 * 8
    assert not optimizer.state
    assert optimizer.param_groups[0]["params"] == [model.field.table]
    assert torch.equal(model.seen, torch.zeros(len(model.field.grid.cells)))


def test_nothing_goes_while_nothing_was_learnt_or_there_is_little_to_gain():
    model, optimizer = coarse_to_fine()
    table = model.field.table
    model.refine(10, optimizer)  # no ray has seen anything
    assert model.field.table is table
    everything = model.field.grid.occupancy().nonzero().tolist()
    see(model, [tuple(c) for c in everything[:-1]])
    model.refine(10, optimizer)
    assert model.field.table is table


def test_smoothness_follows_the_grid():
    model, optimizer = coarse_to_fine()
    model.train()
    losses = []
    for step in (None, 10):
        if step:
            see(model, [(2, 3, 4)])
            model.refine(step, optimizer)
        losses.append(model.get_loss_dict(model(bundle()), {"image": torch.rand(280, 3)})["smoothness"])
    assert losses[0] != losses[1]


def test_a_checkpoint_of_another_stage_loads():
    model, optimizer = coarse_to_fine()
    see(model, [(2, 3, 4)])
    model.refine(20, optimizer)
    fresh, _ = coarse_to_fine()
    fresh.load_state_dict(model.state_dict())
    assert isinstance(fresh.field.grid, SparseGrid)
    fresh.eval()
    model.eval()
    for name, picture in model(bundle()).items():
        assert torch.equal(fresh(bundle())[name], picture)
    fresh.train()
    fresh(bundle())
    assert len(fresh.seen) == len(fresh.field.grid.cells)


def test_voxels_are_cubes_and_the_longest_side_has_as_many_as_asked_for():
    space = Space("bounded", torch.tensor([[0.0, 0.0, 0.0], [4.0, 2.0, 3.0]]))
    assert shape_at(space, 10) == (10, 5, 8)
    assert step_length(space, (10, 5, 8), 1.0) == pytest.approx(3 / 8)
    assert shape_at(Space("unbounded"), 12) == (12, 12, 12)


def test_transparent_pictures_are_laid_on_the_background():
    background = torch.tensor([0.0, 0.5, 1.0])
    pixels = torch.tensor([[1.0, 1.0, 1.0, 0.25], [0.2, 0.4, 0.6, 1.0]])
    wanted = torch.tensor([[0.25, 0.625, 1.0], [0.2, 0.4, 0.6]])
    torch.testing.assert_close(composited(pixels, background), wanted)
    assert torch.equal(composited(wanted, background), wanted)

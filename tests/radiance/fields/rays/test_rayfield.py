"""Traced rays against dense rendering of every step."""

from __future__ import annotations

import pytest
import torch
from voxels import around, ball_model, dense_render

from arf.radiance.fields.field import Trace
from arf.radiance.fields.rays.samples import hand_over, heaviest
from arf.radiance.fields.voxel import field
from arf.radiance.fields.voxel.grid import CORNERS

MODELS = {
    "colour behind": lambda: ball_model(),
    "last sample behind": lambda: ball_model(background="last"),
    "unbounded": lambda: ball_model(24, kind="unbounded"),
}


def rays(views: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    origins, directions = zip(*(camera.rays() for camera in around(views)), strict=True)
    return torch.cat(origins), torch.cat(directions)


def shown(traced: Trace, colors: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """The picture that a trace gives columns of these colours, by hand."""
    row = torch.repeat_interleave(torch.arange(len(traced.leftover)), traced.starts.diff())
    picture = traced.leftover[:, None] * background
    return picture.index_add(0, row, traced.weights[:, None] * colors[traced.columns.long()])


@pytest.mark.parametrize("name", MODELS)
def test_trace_renders_what_dense_marching_renders(name):
    model = MODELS[name]()
    model.chunk = 100  # several chunks, the last one cut
    traced = model.trace_rays(rays())
    picture, weights, leftover, depth = dense_render(model, *rays())
    torch.testing.assert_close(traced.color.double(), picture, rtol=0, atol=2e-6)
    torch.testing.assert_close(shown(traced, model.colors, model.background), traced.color, rtol=0, atol=2e-6)
    torch.testing.assert_close(traced.leftover.double(), leftover, rtol=0, atol=2e-6)
    assert traced.rest is None  # every sample lies between vertices of its own
    assert int(traced.starts[-1]) == len(traced.columns) == len(traced.weights)
    total = weights.sum(1)
    hit = total > 1e-3
    wanted = total[hit] / (weights / depth).sum(1)[hit]  # harmonic
    torch.testing.assert_close(traced.depth.double()[hit], wanted, rtol=1e-4, atol=0)
    assert picture.detach().std(0).min() > 0.03  # something is to be seen
    assert hit.float().mean() > 0.1


@pytest.mark.parametrize("name", MODELS)
def test_a_shot_is_the_traces_picture(name, monkeypatch):
    monkeypatch.setattr(field, "suits", lambda *_: False)  # a voxel grid's own way is in test_composite.py
    model = MODELS[name]()
    model.chunk = 100
    shot, traced = model.shoot_rays(rays()), model.trace_rays(rays())
    torch.testing.assert_close(shot.color, traced.color, rtol=0, atol=1e-6)
    assert torch.equal(shot.depth, traced.depth)
    torch.testing.assert_close(shot.opacity, 1 - traced.leftover)
    heavy = (dense_render(model, *rays())[1] > 0.01).sum(1)
    assert (shot.samples - heavy).abs().sum() <= 2  # those that weigh 0.01 to rounding


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("drop_weight", [0.0, 0.002, 0.1, 2.0])
def test_weights_and_leftover_share_out_one_whatever_is_left_out(name, drop_weight):
    traced = MODELS[name]().trace_rays(rays(), drop_weight)
    ones = torch.ones(int(traced.columns.max()) + 1 if len(traced.columns) else 1, 1)
    total = shown(traced, ones, torch.ones(1))
    torch.testing.assert_close(total, torch.ones(len(traced.leftover), 1), rtol=0, atol=1e-5)
    assert (traced.starts.diff() >= 0).all()
    if drop_weight == 2:
        assert len(traced.weights) == 0


def test_the_heaviest_samples_are_kept_in_their_order():
    weight = torch.tensor([0.1, 0.5, 0.05, 0.3, 0.02, 0.02, 0.04, 0.9])
    ray = torch.tensor([0, 0, 0, 0, 2, 2, 2, 3])
    kept = heaviest(weight, torch.tensor([0, 4, 4, 7, 8]), ray, 0.1)
    assert kept.tolist() == [True, True, False, True, False, False, False, True]


def test_weight_is_handed_to_the_nearest_sample_of_the_same_ray():
    ray = torch.tensor([0, 0, 0, 0, 1, 1])
    arc = torch.tensor([0.0, 1.0, 1.2, 3.0, 0.0, 0.1])
    weight = torch.tensor([0.5, 0.03, 0.02, 0.4, 0.01, 0.02])
    handed = hand_over(weight, ray, arc, torch.tensor([0, 3]))
    torch.testing.assert_close(handed, torch.tensor([0.55, 0.0, 0.0, 0.4, 0.0, 0.0]))  # ray 1 has nobody left


@pytest.mark.parametrize("name", MODELS)
def test_leaving_out_light_samples_changes_pixels_by_less_than_two_levels(name):
    model = MODELS[name]()
    everything, light = model.trace_rays(rays()), model.trace_rays(rays(), 0.002)
    assert len(light.weights) < 0.9 * len(everything.weights)
    difference = (everything.color.clamp(0, 1) - light.color.clamp(0, 1)).abs()
    assert difference.max() <= 2 / 255
    assert difference.mean() <= 0.2 / 255


def test_columns_are_the_rows_of_the_vertices_around_the_samples():
    model = ball_model(12)
    samples = model.samples(*rays(1))[0]
    columns, share = model.columns(samples)
    cell = torch.stack(torch.unravel_index(model.voxels.grid.cells[samples.cell.long()], model.shape), -1)
    assert torch.equal(model.voxels.grid.vertices[columns.long()], (cell[:, None] + CORNERS).int())
    torch.testing.assert_close(share @ CORNERS.float(), samples.fraction)
    torch.testing.assert_close(model.places(samples), cell + samples.fraction)


def test_colours_of_the_samples_are_the_fields_own():
    model = ball_model(12)
    samples, _, _, rgb = model.samples(*rays(1))
    values, found = model.voxels.values_at(model.places(samples) / torch.tensor(model.shape))
    assert found.all()
    torch.testing.assert_close(rgb, values[:, 1:], rtol=0, atol=1e-3)  # a place near a face may take either side


def test_surfaces_are_where_half_of_the_weight_is_passed():
    model = ball_model()
    surface = model.surface_rays(rays())
    _, weights, leftover, depth = dense_render(model, *rays())
    passed = weights.cumsum(1)
    hit = passed[:, -1] > 0.3
    before = (passed < passed[:, -1:] / 2).sum(1)  # the sample in which it is
    step = depth.diff(dim=1).mean()
    found = surface.depth.double()[hit]
    assert ((found - depth.gather(1, before[:, None])[:, 0][hit]).abs() <= 0.51 * step).all()
    torch.testing.assert_close(surface.opacity.double(), 1 - leftover, rtol=0, atol=1e-5)
    assert (surface.depth[passed[:, -1] == 0] == 1e6).all()
    assert ((surface.solid >= 0) & (surface.solid <= 1.0001)).all()
    assert surface.solid[hit].mean() > 0.9


def test_no_rays_and_no_hits():
    model = ball_model(12)
    away = torch.full((3, 3), 5.0), torch.nn.functional.normalize(torch.ones(3, 3), dim=1)
    traced = model.trace_rays(away)
    assert torch.equal(traced.color, model.background.expand(3, 3))
    assert torch.equal(traced.leftover, torch.ones(3))
    assert traced.starts.tolist() == [0, 0, 0, 0]

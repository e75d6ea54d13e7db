"""Traced rays against dense rendering of every step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from voxels import around, ball_model, dense_render

from arf.radiance.capture.capture import Views
from arf.radiance.fields.trace import hand_over, heaviest, trace
from arf.radiance.fields.voxel.grid import CORNERS, linear_index

MODELS = {
    "colour behind": lambda: ball_model(),
    "last sample behind": lambda: ball_model(background="last"),
    "unbounded": lambda: ball_model(24, kind="unbounded"),
}


def rays(views: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    cameras = Views(around(views), [Path()] * views)
    origins, directions = zip(*(cameras.rays(i) for i in range(views)), strict=True)
    return torch.cat(origins), torch.cat(directions)


@pytest.mark.parametrize("name", MODELS)
def test_trace_renders_what_dense_marching_renders(name):
    model = MODELS[name]()
    model.config.eval_num_rays_per_chunk = 100  # several chunks, the last one cut
    traced = trace(model, *rays())
    picture, weights, leftover, depth = dense_render(model, *rays())
    found = traced.composite(traced.rgb, model.background)
    torch.testing.assert_close(found.double(), picture, rtol=0, atol=2e-6)
    torch.testing.assert_close(traced.leftover.double(), leftover, rtol=0, atol=2e-6)
    total = weights.sum(1)
    hit = total > 1e-3
    wanted = total[hit] / (weights / depth).sum(1)[hit]  # harmonic
    torch.testing.assert_close(traced.depth.double()[hit], wanted, rtol=1e-4, atol=0)
    assert picture.detach().std(0).min() > 0.03  # something is to be seen
    assert hit.float().mean() > 0.1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("drop_weight", [0.0, 0.002, 0.1, 2.0])
def test_weights_and_leftover_share_out_one_whatever_is_left_out(name, drop_weight):
    traced = trace(MODELS[name](), *rays(), drop_weight)
    total = torch.zeros(traced.rays).index_add(0, traced.ray, traced.weight) + traced.leftover
    torch.testing.assert_close(total, torch.ones(traced.rays), rtol=0, atol=1e-5)
    assert (traced.ray.diff() >= 0).all()
    if drop_weight == 2:
        assert len(traced.weight) == 0


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
    everything, light = trace(model, *rays()), trace(model, *rays(), 0.002)
    assert len(light.weight) < 0.9 * len(everything.weight)
    pictures = [t.composite(t.rgb, model.background).clamp(0, 1) for t in (everything, light)]
    difference = (pictures[0] - pictures[1]).abs()
    assert difference.max() <= 2 / 255
    assert difference.mean() <= 0.2 / 255


def test_vertices_are_those_of_the_samples_cells():
    model = ball_model(12)
    traced = trace(model, *rays(1))
    shape = model.field.grid.shape
    index, share = traced.vertices(shape)
    cell = torch.stack(torch.unravel_index(traced.cell, shape), -1)
    wanted = linear_index(cell[:, None] + CORNERS, tuple(n + 1 for n in shape))
    assert torch.equal(index, wanted)
    torch.testing.assert_close(share @ CORNERS.float(), traced.fraction)


def test_colours_of_the_trace_are_the_fields_own():
    model = ball_model(12)
    traced = trace(model, *rays(1))
    cell = torch.stack(torch.unravel_index(traced.cell, model.field.grid.shape), -1)
    unit = (cell + traced.fraction) / torch.tensor(model.field.grid.shape)
    values, found = model.field.values_at(unit)
    assert found.all()
    torch.testing.assert_close(traced.rgb, values[:, 1:], rtol=0, atol=1e-3)  # a place near a face may take either side


def test_no_rays_and_no_hits():
    model = ball_model(12)
    away = torch.full((3, 3), 5.0), torch.nn.functional.normalize(torch.ones(3, 3), dim=1)
    traced = trace(model, *away)
    assert torch.equal(traced.composite(traced.rgb, model.background), model.background.expand(3, 3))
    assert torch.equal(traced.leftover, torch.ones(3))

"""Splines through poses: they interpolate, are smooth, and visit views in a sensible order."""

from __future__ import annotations

import pytest
import torch
from captures import ring
from torch.nn.functional import normalize

from arf.radiance.paths import splines


def test_interpolation_passes_through_the_key_views():
    poses = ring(5, arc=3.0)
    path = splines.smooth_poses(poses, 401)
    for pose in poses:
        nearest = (path[:, :, 3] - pose[:, 3]).norm(dim=1).argmin()
        torch.testing.assert_close(path[nearest], pose, atol=0.01, rtol=0)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_closed_curve_has_no_seam(count):
    poses = ring(count)
    path = splines.smooth_poses(poses, 240, closed=True)
    torch.testing.assert_close(path[0], poses[0], atol=1e-5, rtol=0)
    again = splines.smooth_poses(poses.roll(-1, 0), 240, closed=True)  # begins at the second key
    start = int((path - poses[1]).abs().amax((1, 2)).argmin())
    torch.testing.assert_close(path.roll(-start, 0), again, atol=0.03, rtol=0)
    steps = (path.roll(-1, 0) - path)[:, :, 3]
    if count == 8:  # they lie on a circle, nearly
        assert path[:, :2, 3].norm(dim=1).sub(2).abs().max() < 0.02
        torch.testing.assert_close(steps.norm(dim=1), torch.full((240,), 4 * torch.pi / 240), rtol=0.06, atol=0)


def test_order_follows_the_file_unless_it_jumps():
    poses = ring(20, arc=4.0)
    assert splines.nearest_neighbour_order(poses) == list(range(20))
    shuffled = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    order = shuffled[splines.nearest_neighbour_order(poses[shuffled])].tolist()
    assert order in (list(range(20)), list(range(20))[::-1])


@pytest.mark.parametrize("mix", [splines.lerp, splines.slerp])
def test_spline_is_smooth_and_interpolates(mix):
    generator = torch.Generator().manual_seed(2)
    values = normalize(torch.randn(6, 4, generator=generator, dtype=torch.float64), dim=1)
    values = torch.where((values @ values[0])[:, None] < 0, -values, values)
    knots = torch.tensor([0.0, 1.0, 1.5, 3.0, 3.2, 5.0], dtype=torch.float64)
    torch.testing.assert_close(splines.catmull_rom(values, knots, knots, mix).abs(), values.abs(), atol=1e-9, rtol=0)
    h = 1e-5
    for knot in knots[1:-1]:
        at = knot + torch.tensor([-h, 0, h], dtype=torch.float64)
        before, middle, after = splines.catmull_rom(values, knots, at, mix)
        torch.testing.assert_close((middle - before) / h, (after - middle) / h, atol=1e-3, rtol=0)


def test_slerp_by_hand():
    a = torch.tensor([[1.0, 0, 0, 0]])  # no turn
    b = torch.tensor([[0.5, 0, 0, 3**0.5 / 2]])  # 120° about z
    half, twice = (splines.slerp(a, b, torch.tensor([[t]])) for t in (0.5, 2.0))
    torch.testing.assert_close(half, torch.tensor([[3**0.5 / 2, 0, 0, 0.5]]))  # 60°
    torch.testing.assert_close(twice, torch.tensor([[-0.5, 0, 0, 3**0.5 / 2]]))  # 240°
    torch.testing.assert_close(splines.slerp(a, a, torch.tensor([[0.3]])), a)

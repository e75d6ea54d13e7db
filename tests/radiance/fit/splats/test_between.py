"""Surfaces between points: exact on planes, and the nearest where several lie behind each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.formats.points import Points
from arf.radiance.fields.field import NOWHERE
from arf.radiance.fit.splats.between import Between

VIEW = Camera(torch.eye(3, 4), 60.0, 60.0, 24.0, 20.0, 48, 40)  # looks along −z


def on_plane(count: int, normal, distance: float, reach: float = 4.0) -> np.ndarray:
    """Points with normal · x = −distance that the view's neighbourhood sees."""
    xy = np.random.default_rng(0).uniform(-reach, reach, (count, 2))
    normal = np.array(normal)
    return np.concatenate([xy, (-distance - xy @ normal[:2])[:, None] / normal[2]], 1)


def between(*places: np.ndarray) -> Between:
    together = np.concatenate(places)
    return Between(Points(together, np.zeros_like(together, np.uint8)))


def inner(depths: torch.Tensor) -> torch.Tensor:
    """Without those at the edge, which is as far as the nearest point."""
    return depths.view(VIEW.size)[6:-6, 6:-6]


def test_a_plane_is_found_exactly():
    normal, distance = np.array([0.2, -0.1, 1.0]), 3.0
    found = between(on_plane(3000, normal, distance)).surface(VIEW)
    _, directions = VIEW.rays()
    true = -distance / (directions @ torch.from_numpy(normal).float())
    torch.testing.assert_close(inner(found.depth), inner(true), rtol=1e-5, atol=0)
    assert (found.depth / true - 1).abs().max() < 0.1
    assert (found.opacity == 1).all()


def test_what_lies_behind_is_not_seen(monkeypatch):
    monkeypatch.setattr("arf.radiance.fit.splats.between.CELLS", 400)
    front, back = on_plane(100_000, (0, 0, 1.0), 2.0, 3.0), on_plane(100_000, (0, 0, 1.0), 5.0, 6.0)
    surface = between(back, front)
    _, directions = VIEW.rays()
    np.testing.assert_allclose(inner(surface.surface(VIEW).depth * -directions[:, 2]), 2.0, rtol=1e-5)


def test_too_few_points_are_no_surface():
    few = between(on_plane(10, (0, 0, 1.0), 2.0, 0.5))
    found = few.surface(VIEW)
    assert (found.depth == NOWHERE).all()
    assert not found.opacity.any()
    assert few.views([VIEW, VIEW]) == 0
    behind = between(-on_plane(1000, (0, 0, 1.0), 2.0))
    assert behind.views([VIEW]) == 0
    many = between(on_plane(1000, (0, 0, 1.0), 2.0))
    assert many.views([VIEW, VIEW]) == 2


def test_cells_bound_how_many_are_taken():
    surface = between(on_plane(200_000, (0, 0, 1.0), 2.0))
    wide = VIEW.resized(480, 400)
    pixels, _ = surface._seen(wide)
    assert 1000 < len(pixels) <= 1150
    assert (pixels > 0).all()
    assert pytest.approx(pixels.mean(0), rel=0.05) == [240, 200]

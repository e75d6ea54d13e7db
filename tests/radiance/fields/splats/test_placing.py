"""Splats laid on surfaces: where rays meet them, in the colours and sizes of the pixels."""

from __future__ import annotations

import pytest
import torch
from gaussians import camera, sphere

from arf.errors import UserError
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.placing import on_surfaces

GREY = torch.full((3,), 0.5)
VIEWS = [camera(48, 40, angle=float(angle)) for angle in torch.linspace(0, 6, 5)]


@pytest.fixture(scope="module")
def field() -> SplatField:
    return SplatField(sphere(2000), GREY, torch.device("cpu"))


@pytest.fixture(scope="module")
def pictures(field) -> list[torch.Tensor]:
    return [field.render(view, field.colors, GREY) for view in VIEWS]


def test_they_lie_where_the_field_is_and_look_as_it_does(field, pictures):
    placed = on_surfaces(field, VIEWS, pictures, 1, 1500, 0.9)
    assert len(placed) == 1500
    assert (placed.means.norm(dim=1) - 1).abs().quantile(0.9) < 0.1
    nearest = torch.cdist(placed.means, field.splats.means).argmin(1)
    assert (placed.colors - field.splats.colors[nearest]).abs().mean() < 0.05
    found = [field.surface(view) for view in VIEWS]
    depths = torch.cat([surface.depth[surface.opacity >= 0.3] for surface in found])
    pixels = len(depths) / len(VIEWS)  # of a view that see something
    side = float(depths.median() / VIEWS[0].fx) * (pixels / 1500) ** 0.5
    assert float(placed.scales.median()) == pytest.approx(side, rel=0.02)


def test_as_many_as_the_pixels_allow_and_the_same_for_a_seed(field, pictures):
    few = on_surfaces(field, VIEWS, pictures, 20, 10_000, 0.9)
    assert 50 < len(few) < 5 * 48 * 40 / 20
    assert torch.equal(few.means, on_surfaces(field, VIEWS, pictures, 20, 10_000, 0.9).means)
    assert not torch.equal(few.means, on_surfaces(field, VIEWS, pictures, 20, 10_000, 0.9, seed=1).means)


def test_what_is_masked_gets_none(field, pictures):
    left = torch.zeros(40, 48, dtype=torch.bool)
    left[:, :24] = True
    placed = on_surfaces(field, VIEWS[:1], pictures[:1], 1, 10_000, 0.9, masks=[left])
    local = (placed.means - VIEWS[0].pose[:, 3]) @ VIEWS[0].pose[:, :3]
    assert (VIEWS[0].fx * local[:, 0] / -local[:, 2] + VIEWS[0].cx < 24.01).all()


def test_where_nothing_is_seen_there_is_one_line(field, pictures):
    none = torch.zeros(40, 48, dtype=torch.bool)
    with pytest.raises(UserError, match="no surface is seen"):
        on_surfaces(field, VIEWS[:1], pictures[:1], 1, 10, 0.9, masks=[none])

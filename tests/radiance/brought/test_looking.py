"""From where splats are looked at: around things, inside places, whatever floats about."""

from __future__ import annotations

import pytest
import torch
from gaussians import box, join, scattered, sphere
from torch.nn.functional import normalize

from arf.radiance.brought.around import around
from arf.radiance.brought.looking import look
from arf.radiance.brought.mass import mass_of
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.splats import Splats

GREY = torch.full((3,), 0.5)


def field_of(splats: Splats) -> SplatField:
    return SplatField(splats, GREY, torch.device("cpu"))


def opacities(field: SplatField, cameras) -> torch.Tensor:
    return torch.stack([field.shoot(camera).opacity.view(camera.size) for camera in cameras])


def outward(cameras, centre) -> torch.Tensor:
    """Cosines between where cameras look and the direction from a centre to them."""
    away = normalize(cameras.poses[:, :, 3] - torch.as_tensor(centre), dim=1)
    return (-cameras.poses[:, :, 2] * away).sum(1)


def person() -> Splats:
    """Something tall and thin, standing aside of the origin."""
    thing = sphere(6000)
    thing.means[:] = thing.means * torch.tensor([0.2, 0.25, 0.9]) + torch.tensor([3.0, 1.0, 0.0])
    thing.scales[:] *= 0.5
    return thing


def test_an_object_fills_its_pictures():
    field = field_of(person())
    cameras = look(field, field.splats, "auto", 12, 96)
    assert len(cameras) == 12
    assert (outward(cameras, (3.0, 1.0, 0.0)) < -0.99).all()
    assert int(cameras.height[0]) > 2 * int(cameras.width[0])  # as tall as the person
    seen = opacities(field, cameras) > 0.5
    rows, columns = seen.any(2), seen.any(1)
    assert (rows.float().mean(1) > 0.65).all()
    assert rows.float().mean(1).max() > 0.88
    assert not seen[:, 0].any()
    assert not seen[:, -1].any()
    assert columns.float().mean(1).max() > 0.6


def test_floaters_are_ignored():
    alone, among = person(), join(person(), scattered(60, 20.0))
    one, other = mass_of(alone), mass_of(among)
    torch.testing.assert_close(one.box, other.box, atol=0.05, rtol=0)
    near, far = around(one, 6, 64).poses[:, :, 3], look(field_of(among), among, "auto", 6, 64).poses[:, :, 3]
    torch.testing.assert_close(near, far, atol=0.3, rtol=0)


def test_a_room_is_looked_at_from_inside():
    room = join(box(20_000, (4.0, 3.0, 1.5)), scattered(50, 0.3, centre=(3.0, 2.0, -1.0)))
    field = field_of(room)
    cameras = look(field, room, "auto", 12, 64)
    positions = cameras.poses[:, :, 3]
    assert (positions.abs() < torch.tensor([4.0, 3.0, 1.5])).all()
    assert (opacities(field, cameras).flatten(1).mean(1) > 0.9).all()
    headings = torch.atan2(-cameras.poses[:, 1, 2], -cameras.poses[:, 0, 2]).sort().values
    assert headings.diff().max() < 1.5  # in all directions, not in one


def test_an_object_in_a_place_is_looked_at_from_between():
    """As in captures that walk around something out of doors: cameras stay within what surrounds it."""
    place = join(person(), box(12_000, (9.0, 9.0, 6.0), centre=(3.0, 1.0, 0.0)))
    cameras = look(field_of(place), place, "around", 8, 64)
    distances = (cameras.poses[:, :, 3] - torch.tensor([3.0, 1.0, 0.0])).norm(dim=1)
    assert (distances < 9).all()
    assert (outward(cameras, (3.0, 1.0, 0.0)) < -0.95).all()


@pytest.mark.parametrize(("stand", "least"), [("around", 0.5), ("inside", 0.99)])
def test_who_knows_better_may_say_so(stand, least):
    thing = sphere(4000)
    cameras = look(field_of(thing), thing, stand, 6, 48)
    away = cameras.poses[:, :, 3].norm(dim=1)
    assert ((away > 1.5) == (stand == "around")).all()
    assert (opacities(field_of(thing), cameras).flatten(1).mean(1) > least).all()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_few_splats_are_looked_at_too(count):
    few = sphere(count)
    cameras = look(field_of(few), few, "auto", 4, 48)
    assert cameras.poses.isfinite().all()

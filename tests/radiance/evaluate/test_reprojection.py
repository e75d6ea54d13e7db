"""Where pixels are in another picture, against walls and against rays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from walls import EDGE, FAR, NEAR, camera, wall

from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.poses import look_at
from arf.radiance.evaluate.reprojection import found_in, project
from arf.radiance.fields.field import NOWHERE
from arf.radiance.fields.seen import seen
from arf.radiance.opening import open_photoreal


def test_what_a_ray_passes_is_seen_at_its_pixel():
    pose = look_at(torch.tensor([1.0, -2.0, 0.5]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    eye = Camera(pose, 30.0, 34.0, 9.0, 8.0, 20, 14)
    origins, directions = eye.rays()
    distance = 0.5 + torch.rand(len(origins), generator=torch.Generator().manual_seed(0))
    places, found, ahead = project(origins + distance[:, None] * directions, eye)
    rows, columns = torch.meshgrid(torch.arange(14) + 0.5, torch.arange(20) + 0.5, indexing="ij")
    assert torch.allclose(places, torch.stack([columns.flatten(), rows.flatten()], 1), atol=1e-3)
    assert torch.allclose(found, distance, atol=1e-5)
    assert ahead.all()
    assert not project(origins - distance[:, None] * directions, eye)[2].any()


def test_a_wall_moves_by_as_many_pixels_as_the_camera_does():
    here, there = wall(camera(0))[0], wall(camera(3))[0]
    places, visible = found_in(here, there)
    columns = torch.arange(48) + 0.5
    assert torch.allclose(places[..., 0], (columns - 3).expand(32, 48), atol=1e-3)
    assert visible[:, 4:].all()
    assert not visible[:, :3].any()  # outside


def test_what_is_hidden_in_the_other_picture_is_not_seen_there():
    """The near wall moves by twice as many pixels as the far one behind it."""
    here, there = (wall(camera(k), near=True)[0] for k in (0, -4))
    _, visible = found_in(here, there)
    origins, directions = here.camera.rays()
    at = (origins + here.depth.view(-1, 1) * directions).view(32, 48, 3)
    eye = there.camera.pose[:, 3]
    passed = eye + (at - eye) * (NEAR / FAR)  # where the line to a place on the far wall passes the near one
    far = here.depth > 0.5 * (FAR + NEAR)
    hidden = far & (passed[..., 0] < EDGE) & (passed[..., 1].abs() < 0.35)
    assert hidden.any()
    assert not visible[hidden].any()
    inside = torch.arange(48).expand(32, 48) < 43
    assert visible[far & ~hidden & inside].float().mean() > 0.9  # but for pixels that mix the two


def test_nothing_is_nowhere_to_be_seen():
    here, there = wall(camera(0))[0], wall(camera(1))[0]
    here.depth[4:8] = NOWHERE
    there.depth[20:24] = NOWHERE
    _, visible = found_in(here, there)
    assert not visible[4:8].any()
    assert not visible[20:24].any()
    assert visible[10:18, 2:].all()


def test_a_distance_that_differs_by_more_than_a_hundredth_is_of_something_else():
    here, there = wall(camera(0))[0], wall(camera(0))[0]
    for factor, agrees in ((1.009, True), (0.991, True), (1.011, False), (0.989, False)):
        there.depth = here.depth * factor
        assert found_in(here, there)[1].all() == agrees


def test_every_camera_sees_the_surface_before_it(fitted):
    """The ray through the middle of a picture is the same in both."""
    field, capture = open_photoreal(fitted, torch.device("cpu"))
    pinhole = capture.train.cameras[0]
    height, width = pinhole.size
    fisheye = seen(field, replace(pinhole, kind="fisheye", cx=width / 2 + 0.5, cy=height / 2 + 0.5))
    middle = seen(field, replace(pinhole, cx=width / 2 + 0.5, cy=height / 2 + 0.5)).depth[height // 2, width // 2]
    assert fisheye.depth[height // 2, width // 2] == pytest.approx(float(middle), rel=1e-4)
    assert fisheye.covered.float().mean() > 0.5

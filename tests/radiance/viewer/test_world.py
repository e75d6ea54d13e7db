"""Cameras in viser's world and in ours."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from viser.transforms import SO3
from visitors import Compass

from arf.radiance.capture.cameras import Cameras
from arf.radiance.viewer.world import WALK, Gaze, World

UPRIGHT = torch.eye(4)[:3]  # looks along −z, y up


def test_axes_by_hand():
    """viser's camera without a turn looks along +z, its y down: in ours, half a turn about x."""
    look = Gaze((1.0, 0.0, 0.0, 0.0), (1.0, 2.0, 3.0), 1.0, 1.0)
    torch.testing.assert_close(
        look.pose, torch.tensor([[1.0, 0, 0, 1], [0, -1, 0, 2], [0, 0, -1, 3]]), atol=1e-6, rtol=0
    )
    _, directions = look.camera(1).rays()
    torch.testing.assert_close(directions, torch.tensor([[0.0, 0, 1]]))
    right_and_down = look.camera(3).rays()[1].reshape(3, 3, 3)[2, 2]
    assert right_and_down[0] > 0  # right is +x
    assert right_and_down[1] > 0  # down is +y


def test_a_picture_fills_the_window_at_any_size():
    look = Gaze((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.9, 1.7)
    torch.testing.assert_close(look.pose, UPRIGHT)
    for side in (32, 333, 960):
        camera = look.camera(side)
        assert max(camera.size) == camera.width == side
        assert camera.height == round(side / 1.7)
        assert camera.height / 2 / camera.fy == pytest.approx(math.tan(0.45))  # half the window, at distance 1
        assert camera.width / 2 / camera.fx == pytest.approx(1.7 * math.tan(0.45))
    assert Gaze((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.9, 0.5).camera(100).size == (100, 50)
    assert look.camera(look.side(10_000)).pixels == pytest.approx(10_000, rel=0.03)


@pytest.mark.parametrize("change", [{"aspect": 0.0}, {"aspect": math.nan}, {"fov": 0.0}, {"fov": 4.0}])
def test_a_window_without_a_picture(change):
    values = {"wxyz": (1.0, 0.0, 0.0, 0.0), "position": (0.0,) * 3, "fov": 1.0, "aspect": 1.0}
    assert Gaze(**values).possible
    assert not Gaze(**values | change).possible
    assert not Gaze(**values | {"position": (math.inf, 0.0, 0.0)}).possible
    assert not Gaze(**values | {"position": (0.0, -1e4, 0.0)}).possible  # to march past the scene would take for ever


def test_there_and_back():
    world = World.of(Compass().cameras)
    for pose in Compass().cameras.poses:
        wxyz, position = world.place(pose)
        camera = SimpleNamespace(wxyz=np.array(wxyz), position=np.array(position), fov=1.0, aspect=1.5)
        torch.testing.assert_close(world.look(camera).pose, pose, atol=1e-6, rtol=0)


def test_a_visitor_is_aimed_through_a_camera():
    """As viser finds a camera's axes: z to the target, y away from up."""
    world = World.of(Compass().cameras)
    rolled = world.start.clone()
    rolled[:, :3] = rolled[:, :3] @ torch.from_numpy(SO3.from_z_radians(0.4).as_matrix()).float()
    down = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 9]])  # along −z, which is down in this world
    for pose in (world.start, rolled, down):
        camera = SimpleNamespace()
        world.aim(camera, pose)
        z = camera.look_at - camera.position
        assert np.linalg.norm(z) == pytest.approx(WALK, rel=1e-5)
        z /= np.linalg.norm(z)
        x = np.cross(z, camera.up_direction)
        x /= np.linalg.norm(x)
        found = torch.from_numpy(np.stack([x, np.cross(x, z), -z, camera.position / world.scale], 1))
        torch.testing.assert_close(found.float(), pose, atol=1e-5, rtol=0)
    world.aim(camera, world.start)
    assert camera.up_direction @ world.up.numpy() == pytest.approx(1, abs=0.02)  # and not the picture's own
    world.aim(camera, world.start, torch.tensor([0.0, 1.0, 0.0]))
    assert abs(camera.up_direction @ world.start[:, 0].numpy()) < 1e-6


def test_the_start_is_the_first_camera_and_up_the_mean_of_all():
    cameras = Compass().cameras
    world = World.of(cameras)
    torch.testing.assert_close(world.start, cameras.poses[0])
    torch.testing.assert_close(world.up, torch.tensor([0.0, 0, 1]), atol=1e-6, rtol=0)
    assert world.fov == pytest.approx(2 * math.atan(0.6))
    assert world.reach == pytest.approx(math.hypot(3, 0.5), rel=1e-4)  # to the origin, where all look


@pytest.mark.parametrize("poses", [UPRIGHT[None], UPRIGHT.repeat(3, 1, 1)])
def test_cameras_in_one_place_make_a_world_too(poses):
    world = World.of(Cameras.of(poses, 50.0, 50.0, 32.0, 24.0, 64, 48))
    assert world.reach == 1
    assert 0 < world.size < 1
    assert math.isfinite(world.scale)
    torch.testing.assert_close(world.up, torch.tensor([0.0, 1, 0]))


def test_parallel_cameras_look_at_something_in_front():
    poses = UPRIGHT.repeat(4, 1, 1)
    poses[:, 0, 3] = torch.arange(4.0)
    assert World.of(Cameras.of(poses, 50.0, 50.0, 32.0, 24.0, 64, 48)).reach == pytest.approx(1.25**0.5)

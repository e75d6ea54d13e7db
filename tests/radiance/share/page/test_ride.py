"""What the page is told of the camera path."""

from __future__ import annotations

import math

import torch
from pages import MIDDLE, some_ride, some_splats

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.poses import look_at
from arf.radiance.fields.splats.splats import matrices
from arf.radiance.share.page.ride import frames, pivot, reach

UP = torch.tensor([0.0, 0.0, 1.0])


def walking(count: int = 20) -> Cameras:
    """Ahead through a corridor, looking left and right."""
    positions = torch.stack([torch.zeros(count), 0.2 * torch.arange(count), torch.zeros(count)], 1)
    aims = positions + torch.stack([torch.sin(torch.arange(count) * 1.0), torch.ones(count), torch.zeros(count)], 1)
    poses = torch.stack([look_at(at[None], aim, UP)[0] for at, aim in zip(positions, aims, strict=True)])
    return Cameras.of(poses, 100.0, 100.0, 80, 60, 160, 120)


def test_frames_are_the_cameras():
    ride = some_ride()
    for row, camera in zip(frames(ride), ride, strict=True):
        torch.testing.assert_close(torch.tensor(row[:3]), camera.pose[:, 3])
        torch.testing.assert_close(matrices(torch.tensor(row[3:7])), camera.pose[:, :3], atol=1e-6, rtol=0)
        assert row[7:] == [camera.fx, float(f"{camera.fy:.7g}"), 84, 55, 160, 120]


def test_reach_is_the_depth_of_what_is_seen():
    far = reach(some_splats(), some_ride())
    assert math.isclose(far, 2.45, abs_tol=0.15)
    behind = some_splats().moved(torch.eye(3), torch.tensor([0.0, 500.0, 0.0]), 1.0)
    assert reach(behind, some_ride()[:1]) == 1  # nothing is


def test_cameras_around_something_turn_about_it():
    torch.testing.assert_close(pivot(some_ride(), 2.4), MIDDLE.double(), atol=1e-4, rtol=0)
    from_before = some_ride()[:3]
    torch.testing.assert_close(pivot(from_before, 2.4), MIDDLE.double(), atol=1e-3, rtol=0)


def test_a_walk_turns_about_nothing():
    assert pivot(walking(), 2.0) is None
    assert pivot(walking()[:1], 2.0) is None
    outwards = some_ride()
    flipped = outwards.poses * torch.tensor([-1.0, 1.0, -1.0, 1.0])  # from the middle of a room to its walls
    assert pivot(Cameras.of(flipped, 100.0, 100.0, 80, 60, 160, 120), 2.4) is None

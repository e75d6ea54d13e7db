"""Poses: what they are built from, by hand."""

from __future__ import annotations

import pytest
import torch
from captures import ring, row

from arf.errors import UserError
from arf.radiance.capture.poses import check_pose, focus_point, look_at, looks_forward, mean_pose, place, to_square


def test_look_at_by_hand():
    # From (2, 0, 0) to the origin, z up: the camera's right is +y, its up +z, its back +x.
    pose = look_at(torch.tensor([2.0, 0, 0]), torch.zeros(3), torch.tensor([0.0, 0, 1]))
    assert pose.tolist() == [[0, 0, 1, 2], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert to_square(pose).tolist() == [[0, 0, 1, 2], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def test_mean_pose_of_a_row_is_its_middle():
    expected = torch.eye(4)[:3]
    expected[0, 3] = 0.2
    torch.testing.assert_close(mean_pose(row(5)), expected)


def test_focus_point_is_where_the_axes_meet():
    target = torch.tensor([0.3, -0.2, 0.1])
    at = ring(7)[:, :, 3]
    torch.testing.assert_close(focus_point(look_at(at, target, torch.tensor([0.0, 0, 1]))), target, atol=1e-5, rtol=0)
    # Parallel axes: the depth is open, and the mean camera itself is the nearest answer.
    torch.testing.assert_close(focus_point(row(5)), torch.tensor([0.2, 0, 0]), atol=1e-6, rtol=0)


def test_looks_forward():
    assert looks_forward(row(5), within=1)
    arc = ring(10, arc=1.0, height=0.0)  # 1 radian · 9/10 between the outermost: 25.8° either side
    assert looks_forward(arc, within=26)
    assert not looks_forward(arc, within=25)


def turned(poses: torch.Tensor) -> torch.Tensor:
    """The same cameras in a world that lies on its side, far away."""
    motion = look_at(torch.tensor([3.0, -700, 20]), torch.tensor([1.0, 2, 5]), torch.tensor([0.3, 0.1, 1.0]))
    return (to_square(motion).double() @ to_square(poses.double()))[:, :3]


@pytest.mark.parametrize("orientation", ["up", "vertical"])
def test_place_stands_upright_where_the_cameras_look(orientation):
    poses = turned(ring(12, radius=3.0, height=0.0))  # upright cameras that look at the middle of their circle
    placement = place(poses, orientation, "focus")
    placed = placement(poses)
    torch.testing.assert_close(placed[:, 2, 1], torch.ones(12).double(), atol=1e-6, rtol=0)  # y is up
    assert placed[:, :, 3].abs().max() == pytest.approx(1)
    torch.testing.assert_close(placed[:, :2, 3].norm(dim=1), torch.full((12,), placement.scale * 3).double())
    # transform and scale say the same: x' = s (T x)
    transform = placement.transform
    moved = placement.scale * (poses[:, :, 3] @ transform[:, :3].T + transform[:, 3])
    torch.testing.assert_close(moved, placed[:, :, 3], atol=1e-9, rtol=0)
    torch.testing.assert_close(transform[:, :3] @ transform[:, :3].T, torch.eye(3).double())


def test_place_about_the_mean_or_the_focus():
    arc = ring(10, radius=2.0, height=0.0, arc=1.0).double()
    origin = torch.zeros(3).double()
    torch.testing.assert_close(place(arc, "none", "focus").centre, origin, atol=1e-6, rtol=0)
    torch.testing.assert_close(place(arc, "none", "poses").centre, arc[:, :, 3].mean(0))
    # Cameras that look away from each other have no focus in front of them: the mean is taken.
    outward = arc.clone()
    outward[:, :, [0, 2]] *= -1
    torch.testing.assert_close(place(outward, "none", "focus").centre, arc[:, :, 3].mean(0), atol=0.1, rtol=0)


def test_upside_down_is_turned_by_half():
    poses = ring(6, height=0.0).double()
    poses[:, :, :2] *= -1  # each camera on its head
    placed = place(poses, "up", "poses")(poses)
    torch.testing.assert_close(placed[:, 2, 1], torch.ones(6).double())
    assert torch.linalg.det(placed[0, :, :3]) == pytest.approx(1)


def test_poses_beyond_the_globe_are_refused():
    """J30, J42."""
    with pytest.raises(UserError, match=r"a\.png: the pose lies 1e\+30 units away"):
        check_pose([[1, 0, 0, 1e30], [0, 1, 0, 0], [0, 0, 1, 0]], "a.png")
    with pytest.raises(UserError, match=r"a\.png: the pose is not a matrix"):
        check_pose([[1, 0, 0, 10**400], [0, 1, 0, 0], [0, 0, 1, 0]], "a.png")

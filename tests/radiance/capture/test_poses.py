"""Poses: what they are built from, by hand."""

from __future__ import annotations

import torch
from captures import ring, row

from arf.radiance.capture.poses import focus_point, look_at, looks_forward, mean_pose, to_square


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

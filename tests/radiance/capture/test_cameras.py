"""Cameras: which ray belongs to which pixel."""

from __future__ import annotations

import pytest
import torch
from captures import HEIGHT, WIDTH, ring

from arf.radiance.capture.cameras import Camera, Cameras


def test_rays_of_a_pinhole_camera_by_hand():
    pose = ring(5)[3]
    camera = Cameras.of(pose[None], fx=20.0, fy=25.0, cx=11.0, cy=7.0, width=WIDTH, height=HEIGHT)[0]
    origins, directions = camera.rays()
    assert origins.shape == directions.shape == (HEIGHT * WIDTH, 3)
    for u, v in ((0, 0), (23, 0), (5, 9), (23, 15)):
        local = torch.tensor([(u + 0.5 - 11) / 20, -(v + 0.5 - 7) / 25, -1.0])  # OpenGL: y up, looks along −z
        expected = pose[:, :3] @ (local / local.norm())
        torch.testing.assert_close(directions[v * WIDTH + u], expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(origins[v * WIDTH + u], pose[:, 3])


def test_rays_of_some_rows_are_those_of_the_whole_view():
    camera = Camera(ring(2)[1], fx=20.0, fy=21.0, cx=11.0, cy=9.0, width=24, height=16)
    whole = torch.cat(camera.rays(), 1).view(16, 24, 6)
    for first, rows in ((0, 16), (0, 1), (5, 4), (14, 2)):
        torch.testing.assert_close(
            torch.cat(camera.band(first, rows).rays(), 1), whole[first : first + rows].reshape(-1, 6)
        )
    parts = [torch.cat(band.rays(), 1) for band in camera.bands(100)]
    assert [len(part) for part in parts] == [96, 96, 96, 96]
    torch.testing.assert_close(torch.cat(parts), whole.reshape(-1, 6))


def test_fisheye_with_odd_sides_has_a_ray_at_its_exact_centre():
    """C15: it was NaN there."""
    _, directions = Camera(torch.eye(4)[:3], 10.0, 10.0, 4.5, 3.5, 9, 7, "fisheye").rays()
    torch.testing.assert_close(directions[3 * 9 + 4], torch.tensor([0.0, 0, -1]))
    assert torch.isfinite(directions).all()
    side = directions[3 * 9 + 8]  # 4 pixels right: 0.4 radians off the axis
    torch.testing.assert_close(
        side, torch.tensor([0.4, 0, 0]).sin() - torch.tensor([0, 0, 1.0]) * torch.tensor(0.4).cos()
    )


def test_cameras_are_indexed_and_resized():
    cameras = Cameras.of(ring(4), 20.0, 25.0, [10.0, 11, 12, 13], 7.0, WIDTH, HEIGHT)
    assert [camera.cx for camera in cameras] == [10, 11, 12, 13]
    assert [camera.cx for camera in cameras[[3, 1]]] == [13, 11]
    small = cameras.resized(torch.tensor([[8, 5]]).expand(4, 2))
    assert (small[1].width, small[1].height, small.size(1)) == (8, 5, (5, 8))
    assert small[1].fx == pytest.approx(20 * 8 / WIDTH)
    assert small[1].fy == pytest.approx(25 * 5 / HEIGHT)

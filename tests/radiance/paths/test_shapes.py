"""Camera paths: on data whose answer is known, and within what the training cameras saw."""

from __future__ import annotations

import math

import pytest
import torch
from captures import FOCAL, HEIGHT, WIDTH, ring, row, views_of
from torch.nn.functional import normalize

from arf.errors import UserError
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.capture.poses import focus_point, look_at
from arf.radiance.paths import shapes as paths

UP = torch.tensor([0.0, 0.0, 1.0])


def positions(path: paths.CameraPath) -> torch.Tensor:
    return path.cameras.poses[:, :, 3]


def project(path: paths.CameraPath, point: torch.Tensor) -> torch.Tensor:
    """Pixel coordinates (u, v) of a world point in every frame, and its depth: [n, 3]."""
    cameras = path.cameras
    poses = cameras.poses
    x, y, z = ((point - poses[:, :, 3])[:, None] @ poses[:, :, :3])[:, 0].unbind(1)
    u = cameras.cx - cameras.fx * x / z
    v = cameras.cy + cameras.fy * y / z
    return torch.stack([u, v, -z], dim=1)


def assert_rigid(path: paths.CameraPath) -> None:
    rotations = path.cameras.poses[:, :, :3]
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand_as(rotations), atol=1e-5, rtol=0)
    assert (torch.linalg.det(rotations) > 0).all()


# --- orbit


def test_orbit_of_a_ring_is_the_ring():
    path = paths.orbit(views_of(ring(16)), frames=24, fps=12)
    assert_rigid(path)
    assert len(path) == 24
    assert path.seconds == 2
    torch.testing.assert_close(positions(path)[:, :2].norm(dim=1), torch.full((24,), 2.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(positions(path)[:, 2], torch.full((24,), 0.5), atol=1e-4, rtol=0)
    centre = project(path, torch.zeros(3))
    torch.testing.assert_close(centre[:, :2], torch.tensor([[WIDTH / 2, HEIGHT / 2]]).expand(24, 2), atol=1e-3, rtol=0)
    assert (centre[:, 2] > 0).all()
    assert (project(path, torch.tensor([0.0, 0, 0.2]))[:, 1] < HEIGHT / 2).all()  # upright: higher points are higher up
    steps = (positions(path) - positions(path).roll(1, 0)).norm(dim=1)
    torch.testing.assert_close(steps, steps[:1].expand(24), atol=1e-4, rtol=0)  # closed, at constant speed


def test_orbit_works_in_any_frame_and_keeps_the_distance():
    generator = torch.Generator().manual_seed(0)
    at = normalize(torch.randn(60, 3, generator=generator), dim=1)
    at[:, 2] = at[:, 2].abs()
    target = torch.tensor([1.0, -2.0, 0.5])
    radii = 3 + 0.5 * torch.rand(60, 1, generator=generator)
    poses = look_at(at * radii + target, target, UP)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    turn = turn * torch.linalg.det(turn)  # a rotation of the world
    path = paths.orbit(views_of(turn @ poses), frames=30)
    torch.testing.assert_close(focus_point(turn @ poses), turn @ target, atol=1e-4, rtol=0)
    distances = (positions(path) - turn @ target).norm(dim=1)
    torch.testing.assert_close(distances, radii.median().expand(30), atol=1e-3, rtol=0)
    assert ((positions(path) - turn @ target) @ (turn @ UP) > 0).all()  # on the side where cameras stood


def test_orbit_swings_over_an_arc_and_never_leaves_it():
    poses = ring(20, arc=math.pi / 2)
    path = paths.orbit(views_of(poses), frames=40)
    azimuths = torch.atan2(positions(path)[:, 1], positions(path)[:, 0])
    last = math.pi / 2 * 19 / 20
    assert azimuths.min() == pytest.approx(0, abs=1e-3)
    assert azimuths.max() == pytest.approx(last, abs=1e-3)
    torch.testing.assert_close(positions(path)[:, :2].norm(dim=1), torch.full((40,), 2.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("poses", [row(8), ring(8) * torch.tensor([-1.0, 1, -1, 1])])
def test_orbit_needs_a_common_point(poses):  # parallel cameras; cameras that look outwards
    with pytest.raises(UserError, match="no common point"):
        paths.orbit(views_of(poses))


# --- spiral


def test_spiral_stays_among_the_cameras_and_looks_at_one_point():
    grid = torch.eye(4)[:3].repeat(25, 1, 1)
    grid[:, 0, 3] = torch.arange(25) % 5 * 0.1 - 0.2
    grid[:, 1, 3] = torch.arange(25) // 5 * 0.05 - 0.1
    path = paths.spiral(views_of(grid), frames=60, bounds=(4 / 3, 10.0))
    assert_rigid(path)
    depth = 1 / (0.25 / (0.9 * 4 / 3) + 0.75 / (5 * 10))  # LLFF's mean disparity
    centre = project(path, torch.tensor([0.0, 0.0, -depth]))
    torch.testing.assert_close(centre[:, :2], torch.tensor([[WIDTH / 2, HEIGHT / 2]]).expand(60, 2), atol=1e-3, rtol=0)
    reach = positions(path).abs().amax(0)
    torch.testing.assert_close(reach, torch.tensor([0.2, 0.1, 0.0]), atol=1e-3, rtol=0)
    jumps = (positions(path) - positions(path).roll(1, 0)).norm(dim=1)
    assert jumps.max() < 0.2 * 2 * 2 * math.pi / 60 * 1.01  # closed: two turns of an ellipse, no leap at the end
    assert (positions(path)[:, 0] > 0.15).sum() > 5
    assert (positions(path)[:, 0] < -0.15).sum() > 5


def test_spiral_without_bounds_looks_where_the_axes_meet():
    target = torch.tensor([0.0, 0.0, -3.0])
    at = torch.tensor([[x, y, 0.0] for x in (-0.2, 0.0, 0.2) for y in (-0.1, 0.1)])
    path = paths.spiral(views_of(look_at(at, target, torch.tensor([0.0, 1, 0]))), frames=10)
    centre = project(path, target)
    torch.testing.assert_close(centre[:, :2], torch.tensor([[WIDTH / 2, HEIGHT / 2]]).expand(10, 2), atol=1e-2, rtol=0)


def test_spiral_refuses_what_it_cannot_do():
    with pytest.raises(UserError, match="same way"):
        paths.spiral(views_of(ring(8)))
    with pytest.raises(UserError, match="no common point"):
        paths.spiral(views_of(row(8)))


# --- interpolate


def test_interpolation_of_a_ring_stays_on_it_at_constant_speed():
    path = paths.interpolate(views_of(ring(24)), frames=400)
    assert_rigid(path)
    torch.testing.assert_close(positions(path).norm(dim=1), torch.full((400,), math.hypot(2, 0.5)), atol=0.02, rtol=0)
    steps = (positions(path)[1:] - positions(path)[:-1]).norm(dim=1)
    assert steps.max() / steps.min() < 1.05
    torch.testing.assert_close(positions(path)[[0, -1]], ring(24)[[0, 23], :, 3], atol=1e-5, rtol=0)
    centre = project(path, torch.zeros(3))
    torch.testing.assert_close(centre[:, :2], torch.tensor([[WIDTH / 2, HEIGHT / 2]]).expand(400, 2), atol=0.2, rtol=0)


def test_few_frames_visit_few_views():
    path = paths.interpolate(views_of(ring(24)), frames=8)  # two key views: the first and the last
    torch.testing.assert_close(positions(path)[[0, -1]], ring(24)[[0, 23], :, 3], atol=1e-5, rtol=0)
    chord = ring(24)[23, :, 3] - ring(24)[0, :, 3]
    off = torch.linalg.cross(positions(path) - ring(24)[0, :, 3], chord.expand(8, 3)).norm(dim=1) / chord.norm()
    assert off.max() < 1e-5


# --- sizes


def test_size_defaults_to_the_training_views_and_keeps_the_field_of_view():
    views = views_of(ring(8))
    assert int(paths.orbit(views).cameras.width[0]) == WIDTH
    path = paths.orbit(views, width=48)
    assert (int(path.cameras.width[0]), int(path.cameras.height[0])) == (48, 32)
    assert float(path.cameras.fx[0]) == pytest.approx(2 * FOCAL)
    wide = paths.orbit(views, width=100, height=32).cameras
    assert float(wide.fy[0]) == float(wide.fx[0]) == pytest.approx(2 * FOCAL)
    assert float(wide.cx[0]) == 50


@pytest.mark.parametrize("make", [paths.orbit, paths.interpolate, paths.spiral])
def test_nothing_to_film(make):
    with pytest.raises(UserError, match="0 frames"):
        make(views_of(ring(8)), frames=0)
    with pytest.raises(UserError, match="at least two"):
        make(views_of(ring(1)))
    with pytest.raises(UserError, match="empty"):
        make(views_of(ring(8, arc=0.5)), width=0)


@pytest.mark.parametrize("make", [paths.orbit, paths.interpolate])
def test_single_frame(make):
    assert len(make(views_of(ring(8)), frames=1)) == 1


# --- real captures


@pytest.mark.parametrize(("name", "make"), [("fox", paths.orbit), ("lego", paths.orbit), ("fox", paths.interpolate)])
def test_paths_through_real_captures_stay_where_cameras_were(assets, name, make):
    views = load_capture(CaptureConfig(data=assets / "captures" / name)).train
    path = make(views, frames=60)
    assert_rigid(path)
    cameras = views.cameras.poses[:, :, 3]
    to_camera = torch.cdist(positions(path), cameras).amin(1)
    gap = (cameras[1:] - cameras[:-1]).norm(dim=1).max()  # fox was photographed from two stretches, far apart
    assert to_camera.max() < 0.6 * gap

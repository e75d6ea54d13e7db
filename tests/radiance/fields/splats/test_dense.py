"""The oracle itself: single Gaussians have closed forms, and a picture does not change when all is moved."""

from __future__ import annotations

import math

import torch
from dense import NEAR, project, render, weights
from torch.nn.functional import normalize

from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.poses import look_at
from arf.radiance.fields.splats.splats import Splats, quaternion

UP = torch.tensor([0.0, 0.0, 1.0])
BLACK = torch.zeros(3)


def camera(position=(0.0, -3.0, 0.0), width: int = 41, height: int = 31, focal: float = 40.0) -> Camera:
    pose = look_at(torch.tensor([position]), torch.zeros(3), UP)[0]
    return Camera(pose, focal, focal, width / 2, height / 2, width, height)


def splats(means, scales=(0.1, 0.1, 0.1), opacities=0.5, quats=(1.0, 0, 0, 0), colors=(1.0, 0.5, 0.25)) -> Splats:
    n = len(means)
    parts = [torch.tensor(part).expand(n, -1) for part in (scales, quats, colors)]
    opacity = torch.as_tensor(opacities).expand(n)
    return Splats(torch.tensor(means), parts[0], parts[1], opacity, parts[2], torch.zeros(n, 0, 3))


def random_splats(count: int = 60, degree: int = 1) -> Splats:
    g = torch.Generator().manual_seed(1)
    return Splats(
        torch.rand(count, 3, generator=g) * 2 - 1, torch.rand(count, 3, generator=g) * 0.2 + 0.01,
        normalize(torch.randn(count, 4, generator=g), dim=1), torch.rand(count, generator=g),
        torch.rand(count, 3, generator=g), torch.randn(count, 3 if degree else 0, 3, generator=g) * 0.2,
    )  # fmt: skip


def test_a_ball_on_the_axis_is_a_disc():
    seen, left = weights(splats([[0.0, 0.0, 0.0]]), camera())
    variance = (40 * 0.1 / 3) ** 2 + 0.3
    rows, columns = torch.meshgrid(torch.arange(31) - 15.0, torch.arange(41) - 20.0, indexing="ij")
    right = 0.5 * (-(rows**2 + columns**2).double() / (2 * variance)).exp()
    right = right.where(right >= 1 / 255, 0).flatten()
    torch.testing.assert_close(seen[:, 0], right, atol=1e-7, rtol=0)
    torch.testing.assert_close(left, 1 - right, atol=1e-7, rtol=0)


def test_right_is_right_and_up_is_up():
    flat = project(splats([[0.3, 0.0, 0.6]]), camera())  # from −y, z up: x is to the right
    torch.testing.assert_close(flat.centres[0], torch.tensor([20.5 + 4.0, 15.5 - 8.0]).double(), atol=1e-5, rtol=0)


def test_a_needle_lies_along_its_longest_axis():
    turn = torch.tensor([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [-0.8, 0.0, 0.6]])  # its own x axis to (0.6, 0, −0.8)
    flat = project(splats([[0.0, 0.0, 0.0]], (0.3, 0.001, 0.001), quats=quaternion(turn).tolist()), camera())
    along = torch.tensor([0.6, 0.8]).double()  # rows grow downwards
    right = (40 * 0.3 / 3) ** 2 * along.outer(along) + 0.3 * torch.eye(2)
    torch.testing.assert_close(flat.covariances[0], right.double(), atol=1e-3, rtol=0)


def test_off_the_axis_depth_spreads_a_gaussian_but_the_slope_is_clamped():
    for x, slope in ((0.6, 0.2), (6.0, 1.3 * 41 / 80)):
        flat = project(splats([[x, 0.0, 0.0]]), camera())
        right = (40 * 0.1 / 3) ** 2 * (1 + slope**2) + 0.3
        assert math.isclose(flat.covariances[0, 0, 0], right, rel_tol=1e-5)


def test_the_nearer_hides_the_farther_whatever_the_order():
    two = splats([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]], opacities=[1.0, 0.75])
    seen, left = weights(two, camera())
    middle = 15 * 41 + 20
    torch.testing.assert_close(seen[middle], torch.tensor([0.25 * 0.99, 0.75]).double())
    assert math.isclose(left[middle], 0.25 * 0.01, rel_tol=1e-9)


def test_a_pixel_is_done_with_what_hides_the_rest():
    seen, left = weights(splats([[0.0, float(y), 0.0] for y in range(4)], opacities=0.98), camera())
    middle = 15 * 41 + 20
    found = 0.98 * torch.tensor([1, 0.02, 4e-4, 0]).double()  # 8e-6 are left: the third closes it
    torch.testing.assert_close(seen[middle], found)
    assert math.isclose(left[middle], 8e-6, rel_tol=1e-4)


def test_what_is_behind_or_too_near_is_not_seen():
    seen, left = weights(splats([[0.0, -3 + 0.9 * NEAR, 0.0], [0.0, -5.0, 0.0]]), camera())
    assert seen.sum() == 0
    assert (left == 1).all()


def test_anti_aliased_small_gaussians_keep_their_mass():
    sums = []
    for focal in (10.0, 400.0):
        seen, _ = weights(splats([[0.0, 0.0, 0.0]], (0.01, 0.01, 0.01), 0.9), camera(focal=focal), antialiased=True)
        sums.append(seen.sum().item() / focal**2)
    mass = 0.9 * 2 * math.pi * (0.01 / 3) ** 2
    assert math.isclose(sums[1], mass, rel_tol=0.02)  # the rim below 1/255 is missing
    small = project(splats([[0.0, 0.0, 0.0]], (0.01, 0.01, 0.01), 0.9), camera(focal=10.0), antialiased=True)
    assert math.isclose(2 * math.pi * small.opacities[0] * small.covariances[0].det().sqrt() / 100, mass, rel_tol=1e-4)


def test_weights_and_what_is_left_sum_to_one_and_make_the_picture():
    scene, background = random_splats(degree=0), torch.tensor([0.2, 0.5, 0.9])
    seen, left = weights(scene, camera())
    torch.testing.assert_close(seen.sum(1) + left, torch.ones(len(left)).double())
    picture = (seen @ scene.colors.double() + left[:, None] * background.double()).view(31, 41, 3)
    torch.testing.assert_close(render(scene, camera(), background), picture)
    other = (seen @ (1 - scene.colors.double()) + left[:, None] * background.double()).view(31, 41, 3)
    torch.testing.assert_close(render(scene, camera(), background, colors=1 - scene.colors), other)


def test_moving_the_world_with_its_camera_changes_nothing():
    scene, seat = random_splats(), camera((1.5, -2.5, 1.0))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2))).Q
    turn = turn * turn.det()
    centre = torch.tensor([0.3, -0.2, 0.5])
    pose = torch.cat([turn @ seat.pose[:, :3], (turn @ (seat.pose[:, 3] - centre))[:, None]], 1)
    moved = Camera(pose, seat.fx, seat.fy, seat.cx, seat.cy, seat.width, seat.height)
    before, after = render(scene, seat, BLACK), render(scene.moved(turn, centre, 1.0), moved, BLACK)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)


def test_the_gradient_of_colours_is_the_sum_of_weights():
    scene = random_splats(degree=0)
    colors = scene.colors.double().requires_grad_()
    render(scene, camera(), BLACK, colors=colors).sum().backward()
    torch.testing.assert_close(colors.grad, weights(scene, camera())[0].sum(0)[:, None].expand(-1, 3))

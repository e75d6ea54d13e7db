"""The kernels against dense sums, on splats of all shapes, and odd ones."""

from __future__ import annotations

from dataclasses import replace

import dense
import pytest
import torch
from gaussians import camera, random_splats

from arf.radiance.fields.field import Direct
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.splats import Splats

GREY = torch.tensor([0.2, 0.5, 0.7])


def field_of(splats: Splats, antialiased: bool = False) -> SplatField:
    return SplatField(splats, GREY, torch.device("cpu"), antialiased)


def slopes_are_centred(view):
    """The oracle clamps slopes as 3DGS does, by the field of view alone."""
    return replace(view, cx=view.width / 2, cy=view.height / 2)


def row_sums(trace, values):
    size = len(trace.leftover), len(values)
    return torch.sparse_csr_tensor(trace.starts, trace.columns.long(), trace.weights, size).to_dense() @ values


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_pictures_are_the_dense_sums(degree, antialiased):
    splats, view = random_splats(degree=degree), slopes_are_centred(camera())
    field, expected = field_of(splats, antialiased), dense.render(splats, view, GREY, antialiased=antialiased).float()
    torch.testing.assert_close(field.render(view, field.own(view), GREY), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(field.shoot(view).color.view_as(expected), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(field.trace(view).color.view_as(expected), expected, atol=1e-4, rtol=0)


def test_traces_are_the_dense_weights():
    splats, view = random_splats(), slopes_are_centred(camera(50, 41))  # sides that no tile divides
    expected, leftover = dense.weights(splats, view)
    trace = field_of(splats).trace(view)
    torch.testing.assert_close(row_sums(trace, torch.eye(len(splats))), expected.float(), atol=1e-4, rtol=0)
    torch.testing.assert_close(trace.leftover, leftover.float(), atol=1e-4, rtol=0)
    for begin, end in zip(trace.starts[:-1].tolist(), trace.starts[1:].tolist(), strict=True):
        assert len(trace.columns[begin:end].unique()) == end - begin


def test_gradients_of_colours_are_the_transpose():
    splats, view = random_splats(), slopes_are_centred(camera())
    gradient = torch.randn(*view.size, 3, generator=torch.Generator().manual_seed(1))
    weights, _ = dense.weights(splats, view)
    pulled = field_of(splats).pull(view, gradient)
    torch.testing.assert_close(pulled, (weights.T.float() @ gradient.flatten(0, 1)), atol=1e-3, rtol=1e-4)
    colors = torch.rand(len(splats), 3)
    picture = field_of(splats).render(view, colors, torch.zeros(3))
    assert float((picture * gradient).sum()) == pytest.approx(float((colors * pulled).sum()), rel=1e-3)


def test_any_number_of_channels():
    splats, view = random_splats(), camera()
    field, colors = field_of(splats), torch.rand(500, 7)
    whole = field.render(view, colors, torch.arange(7.0))
    for k in range(7):
        one = field.render(view, colors[:, k : k + 1], torch.tensor([float(k)]))
        torch.testing.assert_close(whole[..., k : k + 1], one)


@pytest.mark.parametrize("drop", [0.001, 0.01, 0.2])
def test_lean_traces_hand_over_what_they_drop(drop):
    splats, view = random_splats(2000), camera()
    full, lean = field_of(splats).trace(view), field_of(splats).trace(view, drop)
    ones = torch.ones(len(splats), 1)
    torch.testing.assert_close(row_sums(full, ones), row_sums(lean, ones), atol=1e-5, rtol=0)
    torch.testing.assert_close(full.leftover, lean.leftover)
    before, after = row_sums(full, torch.eye(2000)), row_sums(lean, torch.eye(2000))
    moved = (before - after).clamp_min(0).sum(1)
    assert (moved <= drop * before.sum(1) + 1e-6).all()
    assert len(lean.weights) < 0.95 * len(full.weights)
    assert (row_sums(full, splats.colors) - row_sums(lean, splats.colors)).abs().max() < drop


def test_bands_are_parts_of_the_whole():
    splats = random_splats()
    splats.scales[:40, 0] = 3.0  # their centres often lie beside the picture, where slopes are clamped
    field, view = field_of(splats), camera(70, 70, distance=0.8)
    whole = field.render(view, field.colors, GREY)
    parts = [field.render(band, field.colors, GREY) for band in view.bands(70 * 16)]
    assert len(parts) > 3
    torch.testing.assert_close(torch.cat(parts), whole, atol=2e-5, rtol=0)


def test_the_same_bits_with_any_number_of_threads():
    splats, view = random_splats(3000), camera(200, 150)
    field, before = field_of(splats), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            gradient = torch.linspace(0, 1, 200 * 150 * 3).view(150, 200, 3)
            trace = field.trace(view, 0.01)
            results.append((field.shoot(view).color, field.pull(view, gradient), trace.weights, trace.columns))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def wall(opacity: float = 1.0) -> Splats:
    """A wall of flat splats across the plane y = 0."""
    x, z = torch.meshgrid(torch.linspace(-2, 2, 60), torch.linspace(-2, 2, 60), indexing="ij")
    means = torch.stack([x.flatten(), torch.zeros(3600), z.flatten()], 1)
    scales = torch.tensor([0.06, 1e-4, 0.06]).expand(3600, 3).clone()
    quats = torch.tensor([1.0, 0, 0, 0]).expand(3600, 4).clone()
    return Splats(means, scales, quats, torch.full((3600,), opacity), torch.rand(3600, 3), torch.zeros(3600, 0, 3))


def test_depths_of_a_wall():
    view = camera(64, 48, distance=2.0, angle=0.0)
    field = field_of(wall())
    origins, directions = view.rays()
    truth = -origins[:, 1] / directions[:, 1]
    surface, shot, trace = field.surface(view), field.shoot(view), field.trace(view)
    assert (surface.opacity > 0.99).all()
    assert (surface.solid > 0.99).all()
    for depth in (surface.depth, shot.depth, trace.depth):
        torch.testing.assert_close(depth, truth, atol=0.1, rtol=0)  # of centres, in splats of 0.06
        assert abs(float((depth - truth).mean())) < 0.04  # nearer: the wall is slanted, and the nearest come first
    away = replace(view, pose=view.pose @ torch.diag(torch.tensor([-1.0, 1, -1, 1])))  # looks the other way
    assert (field.surface(away).depth == 1e6).all()
    assert (field.shoot(away).depth == 1e6).all()
    torch.testing.assert_close(field.shoot(away).color, GREY.expand(64 * 48, 3))


def odd(splats: Splats) -> Splats:
    """Enormous, needle-thin, vanishing, invisible and opaque ones; around and behind the camera, and on it."""
    scales, opacities, means = splats.scales.clone(), splats.opacities.clone(), splats.means.clone()
    scales[:10] = 1e6
    scales[10:20] = torch.tensor([1e3, 1e-9, 1e-9])
    scales[20:30] = 0
    scales[30:40] = torch.tensor([10.0, 1e-6, 1e-6])
    opacities[40:50] = 0
    opacities[:10] = 0.01
    opacities[50:70] = 1
    means[70:80] = camera().pose[:, 3]
    means[80:90] *= 1e9
    return replace(splats, scales=scales, opacities=opacities, means=means)


def test_odd_splats_are_rendered_like_any():
    splats, view = odd(random_splats()), slopes_are_centred(camera())
    field = field_of(splats)
    picture = field.render(view, field.colors, GREY)
    assert picture.isfinite().all()
    torch.testing.assert_close(picture, dense.render(splats, view, GREY).float(), atol=2e-3, rtol=0)
    assert field.trace(view, 0.01).color.isfinite().all()
    assert field.pull(view, picture).isfinite().all()


def test_needles_across_a_large_picture():
    """Where the inverse covariance is kept as its three numbers in float32, this is off by whole levels."""
    splats = random_splats(60)
    splats.scales[:] = torch.tensor([5.0, 1e-4, 1e-4])
    view = slopes_are_centred(camera(1500, 40, focal=20.0))
    expected = dense.render(splats, view, GREY).float()
    picture = field_of(splats).render(view, splats.colors, GREY)
    assert (picture - expected).abs().max() < 5e-3
    assert (picture - expected).abs().mean() < 1e-5


def test_the_kinds_of_field_have_what_they_promise():
    assert isinstance(field_of(random_splats(10)), Direct)


@pytest.mark.parametrize("kind", ["fisheye", "equirectangular"])
def test_wide_cameras_look_up_a_cube(kind):
    turns, height = torch.arange(20_000) * 2.399963, torch.linspace(-1, 1, 20_000)  # evenly over a sphere
    level = (1 - height**2).sqrt()
    around = torch.stack([level * turns.cos(), level * turns.sin(), height], 1)
    scales = torch.full((20_000, 3), 0.03)
    colors = 0.5 + 0.5 * (3 * around).sin()  # of the direction, so that every pixel has a right one
    splats = replace(
        random_splats(20_000), means=2 * around, scales=scales, opacities=torch.ones(20_000), colors=colors
    )
    inner = {"fx": 60.0, "fy": 60.0} if kind == "equirectangular" else {"fx": 40.0, "fy": 40.0}
    pose = torch.cat([camera().pose[:, :3], torch.zeros(3, 1)], 1)
    view = replace(camera(120, 60), pose=pose, kind=kind, cx=60.0, cy=30.0, **inner)
    _, directions = view.rays()
    picture = field_of(splats).render(view, splats.colors, GREY).view(-1, 3)
    error = (picture - 0.5 - 0.5 * (3 * directions).sin()).abs()
    assert error.max() < 0.15  # a splat reaches 0.05 of its distance
    assert error.mean() < 0.02

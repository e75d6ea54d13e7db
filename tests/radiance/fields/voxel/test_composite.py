"""Pictures without a list of samples against dense rendering of every step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from voxels import around, ball_model, dense_render

from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.poses import look_at
from arf.radiance.fields.field import Direct, Renders
from arf.radiance.fields.rays.field import RayField
from arf.radiance.fields.voxel import field as fields
from arf.radiance.fields.voxel.composite import composite
from arf.radiance.fields.voxel.field import VoxelField

NEAR = 2e-4  # what is behind 1e-4 of transmittance, and colours of weights below 1e-6, are not looked at
SPACES = {  # seen from inside and, where there is one, outside of what the training cameras stood in
    "bounded": ([0.1, 0.2, -0.1], [2.0, 1.0, 0.6]),
    "unbounded": ([0.2, -0.1, 0.3], [3.0, 2.0, 1.5]),
    "forward": ([0.05, 0.0, 0.1],),
}
CASES = [(kind, i, background) for kind in SPACES for i in range(len(SPACES[kind])) for background in ("last", "0,0,1")]


def scene(kind: str, i: int, background: str, channels: int = 5) -> tuple[VoxelField, Camera, Tensor, Tensor]:
    """A field, a camera, colours of its columns and one behind them."""
    model = ball_model(24, kind=kind, background=background)
    place = torch.tensor(SPACES[kind][i])
    target = place - torch.tensor([0.0, 0.0, 1.0]) if kind == "forward" else torch.tensor([0.0, 0.1, -0.1])
    pose = look_at(place[None], target, torch.tensor([0.0, 1.0, 0.0]))[0]
    generator = torch.Generator().manual_seed(1)
    colors, behind = torch.rand(model.count, channels, generator=generator), torch.rand(channels, generator=generator)
    return model, Camera(pose, 18.0, 18.0, 12.0, 9.0, 24, 18), colors, behind


def dense(model: VoxelField, camera: Camera, colors: Tensor, background: Tensor) -> tuple[Tensor, ...]:
    table = torch.cat([model.voxels.table.detach()[:, :1], colors], 1)
    return dense_render(model, *camera.rays(), table, background)


@pytest.mark.parametrize(("kind", "i", "background"), CASES)
def test_any_channels_are_those_of_dense_rendering(kind, i, background):
    model, camera, colors, behind = scene(kind, i, background)
    wanted, weights, leftover, _ = dense(model, camera, colors, behind)
    found = model.render(camera, colors, behind)
    assert found.shape == (18, 24, 5)
    torch.testing.assert_close(found.view(-1, 5).double(), wanted, rtol=0, atol=NEAR)
    seen = composite(model.voxels, *camera.rays(), colors, behind, model.last_sample)
    torch.testing.assert_close(seen.leftover.double(), leftover, rtol=0, atol=NEAR)
    torch.testing.assert_close(seen.weight.double(), weights.sum(1), rtol=0, atol=NEAR)
    assert wanted.std(0).min() > 0.03  # something is to be seen
    assert (leftover < 1e-4).float().mean() > 0.05  # and something that hides the rest


@pytest.mark.parametrize(("kind", "i", "background"), CASES)
def test_a_shot_is_that_of_packed_samples(kind, i, background):
    model, camera, _, _ = scene(kind, i, background)
    found, wanted = model.shoot(camera), RayField._shoot(model, *camera.rays())
    torch.testing.assert_close(found.color, wanted.color.detach(), rtol=0, atol=NEAR)
    torch.testing.assert_close(found.opacity, wanted.opacity.detach(), rtol=0, atol=NEAR)
    torch.testing.assert_close(found.depth, wanted.depth.detach(), rtol=5e-4, atol=0)
    assert (found.samples - wanted.samples).abs().float().mean() < 0.02  # those that weigh 0.01 to rounding
    assert wanted.samples.float().mean() > 0.3


@pytest.mark.parametrize("kind", SPACES)
def test_what_kernels_do_not_take_is_rendered_by_torch(kind, monkeypatch):
    model, camera, colors, behind = scene(kind, 0, "last")
    monkeypatch.setattr(fields, "suits", lambda *_: False)
    model.chunk = 100  # several chunks, the last one cut
    found = model.render(camera, colors, behind).view(-1, 5)
    torch.testing.assert_close(found.double(), dense(model, camera, colors, behind)[0], rtol=0, atol=5e-6)


def test_bands_of_a_picture_are_the_picture():
    model, camera, colors, behind = scene("bounded", 1, "0,0,1")
    bands = [model.render(band, colors, behind) for band in camera.bands(100)]
    assert torch.equal(torch.cat(bands), model.render(camera, colors, behind))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads):
    model, camera, colors, behind = scene("unbounded", 0, "last")
    camera, before = camera.resized(60, 45), torch.get_num_threads()  # some blocks of rays
    wanted = model.render(camera, colors, behind)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(model.render(camera, colors, behind), wanted)
    finally:
        torch.set_num_threads(before)


def test_rays_that_meet_nothing_show_the_background():
    model, _, colors, behind = scene("bounded", 1, "last")
    pose = look_at(torch.tensor([[5.0, 0.0, 0.0]]), torch.tensor([9.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))[0]
    away = Camera(pose, 9.0, 9.0, 4.5, 4.5, 9, 9)
    torch.testing.assert_close(model.render(away, colors, behind), behind.expand(9, 9, 5))
    shot = model.shoot(away)
    assert (shot.depth == 1e6).all()
    assert not shot.opacity.any()
    assert not shot.samples.any()


def test_a_broken_field_shows_where_it_is_seen():
    model, camera, colors, behind = scene("bounded", 0, "0,0,1")
    with torch.no_grad():
        model.voxels.table[:, 0] = torch.inf
    assert model.render(camera, colors, behind).isfinite().all()  # a wall
    with torch.no_grad():
        model.voxels.table[:, 0] = torch.nan
    assert model.render(camera, colors, behind).isnan().any()


def test_colours_of_another_grid_are_refused():
    model, camera, colors, behind = scene("bounded", 0, "last")
    for some, background in ((colors[1:], behind), (colors, behind[1:])):
        with pytest.raises(ValueError, match=r"colours and what is behind them are \["):
            model.render(camera, some.contiguous(), background)


@pytest.mark.parametrize("place", [[0.05, 0.1, -1.05], [0.03, 0.11, -1.37], [0.02, 0.07, 0.4]])
def test_a_camera_before_or_behind_the_place_of_all_others_sees_as_packed_samples_do(place, monkeypatch):
    """What lies between it and the near plane is behind its back."""
    model, camera, colors, behind = scene("forward", 0, "last")
    camera = replace(camera, pose=torch.cat([camera.pose[:, :3], torch.tensor(place)[:, None]], 1))
    with monkeypatch.context() as patched:
        patched.setattr(fields, "suits", lambda *_: False)
        wanted = model.render(camera, colors, behind)
    torch.testing.assert_close(model.render(camera, colors, behind), wanted, rtol=0, atol=NEAR)
    assert wanted.flatten(0, 1).std(0).min() > 0.03


@pytest.mark.parametrize("step", [0.1, 4.0])
@pytest.mark.parametrize("raw", [-1.5, -0.7, 0.3, 4.0, 6.0])
def test_a_step_takes_what_its_density_says(step, raw):
    """From nothing through the table's steps to beyond its end; in thin steps and thick ones."""
    model, camera, _, _ = scene("bounded", 0, "0,0,1")
    model.config.step = model.voxels.step = step
    with torch.no_grad():
        model.voxels.table[:, 0] = raw
    found, wanted = model.shoot(camera).opacity, RayField._shoot(model, *camera.rays()).opacity.detach()
    torch.testing.assert_close(found, wanted, rtol=0, atol=NEAR)


def test_a_voxel_grid_renders_and_gives_no_gradient():
    model = ball_model()
    assert isinstance(model, Renders)
    assert not isinstance(model, Direct)
    assert torch.equal(model.own(around(1)[0]), model.colors)

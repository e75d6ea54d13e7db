"""Deferred back-propagation against the render operator and against full autograd."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoders import tiny_encoder
from tiny import STYLIZE
from torch import Tensor
from voxels import ball_model, dense_render, views_around

from arf.radiance.looks.painted import painting
from arf.radiance.opening import open_model
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.matrix import build
from arf.radiance.operator.refit import refit
from arf.radiance.operator.views import OperatorSet
from arf.radiance.paint.stylize import stylize

CPU = torch.device("cpu")
VIEWS = views_around(3)
BACKGROUND = torch.tensor([0.3, 0.1, 0.7])
DROP = 0.002
MODELS = {
    "bounded": lambda: ball_model(),
    "unbounded": lambda: ball_model(24, kind="unbounded"),
    "last sample": lambda: ball_model(background="last"),
}


@pytest.fixture(params=MODELS)
def model(request):
    """Three bands for a view, the last one cut."""
    made = MODELS[request.param]()
    made.band = 100
    return made


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def whole_picture_loss(picture: Tensor) -> Tensor:
    """No sum over pixels: its gradient at a pixel depends on the others."""
    picture = picture.view(14, 20, 3)
    return picture.diff(dim=0).square().mean() + (picture.mean((0, 1)) * picture.std()).sum()


def assert_near(found: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    assert wanted.norm() > 0
    assert (found - wanted).norm() <= tolerance * wanted.norm()


def test_picture_gradient_and_adjoint_are_the_operators(model, tmp_path):
    deferred = OperatorSet(model, VIEWS, None)
    operators = OperatorSet(model, VIEWS, ViewCache(1 << 30, tmp_path, CPU))
    assert (len(deferred), deferred.count) == (3, operators.count)
    assert deferred.nbytes == deferred.pixels == 0
    theta = random(deferred.count, 3).requires_grad_()
    for i in range(3):
        pictures = [views[i].apply(theta, BACKGROUND) for views in (deferred, operators)]
        torch.testing.assert_close(*pictures, rtol=0, atol=1e-5)
        assert_near(*(torch.autograd.grad(whole_picture_loss(p), theta)[0] for p in pictures))
        assert_near(*(views[i].transpose(random(14, 20, 3, seed=i)) for views in (deferred, operators)))
    assert pictures[0].std() > 0.03  # something is to be seen


def test_gradient_is_full_autograd_through_dense_rendering(model):
    deferred = OperatorSet(model, VIEWS, None)
    colors = random(model.count, 3, seed=3).requires_grad_()
    table = torch.cat([model.voxels.table[:, :1].detach(), colors], 1)
    picture = dense_render(model, *VIEWS.cameras[0].rays(), table, model.background)[0].float()
    (wanted,) = torch.autograd.grad(whole_picture_loss(picture), colors)
    theta = colors.detach().requires_grad_()
    (found,) = torch.autograd.grad(whole_picture_loss(deferred[0].apply(theta, model.background)), theta)
    assert_near(found, wanted)


def test_nothing_of_a_band_is_kept_for_the_backward_pass(model):
    kept, theta = [], random(model.count, 3).requires_grad_()
    deferred = OperatorSet(model, VIEWS, None)

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        deferred[0].apply(theta, BACKGROUND)
    assert kept == []


def test_rows_longer_than_a_band_are_rendered_one_by_one():
    model = ball_model()
    theta = random(model.count, 3)
    wanted = OperatorSet(model, VIEWS, None, DROP)[1].apply(theta, BACKGROUND)
    model.band = 9
    deferred = OperatorSet(model, VIEWS, None, DROP)
    assert len(list(deferred[1].bands())) == 14
    torch.testing.assert_close(deferred[1].apply(theta, BACKGROUND), wanted, rtol=0, atol=1e-5)
    assert deferred[1].transpose(wanted).shape == theta.shape


def test_refit_without_operators_is_the_refit_with_them(tmp_path):
    model = ball_model()
    deferred = OperatorSet(model, VIEWS, None)
    operators = OperatorSet(model, VIEWS, ViewCache(1 << 30, tmp_path, CPU))
    start, targets = random(model.count, 3), [random(14, 20, 3, seed=i) for i in range(3)]
    found, wanted = (refit(v, start, BACKGROUND, lambda i: (targets[i], None)) for v in (deferred, operators))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_a_scene_is_repainted_the_same_without_operators(fitted, paintings, tmp_path, monkeypatch):
    """But for what makes lean matrices lean. The two ways differ by rounding, and a match or a maximum that flips would
    make more of it."""
    monkeypatch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder("average"))

    def whole(field, camera, drop, rays):
        return build(field.trace(camera, drop), *camera.size, field.count)

    monkeypatch.setattr("arf.radiance.operator.views.traced", whole)
    monkeypatch.setattr("arf.style.objective.computes_bfloat16", lambda device: False)  # it makes more of rounding
    smooth = replace(STYLIZE, loss="gram")
    cached = stylize(fitted, paintings[:1], smooth, tmp_path / "cached")
    settings = replace(smooth, no_cache=True)
    run = stylize(fitted, paintings[:1], settings, tmp_path)
    shown = []
    for done in (run, cached):
        field, painted, capture = open_model(done, CPU)
        shown.append(torch.cat([painting(field, painted.look, c).flatten() for c in capture.train.cameras]))
    error = (shown[0] - shown[1]).abs()  # of pictures: Adam makes much of colours that are next to nowhere seen
    assert (error > 2e-3).float().mean() < 1e-3
    assert error.max() < 2e-2
    assert run.info["metrics"]["operator_bytes"] == run.info["metrics"]["entries_per_pixel"] == 0
    assert run.info["settings"]["no_cache"] is True


def test_lean_matrices_paint_nearly_what_whole_ones_do(fitted, paintings, tmp_path, small_encoder):
    """As they are, at the default of what is left out."""
    settings, shown = replace(STYLIZE, loss="gram", drop_weight=None), []
    for no_cache in (False, True):
        run = stylize(fitted, paintings[:1], replace(settings, no_cache=no_cache), tmp_path / str(no_cache))
        field, painted, capture = open_model(run, CPU)
        shown.append(torch.cat([painting(field, painted.look, c).flatten() for c in capture.train.cameras]))
    assert (shown[0] - shown[1]).abs().mean() < 0.01 < 0.1 < shown[0].std()

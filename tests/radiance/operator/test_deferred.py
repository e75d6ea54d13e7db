"""Deferred back-propagation against the render operator, against full autograd, and against its own random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from nerfactos import small_nerfacto
from nerfstudio.cameras.rays import RayBundle
from tiny import STYLIZE
from torch import Tensor
from voxels import around, ball_model, dense_render

from arf.radiance.capture.capture import Views
from arf.radiance.fields.trace import trace
from arf.radiance.fields.voxel.march import ray_starts
from arf.radiance.fields.voxel.volume import accumulate
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.deferred import DeferredSet, render_deferred
from arf.radiance.operator.operators import OperatorSet, refit
from arf.radiance.paint.stylize import stylize

CPU = torch.device("cpu")
VIEWS = Views(around(3), [Path()] * 3)
BACKGROUND = torch.tensor([0.3, 0.1, 0.7])
DROP = 0.002
VOXELS = {
    "bounded": lambda: ball_model(),
    "unbounded": lambda: ball_model(24, kind="unbounded"),
    "last sample": lambda: ball_model(background="last"),
}
MODELS = {
    **VOXELS,
    "nerfacto": lambda: small_nerfacto(),
    "nerfacto in a box": lambda: small_nerfacto(disable_scene_contraction=True, background_color="white"),
}


@pytest.fixture(params=MODELS)
def model(request):
    """Three chunks for a view, the last one cut."""
    made = MODELS[request.param]()
    made.config.eval_num_rays_per_chunk = 100
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
    deferred = DeferredSet(model, VIEWS, DROP)
    operators = OperatorSet(model, VIEWS, ViewCache(1 << 30, tmp_path, CPU), DROP, lambda *_: None)
    assert torch.equal(deferred.keys, operators.keys)
    assert (len(deferred), deferred.shape, deferred.pixels) == (3, operators.shape, operators.pixels)
    assert deferred.nbytes == 0
    theta = random(len(deferred.keys), 3).requires_grad_()
    for i in range(3):
        pictures = [views[i].apply(theta, BACKGROUND) for views in (deferred, operators)]
        torch.testing.assert_close(*pictures, rtol=0, atol=1e-5)
        assert_near(*(torch.autograd.grad(whole_picture_loss(p), theta)[0] for p in pictures))
        assert_near(*(views[i].transpose(random(14, 20, 3, seed=i)) for views in (deferred, operators)))
    assert pictures[0].std() > 0.03  # something is to be seen


@pytest.mark.parametrize("name", VOXELS)
def test_gradient_is_full_autograd_through_dense_rendering(name):
    model = VOXELS[name]()
    model.config.eval_num_rays_per_chunk = 64
    deferred = DeferredSet(model, replace(VIEWS, filenames=[Path()]), 0.0)
    colors = random(len(model.field.table), 3, seed=3).requires_grad_()
    table = torch.cat([model.field.table[:, :1].detach(), colors], 1)
    picture = dense_render(model, *VIEWS.rays(0), table, model.background)[0].float()
    (wanted,) = torch.autograd.grad(whole_picture_loss(picture), colors)

    rows = torch.stack(torch.unravel_index(deferred.keys, tuple(n + 1 for n in deferred.shape)), 1)  # [V, 3]
    same = (rows[:, None] == model.field.grid.vertices).all(-1).int().argmax(1)  # these vertices in the model's table
    theta = colors.detach()[same].requires_grad_()
    picture = deferred[0].apply(theta, model.background)
    (found,) = torch.autograd.grad(whole_picture_loss(picture), theta)
    assert_near(found, wanted[same])
    assert wanted.norm() == pytest.approx(float(wanted[same].norm()), rel=1e-5)  # and no other vertex has a gradient


def nerfacto_colors(model) -> tuple[Callable[[slice], Tensor], list[Tensor]]:
    """nerfacto as it renders itself, and its colour head, in which colour is not linear."""

    def render(rows: slice) -> Tensor:
        origins, directions = VIEWS.rays(0, rows)
        one = torch.ones(len(origins), 1)
        picture = model(RayBundle(origins, directions, pixel_area=one, camera_indices=one.int()))["rgb"]
        return picture.view(-1, 20, 3)

    return render, list(model.field.mlp_head.parameters())


def voxel_everything(model) -> tuple[Callable[[slice], Tensor], list[Tensor]]:
    """Volume rendering in which density learns too."""

    def render(rows: slice) -> Tensor:
        origins, directions = VIEWS.rays(0, rows)
        samples, weight, leftover, rgb = model.samples(origins, directions)
        starts = ray_starts(samples.ray, len(origins))
        picture = accumulate(weight, rgb, starts, samples.ray) + leftover[:, None] * model.background
        return picture.view(-1, 20, 3)

    return render, [model.field.table]


@pytest.mark.parametrize("training", [False, True])  # in training, samples are drawn at random
@pytest.mark.parametrize("kind", ["nerfacto", "voxel"])
def test_what_is_not_linear_has_the_gradient_of_full_autograd(kind, training):
    made = small_nerfacto() if kind == "nerfacto" else ball_model()
    made.train(training)
    render, parameters = (nerfacto_colors if kind == "nerfacto" else voxel_everything)(made)

    def gradients(picture: Tensor) -> list[Tensor]:
        return torch.autograd.grad(whole_picture_loss(picture), parameters)

    torch.manual_seed(7)
    parts = [render(slice(k, None, 3)) for k in range(3)]
    plain = torch.stack([parts[row % 3][row // 3] for row in range(14)])
    wanted = gradients(plain)
    torch.manual_seed(7)
    picture = render_deferred(render, parameters, 14, 3)
    after = torch.get_rng_state()
    torch.testing.assert_close(picture, plain)
    for found, true in zip(gradients(picture), wanted, strict=True):
        assert_near(found, true)
    assert torch.equal(torch.get_rng_state(), after)  # the second pass takes nothing from whoever draws next
    other = gradients(render_deferred(render, parameters, 14, 3))
    moved = sum((a - b).norm() for a, b in zip(other, wanted, strict=True))
    assert (moved > 1e-3 * sum(w.norm() for w in wanted)) == training  # and other samples would have shown


def test_what_the_parameters_came_from_gets_its_gradient_too():
    weight = random(3, 3).requires_grad_()
    unused = torch.ones(2, requires_grad=True)
    colors = weight * 2
    rows = random(10, 3, seed=1)

    def render(here: slice) -> Tensor:
        return (rows[here] @ colors).sin()

    picture = render_deferred(render, [colors, unused], 10, 40)  # a row each
    (picture.square().sum() + unused.sum()).backward()
    twin = weight.detach().requires_grad_()
    (rows @ (twin * 2)).sin().square().sum().backward()
    torch.testing.assert_close(weight.grad, twin.grad)
    assert torch.equal(unused.grad, torch.ones(2))


def test_mixed_precision_is_that_of_the_first_pass():
    weight, seen = random(8, 8).requires_grad_(), []

    def render(rows: slice) -> Tensor:
        seen.append((weight @ weight).dtype)
        return (weight @ weight)[rows].float()

    with torch.autocast("cpu", torch.bfloat16):
        picture = render_deferred(render, [weight], 8, 3)
    picture.sum().backward()
    assert seen == [torch.bfloat16] * 6


def test_nothing_of_a_chunk_is_kept_for_the_backward_pass():
    render, parameters = nerfacto_colors(small_nerfacto())
    kept = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        render(slice(None))
        plain = sum(kept)
        kept.clear()
        render_deferred(render, parameters, 14, 4)
    assert sum(kept) == sum(parameter.nbytes for parameter in parameters) < 1e-2 * plain


def test_vertices_that_no_view_has_seen_weigh_nothing():
    model = ball_model()
    deferred = DeferredSet(model, VIEWS, DROP)
    traced = trace(model, *VIEWS.rays(0), DROP)
    gone = torch.arange(len(deferred.keys)) % 3 == 0
    keys = deferred.keys
    deferred.keys = keys[~gone]
    rows, share = deferred.vertices(traced)
    vertices, weights = traced.vertices(deferred.shape)
    assert torch.equal(share, weights.where(~torch.isin(vertices, keys[gone]), 0.0))
    assert torch.equal(deferred.keys[rows][share > 0], vertices[share > 0])


def test_rows_longer_than_a_chunk_are_rendered_one_by_one():
    model = ball_model()
    theta = random(len(DeferredSet(model, VIEWS, DROP).keys), 3)
    wanted = DeferredSet(model, VIEWS, DROP)[1].apply(theta, BACKGROUND)
    model.config.eval_num_rays_per_chunk = 9
    deferred = DeferredSet(model, VIEWS, DROP)
    assert deferred.chunks(1) == 14
    torch.testing.assert_close(deferred[1].apply(theta, BACKGROUND), wanted, rtol=0, atol=1e-5)
    assert deferred[1].transpose(wanted).shape == theta.shape


def test_refit_without_operators_is_the_refit_with_them(tmp_path):
    model = ball_model()
    deferred = DeferredSet(model, VIEWS, DROP)
    operators = OperatorSet(model, VIEWS, ViewCache(1 << 30, tmp_path, CPU), DROP, lambda *_: None)
    start, targets = random(len(deferred.keys), 3), [random(14, 20, 3, seed=i) for i in range(3)]
    found, wanted = (refit(views, start, BACKGROUND, targets.__getitem__) for views in (deferred, operators))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_a_scene_is_repainted_the_same_without_operators(stylized, fitted, paintings, tmp_path):
    phases = []
    settings = replace(STYLIZE, no_cache=True)
    run = stylize(fitted, paintings[:1], settings, tmp_path, lambda phase, *_: phases.append(phase))
    found, wanted = (r.load("model")[0] for r in (run, stylized))
    assert torch.equal(found["colors.keys"], wanted["colors.keys"])
    torch.testing.assert_close(found["colors.theta"], wanted["colors.theta"], rtol=0, atol=2e-3)
    assert run.info["metrics"]["operator_bytes"] == run.info["metrics"]["entries_per_pixel"] == 0
    assert phases.count("trace") == 18  # every view once for what it sees
    assert run.info["settings"]["no_cache"] is True

"""All views' operators together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gaussians import random_splats
from torch.nn.functional import avg_pool2d
from voxels import ball_model, views_around

from arf.errors import UserError
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.deferred import DeferredView
from arf.radiance.operator.matrix import RenderOperator, build
from arf.radiance.operator.views import OperatorSet

CPU = torch.device("cpu")
VIEWS = views_around(4)
BACKGROUND = torch.tensor([0.3, 0.1, 0.7])


@pytest.fixture(scope="module")
def model():
    return ball_model()


def operators_of(model, folder: Path, budget: int = 1 << 30) -> OperatorSet:
    return OperatorSet(model, VIEWS, ViewCache(budget, folder, CPU), 0.002)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_view_renders_as_its_own_operator(model, tmp_path):
    operators = operators_of(model, tmp_path)
    assert operators.count == model.count
    assert operators.entries == 0  # none is traced before it is asked for
    whole = [build(model.trace(camera, 0.001), *camera.size, model.count, 0.001) for camera in VIEWS.cameras]
    theta = random(model.count, 3)
    for i, single in enumerate(whole):
        assert single.values.dtype == torch.uint16
        found = operators[i].apply(theta, BACKGROUND)
        torch.testing.assert_close(found, single.apply(theta, BACKGROUND), rtol=0, atol=1e-6)
    assert operators.entries == sum(len(o.values) for o in whole)
    assert operators.nbytes == sum(operators[i].nbytes for i in range(4))
    assert operators.pixels == 4 * 14 * 20
    assert len(operators) == 4


def test_a_resolution_for_a_field_that_has_its_own_is_refused(model, tmp_path):
    with pytest.raises(UserError, match="--color-resolution is for nerfacto"):
        OperatorSet(model, VIEWS, ViewCache(1 << 30, tmp_path, CPU), resolution=64)


def test_operators_from_disk_are_the_ones_in_memory(model, tmp_path):
    inside, outside = operators_of(model, tmp_path / "a"), operators_of(model, tmp_path / "b", budget=0)
    for i in range(4):
        assert torch.equal(inside[i].values, outside[i].values)
    assert (inside.cache.on_disk, outside.cache.in_memory) == (0, 0)
    assert outside.cache.on_disk == inside.cache.in_memory == inside.nbytes
    theta = random(inside.count, 3)
    for i in range(4):
        for name, tensor in inside[i].tensors().items():
            assert torch.equal(outside[i].tensors()[name], tensor)
        assert torch.equal(outside[i].transpose(outside[i].apply(theta, BACKGROUND)),
                           inside[i].transpose(inside[i].apply(theta, BACKGROUND)))  # fmt: skip


def splat_field(antialiased: bool = True) -> SplatField:
    return SplatField(random_splats(200), BACKGROUND, CPU, antialiased)


def test_splats_beyond_the_budget_are_rendered_anew_and_look_the_same(tmp_path):
    field = splat_field()
    whole = OperatorSet(field, VIEWS, ViewCache(1 << 30, tmp_path / "a", CPU))
    theta, pictures = random(field.count, 3), [random(14, 20, 3, seed=i) for i in range(4)]
    first = whole[0].nbytes
    some = OperatorSet(field, VIEWS, ViewCache(int(2.5 * first), tmp_path / "b", CPU))
    kinds = [type(some[i]) for i in (0, 1, 2, 3)]
    assert kinds == [RenderOperator, RenderOperator, DeferredView, DeferredView]
    assert not (tmp_path / "b").exists()
    assert some.cache.in_memory == some.nbytes <= 2.5 * first
    for i in range(4):
        shown = [operators[i].apply(theta, BACKGROUND) for operators in (some, whole)]
        torch.testing.assert_close(*shown, rtol=0, atol=1e-5)
        torch.testing.assert_close(some[i].transpose(pictures[i]), whole[i].transpose(pictures[i]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("kind", ["voxel", "splat"])
def test_a_pixel_is_the_mean_of_its_rays(kind, kept, model, tmp_path):
    """Against the finer picture, shrunk."""
    field = model if kind == "voxel" else splat_field(False)
    cache = ViewCache(1 << 30, tmp_path, CPU) if kept else None
    operators = OperatorSet(field, VIEWS, cache, rays=2)
    theta = random(field.count, 3).requires_grad_()
    camera = VIEWS.cameras[1].resized(40, 28)
    fine = build(field.trace(camera), *camera.size, field.count)
    wanted = avg_pool2d(fine.apply(theta, BACKGROUND).permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)
    found = operators[1].apply(theta, BACKGROUND)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    single = OperatorSet(field, VIEWS, None)[1].apply(theta, BACKGROUND)
    assert (single - wanted).abs().max() > 0.02  # one ray to a pixel shows something else
    picture = random(14, 20, 3, seed=5)
    pulled = [torch.autograd.grad((p * picture).sum(), theta)[0] for p in (found, wanted)]
    torch.testing.assert_close(*pulled, rtol=0, atol=1e-4)
    torch.testing.assert_close(operators[1].transpose(picture), pulled[1], rtol=0, atol=1e-4)

"""The render operator against dense volume rendering: the picture, the gradient, the adjoint, the memory."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from voxels import around, ball_model, dense_render

from arf.radiance.fields.voxel.field import VoxelField
from arf.radiance.operator.matrix import RenderOperator, build, merge_by_scipy, merge_by_torch, spread, stack
from arf.style.color import Affine

HEIGHT, WIDTH = 14, 20
MODELS = {
    "colour behind": lambda: ball_model(),
    "last sample behind": lambda: ball_model(background="last"),
    "unbounded": lambda: ball_model(24, kind="unbounded"),
}


def view() -> tuple[Tensor, Tensor]:
    return around(1, WIDTH, HEIGHT)[0].rays()


def operator_of(model: VoxelField, drop_weight: float = 0.0) -> RenderOperator:
    return build(model.trace_rays(view(), drop_weight), HEIGHT, WIDTH, model.count)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", MODELS)
def test_apply_is_dense_rendering_of_the_same_colours(name):
    model = MODELS[name]()
    colors = random(model.count, 3, seed=3)  # not the ones that were traced
    table = torch.cat([model.voxels.table[:, :1], colors], 1)
    background = torch.tensor([0.9, 0.1, 0.4])
    wanted = dense_render(model, *view(), table, background)[0].view(HEIGHT, WIDTH, 3)
    found = operator_of(model).apply(colors, background)
    assert (found - wanted).abs().max() <= 1e-5
    light = operator_of(model, 0.002).apply(colors, background)
    assert (light - wanted).abs().max() <= 2 / 255
    assert (light - wanted).abs().mean() <= 0.2 / 255


@pytest.mark.parametrize("name", MODELS)
def test_gradient_through_the_operator_is_autograd_through_dense_rendering(name):
    model = MODELS[name]()
    colors = random(model.count, 3, seed=3).requires_grad_()
    cotangent = random(HEIGHT, WIDTH, 3, seed=4) - 0.5

    def pull(picture: Tensor) -> Tensor:
        loss = (picture * cotangent).sum() + picture.square().mean()  # a part that depends on the picture
        return torch.autograd.grad(loss, colors)[0]

    density = model.voxels.table[:, :1].detach()
    wanted = pull(dense_render(model, *view(), torch.cat([density, colors], 1))[0].view(HEIGHT, WIDTH, 3))
    found = pull(operator_of(model).apply(colors, model.background))
    assert (found - wanted).norm() <= 1e-5 * wanted.norm()
    assert wanted.any(1).sum() > 100


def test_transpose_is_the_adjoint():
    model = ball_model()
    operator = operator_of(model)
    theta, picture = random(operator.count, 3), random(HEIGHT, WIDTH, 3, seed=1)
    image = operator.apply(theta, torch.zeros(3))
    left, right = (image.double() * picture).sum(), (theta.double() * operator.transpose(picture)).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-6)
    matrix = torch.sparse_csr_tensor(
        operator.starts, operator.columns, operator.values, (HEIGHT * WIDTH, operator.count), check_invariants=True
    ).to_dense()
    torch.testing.assert_close(operator.transpose(picture), matrix.T @ picture.view(-1, 3))
    torch.testing.assert_close(image.view(-1, 3), matrix @ theta)
    torch.testing.assert_close(matrix.sum(1) + operator.transmittance, torch.ones(HEIGHT * WIDTH))


def test_an_affine_map_of_the_colours_is_the_same_map_of_the_picture():
    model = ball_model()
    operator = operator_of(model, 0.002)
    theta, background = random(operator.count, 3), torch.tensor([0.3, 0.6, 0.2])
    matrix, bias = [[0.8, -0.3, 0.1], [0.2, 1.1, 0.0], [-0.1, 0.4, 0.7]], [0.3, -0.1, 0.05]
    affine = Affine(torch.tensor(matrix, dtype=torch.float64), torch.tensor(bias, dtype=torch.float64))
    found = operator.apply(affine.apply(theta), affine.apply(background))
    torch.testing.assert_close(found, affine.apply(operator.apply(theta, background)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pixels", [20, 60, 1 << 15])
def test_bands_one_below_the_other_are_the_view(pixels):
    model = ball_model()
    whole, camera = operator_of(model, 0.002), around(1, WIDTH, HEIGHT)[0]
    found = stack([build(model.trace(band, 0.002), *band.size, model.count) for band in camera.bands(pixels)])
    assert (found.height, found.width, found.count) == (HEIGHT, WIDTH, model.count)
    theta, picture = random(model.count, 3), random(HEIGHT, WIDTH, 3, seed=1)
    torch.testing.assert_close(found.apply(theta, model.background), whole.apply(theta, model.background))
    torch.testing.assert_close(found.transpose(picture), whole.transpose(picture), rtol=0, atol=1e-5)
    assert found.columns.dtype == found.starts.dtype == torch.int32


def test_memory_is_what_the_tensors_take_and_indices_are_narrow():
    operator = operator_of(ball_model())
    assert operator.nbytes == sum(t.numel() * t.element_size() for t in operator.tensors().values())
    assert operator.columns.dtype == operator.starts.dtype == torch.int32
    assert operator.values.dtype == operator.transmittance.dtype == torch.float32
    # a vertex stands once in a pixel's row: shared corners of neighbouring samples are summed
    for first, end in itertools.pairwise(operator.starts.tolist()):
        assert len(set(operator.columns[first:end].tolist())) == end - first


@pytest.mark.parametrize("block", [37, 1 << 15])  # with a cut last block, and all at once
@pytest.mark.parametrize("name", MODELS)
def test_the_gpus_way_of_merging_gives_the_same_matrix(name, block):
    model = MODELS[name]()
    traced, count = model.trace_rays(view(), 0.002), model.count
    for index in (torch.int32, torch.int64):
        wanted = merge_by_scipy(traced, count, index)
        found = merge_by_torch(traced, count, index, block)
        for ours, theirs in zip(found[:2], wanted[:2], strict=True):
            assert torch.equal(ours.long(), theirs.long())
        assert found[0].dtype == found[1].dtype == index
        torch.testing.assert_close(found[2], wanted[2], rtol=0, atol=1e-6)
    assert len(wanted[2]) < len(traced.weights)  # something was merged


@pytest.mark.parametrize("entries", [100, 1 << 24])
def test_the_gpus_way_of_transposing_gives_the_same_product(entries, monkeypatch):
    monkeypatch.setattr("arf.radiance.operator.matrix.ENTRIES", entries)
    operator = operator_of(ball_model(), 0.002)
    picture = random(HEIGHT, WIDTH, 3, seed=1) - 0.5
    assert len(operator.values) > 1000
    torch.testing.assert_close(spread(operator, picture.view(-1, 3)), operator.transpose(picture), rtol=0, atol=1e-5)


def test_a_view_that_meets_nothing_shows_the_background():
    model = ball_model(12)
    origins, directions = torch.full((6, 3), 5.0), torch.nn.functional.normalize(torch.ones(6, 3), dim=1)
    traced = model.trace_rays((origins, directions))
    operator = build(traced, 2, 3, model.count)
    starts, columns, values = merge_by_torch(traced, operator.count, torch.int32)
    assert torch.equal(starts, operator.starts)
    assert len(columns) == len(values) == 0
    theta = random(operator.count, 3).requires_grad_()
    picture = operator.apply(theta, torch.tensor([0.1, 0.2, 0.3]))
    assert torch.equal(picture, torch.tensor([0.1, 0.2, 0.3]).expand(2, 3, 3))
    picture.sum().backward()
    assert not theta.grad.any()


def test_colours_of_another_length_are_refused():
    operator = operator_of(ball_model(12))
    with pytest.raises(ValueError, match=r"\[5, 3\]"):
        operator.apply(torch.zeros(5, 3), torch.zeros(3))

"""The render operator against dense volume rendering: the picture, the gradient, the adjoint, the memory."""

from __future__ import annotations

import itertools

import pytest
import scipy.sparse
import torch
from torch import Tensor
from voxels import around, ball_model, dense_render

from arf.radiance.fields.field import Trace
from arf.radiance.fields.voxel.field import VoxelField
from arf.radiance.operator.matrix import RenderOperator, Rows, build, merge_by_torch, spread, stack
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
    matrix = dense(operator.starts, operator.columns, operator.values, operator.count)
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


def by_scipy(trace: Trace, count: int, index: torch.dtype = torch.int32) -> Rows:
    """Rows with ascending columns, each once."""
    parts = trace.weights.numpy(), trace.columns.to(index).numpy(), trace.starts.to(index).numpy()
    matrix = scipy.sparse.csr_matrix(parts, shape=(len(trace.leftover), count), copy=True)
    matrix.sum_duplicates()
    return tuple(torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))


def dense(starts: Tensor, columns: Tensor, values: Tensor, count: int) -> Tensor:
    rows = torch.repeat_interleave(starts.diff().long())
    return torch.zeros(len(starts) - 1, count).index_put_((rows, columns.long()), values, accumulate=True)


@pytest.mark.parametrize("name", MODELS)
def test_the_cpus_way_of_merging_gives_scipys_matrix(name):
    model = MODELS[name]()
    traced = model.trace_rays(view(), 0.002)
    wanted, found = by_scipy(traced, model.count), build(traced, HEIGHT, WIDTH, model.count)
    assert torch.equal(found.starts, wanted[0])
    matrices = [dense(*rows, model.count) for rows in ((found.starts, found.columns, found.values), wanted)]
    torch.testing.assert_close(*matrices, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_lean_matrix_has_few_entries_and_hardly_another_picture(name):
    model = MODELS[name]()
    traced = model.trace_rays(view(), 0.002)
    whole, lean = (build(traced, HEIGHT, WIDTH, model.count, drop) for drop in (0.0, 0.01))
    assert lean.values.dtype == torch.uint16
    assert lean.starts.diff().max() <= 64
    assert len(lean.values) < 0.9 * len(whole.values)
    theta, behind = random(model.count, 3), torch.tensor([0.9, 0.1, 0.4])
    difference = (lean.apply(theta, behind) - whole.apply(theta, behind)).abs()
    assert difference.max() < 0.03
    assert difference.mean() < 0.005
    ones = torch.ones(model.count, 3)
    totals = [o.apply(ones, torch.zeros(3)) for o in (lean, whole)]
    torch.testing.assert_close(*totals, rtol=0, atol=64 / 65535)
    picture = random(HEIGHT, WIDTH, 3, seed=1)
    assert (lean.apply(theta, torch.zeros(3)) * picture).sum().item() == pytest.approx(
        (theta * lean.transpose(picture)).sum().item(), rel=1e-5
    )


def test_the_gpu_too_keeps_the_heaviest_entries_of_a_row_and_its_total():
    model = ball_model()
    traced = model.trace_rays(view(), 0.002)
    starts, columns, values = merge_by_torch(traced, model.count, torch.int32, 37)
    lean = merge_by_torch(traced, model.count, torch.int32, 37, most=9)
    assert lean[0].diff().max() == 9 < starts.diff().max()
    for row, (first, end) in enumerate(itertools.pairwise(starts.tolist())):
        here = slice(*lean[0][row : row + 2].tolist())
        heaviest = values[first:end].topk(min(9, end - first)).indices.sort().values
        assert torch.equal(lean[1][here], columns[first:end][heaviest])
        torch.testing.assert_close(lean[2][here].sum(), values[first:end].sum(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("drop", [0.0, 0.002])
def test_products_of_any_number_of_channels_are_those_of_the_dense_matrix(channels, drop):
    model = ball_model()
    operator = build(model.trace_rays(view(), drop), HEIGHT, WIDTH, model.count, drop)
    values = operator.values.float() / 65535 if drop else operator.values
    matrix = dense(operator.starts, operator.columns, values, model.count)
    theta, picture = random(model.count, channels), random(HEIGHT, WIDTH, channels, seed=1)
    found = operator.apply(theta, torch.zeros(channels)).view(-1, channels)
    torch.testing.assert_close(found, matrix @ theta, rtol=0, atol=1e-5)
    pulled = matrix.T @ picture.view(-1, channels)
    torch.testing.assert_close(operator.transpose(picture), pulled, rtol=0, atol=1e-5)


@pytest.mark.parametrize("block", [37, 1 << 15])  # with a cut last block, and all at once
@pytest.mark.parametrize("name", MODELS)
def test_the_gpus_way_of_merging_gives_the_same_matrix(name, block):
    model = MODELS[name]()
    traced, count = model.trace_rays(view(), 0.002), model.count
    for index in (torch.int32, torch.int64):
        wanted = by_scipy(traced, count, index)
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

"""Packed volume rendering against per-ray loops under plain autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from arf.radiance.fields.rays.volume import accumulate, add_rows, before, interpolate, ray_sums, render_weights

COUNTS = (3, 0, 1, 7, 0, 0, 2)  # samples per ray; first, middle and last rays matter, so do empty ones
WITH_EMPTY_ENDS = (0, 4, 0, 5, 0)


def packed(counts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """starts [R + 1] and ray [N]."""
    lengths = torch.tensor(counts)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    return starts, torch.arange(len(counts)).repeat_interleave(lengths)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def loop_weights(tau: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """The definition, sample by sample."""
    weights, leftovers = [], []
    for first, end in itertools.pairwise(starts.tolist()):
        transmittance = tau.new_ones(())
        for i in range(first, end):
            weights.append(transmittance * (1 - torch.exp(-tau[i])))
            transmittance = transmittance * torch.exp(-tau[i])
        leftovers.append(transmittance)
    return torch.stack(weights), torch.stack(leftovers)


@pytest.mark.parametrize("counts", [COUNTS, WITH_EMPTY_ENDS])
def test_running_and_whole_sums(counts):
    starts, ray = packed(counts)
    values = random(len(ray))
    for i, r in enumerate(ray.tolist()):
        assert before(values, starts, ray)[i].item() == pytest.approx(values[starts[r] : i].sum().item())
    for r in range(len(counts)):
        assert ray_sums(values, starts)[r].item() == pytest.approx(values[starts[r] : starts[r + 1]].sum().item())


def test_sums_of_a_ray_do_not_suffer_from_the_rays_before_it():
    starts, ray = packed((1000, 2))
    values = torch.cat([torch.full((1000,), 1e4), torch.tensor([1e-3, 2e-3])])  # float32
    assert before(values, starts, ray)[-1].item() == pytest.approx(1e-3, rel=1e-5)
    assert ray_sums(values, starts)[-1].item() == pytest.approx(3e-3, rel=1e-5)


@pytest.mark.parametrize("counts", [COUNTS, WITH_EMPTY_ENDS, (300, 2)])
def test_what_is_compiled_for_float32_is_what_torch_does_in_float64(counts):
    starts, ray = packed(counts)
    parts = []
    for dtype in (torch.float32, torch.float64):
        tau = (4 * random(len(ray)) ** 2).to(dtype).requires_grad_()
        weights, leftover = render_weights(tau, starts, ray)
        assert weights.dtype == leftover.dtype == dtype
        given = random(len(ray), seed=1).to(dtype), random(len(counts), seed=2).to(dtype)
        (gradient,) = torch.autograd.grad((weights, leftover), tau, given)
        parts.append([part.double() for part in (weights, leftover, gradient)])
    for found, wanted in zip(*parts, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("counts", [COUNTS, WITH_EMPTY_ENDS])
def test_weights_are_the_definition_and_so_is_their_gradient(counts):
    starts, ray = packed(counts)
    tau = (4 * random(len(ray)) ** 2).requires_grad_()
    grad_weights, grad_leftover = random(len(ray), seed=1) - 0.5, random(len(counts), seed=2) - 0.5
    found, wanted = render_weights(tau, starts, ray), loop_weights(tau, starts)
    gradients = []
    for weights, leftover in (found, wanted):
        objective = (weights * grad_weights).sum() + (leftover * grad_leftover).sum()
        gradients.append(torch.autograd.grad(objective, tau)[0])
    for a, b in (*zip(found, wanted, strict=True), gradients):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_weights_and_leftover_share_out_one():
    starts, ray = packed(COUNTS)
    for scale in (1e-6, 1.0, 1e3):  # clear, ordinary, opaque
        tau = (scale * random(len(ray))).float()
        weights, leftover = render_weights(tau, starts, ray)
        total = torch.zeros(len(COUNTS)).index_add(0, ray, weights) + leftover
        torch.testing.assert_close(total, torch.ones(len(COUNTS)), rtol=1e-6, atol=1e-6)
        assert (weights >= 0).all()
    assert leftover[1] == 1  # nothing on that ray
    assert torch.equal(render_weights(torch.zeros(len(ray)), starts, ray)[1], torch.ones(len(COUNTS)))


def test_thin_samples_keep_their_digits():
    starts, ray = packed((2,))
    weights, _ = render_weights(torch.tensor([1e-9, 2e-9]), starts, ray)  # 1 - exp(-1e-9) is 0 in float32
    torch.testing.assert_close(weights, torch.tensor([1e-9, 2e-9]), rtol=1e-6, atol=0)


def test_gradcheck_of_all_three():
    starts, ray = packed(COUNTS)
    tau = (2 * random(len(ray)) + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: render_weights(t, starts, ray), tau)
    weights, values = random(len(ray), seed=1).requires_grad_(), random(len(ray), 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda w, v: accumulate(w, v, starts, ray), (weights, values))
    table = random(9, 4, seed=3).requires_grad_()
    rows = torch.randint(0, 9, (20, 8), generator=torch.Generator().manual_seed(4), dtype=torch.int32)
    shares = random(20, 8, seed=5)
    assert torch.autograd.gradcheck(lambda t: interpolate(t, rows, shares), table)


def test_interpolation_gathers_and_its_gradient_scatters():
    table, shares = random(6, 4, dtype=torch.float32), random(11, 8, seed=1, dtype=torch.float32)
    rows = torch.randint(0, 5, (11, 8), generator=torch.Generator().manual_seed(2), dtype=torch.int32)  # row 5 unused
    table.requires_grad_()
    wanted = (table[rows.long()] * shares[..., None]).sum(1)
    found = interpolate(table, rows, shares)
    torch.testing.assert_close(found, wanted)
    cotangent = random(11, 4, seed=3, dtype=torch.float32)
    gradients = [torch.autograd.grad((y * cotangent).sum(), table)[0] for y in (found, wanted)]
    torch.testing.assert_close(*gradients)
    assert not gradients[0][5].any()
    torch.testing.assert_close(add_rows(rows, shares, cotangent, 6), gradients[1])


@pytest.mark.parametrize("counts", [COUNTS, WITH_EMPTY_ENDS])
def test_accumulation_sums_each_ray(counts):
    starts, ray = packed(counts)
    weights, values = random(len(ray)).requires_grad_(), random(len(ray), 3, seed=1).requires_grad_()
    found = accumulate(weights, values, starts, ray)
    pairs = itertools.pairwise(starts.tolist())
    wanted = torch.stack([(weights[a:b, None] * values[a:b]).sum(0) for a, b in pairs])
    torch.testing.assert_close(found, wanted)
    cotangent = random(len(counts), 3, seed=2)
    pairs = [torch.autograd.grad((y * cotangent).sum(), (weights, values)) for y in (found, wanted)]
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b)


def test_no_samples_at_all():
    starts, ray = packed((0, 0, 0))
    weights, leftover = render_weights(torch.zeros(0), starts, ray)
    assert weights.shape == (0,)
    assert torch.equal(leftover, torch.ones(3))
    assert torch.equal(accumulate(weights, torch.zeros(0, 3), starts, ray), torch.zeros(3, 3))

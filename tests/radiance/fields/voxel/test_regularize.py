"""Regularisers against their definitions, term by term."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from arf.radiance.fields.voxel.grid import SparseGrid
from arf.radiance.fields.voxel.regularize import distortion, laplacian, smoothness

COUNTS = (4, 0, 1, 6, 3)


def rays() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """weights, sorted middles, starts and ray of packed samples."""
    generator = torch.Generator().manual_seed(0)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor(COUNTS).cumsum(0)])
    ray = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    weights = torch.rand(len(ray), generator=generator, dtype=torch.float64) / 3
    middle = [torch.rand(n, generator=generator, dtype=torch.float64).mul(4).sort().values for n in COUNTS]
    return weights, torch.cat(middle), starts, ray


def pairwise(weights: Tensor, middle: Tensor, width: float, starts: Tensor) -> Tensor:
    """Mip-NeRF 360's equation 15 with every pair written out, averaged over rays."""
    total = weights.new_zeros(())
    for first, end in itertools.pairwise(starts.tolist()):
        w, m = weights[first:end], middle[first:end]
        total = total + (w[:, None] * w[None] * (m[:, None] - m[None]).abs()).sum() + width / 3 * w.square().sum()
    return total / (len(starts) - 1)


def test_distortion_and_its_gradient_are_the_sum_over_pairs():
    weights, middle, starts, ray = rays()
    weights.requires_grad_()
    found, wanted = distortion(weights, middle, 0.07, starts, ray), pairwise(weights, middle, 0.07, starts)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(loss, weights)[0] for loss in (found, wanted)))


def test_distortion_that_is_compiled_for_float32_is_torchs():
    weights, middle, starts, ray = rays()
    parts = []
    for dtype in (torch.float32, torch.float64):
        own = weights.to(dtype).requires_grad_()
        loss = distortion(own, middle.to(dtype), 0.07, starts, ray)
        parts.append([loss.double(), torch.autograd.grad(loss, own)[0].double()])
    for found, wanted in zip(*parts, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_distortion_of_one_spike_is_its_width_and_grows_with_a_floater():
    starts, ray = torch.tensor([0, 3]), torch.zeros(3, dtype=torch.int64)
    middle = torch.tensor([0.5, 1.5, 2.5])
    spike = distortion(torch.tensor([0.0, 1.0, 0.0]), middle, 0.3, starts, ray)
    assert spike.item() == pytest.approx(0.1)
    split = distortion(torch.tensor([0.5, 0.0, 0.5]), middle, 0.3, starts, ray)
    assert split.item() == pytest.approx(2 * 0.25 * 2 + 0.1 * 0.5)


def some_grid() -> SparseGrid:
    """Two clusters of cells, one of them on the border, and a lone cell."""
    mask = torch.zeros(5, 4, 6, dtype=torch.bool)
    mask[0:2, 0:3, 0] = mask[4, 3, 5] = mask[2:4, 2, 2:5] = True
    return SparseGrid((5, 4, 6), mask.flatten().nonzero().squeeze(1))


def neighbours(grid: SparseGrid) -> list[tuple[int, int]]:
    """Pairs of rows whose vertices are a step apart on one axis."""
    row = {tuple(v): i for i, v in enumerate(grid.vertices.tolist())}
    steps = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    pairs = ((i, row.get((x + a, y + b, z + c))) for (x, y, z), i in row.items() for a, b, c in steps)
    return [(i, j) for i, j in pairs if j is not None]


def test_laplacian_counts_neighbours():
    grid = some_grid()
    found = laplacian(grid).to_dense()
    wanted = torch.zeros_like(found)
    for i, j in neighbours(grid):
        wanted[i, j] = wanted[j, i] = -1
        wanted[i, i] += 1
        wanted[j, j] += 1
    assert torch.equal(found, wanted)
    assert not found.sum(1).any()


def test_smoothness_and_its_gradient_are_the_sum_over_neighbours():
    grid = some_grid()
    table = torch.randn(len(grid.vertices), 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    strength = torch.tensor([0.3, 0.01, 0.02, 0.05])
    pairs = torch.tensor(neighbours(grid))
    differences = (table[pairs[:, 0]] - table[pairs[:, 1]]).square().sum(0)
    wanted = (strength * differences).sum() / (2 * len(table))
    found = smoothness(table, laplacian(grid), strength)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(2 * loss, table)[0] for loss in (found, wanted)))


def test_a_constant_is_perfectly_smooth():
    grid = some_grid()
    table = torch.ones(len(grid.vertices), 4).requires_grad_()
    loss = smoothness(table, laplacian(grid), torch.ones(4))
    loss.backward()
    assert loss.item() == 0
    assert not table.grad.any()

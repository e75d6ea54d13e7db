"""What keeps a fitted field sane: one surface per ray, and no noise between neighbouring vertices."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.fields.arrays import arrays, suits
from arf.radiance.fields.jit import ready
from arf.radiance.fields.rays import kernels
from arf.radiance.fields.rays.volume import before, ray_sums
from arf.radiance.fields.voxel.grid import SparseGrid, linear_index


def distortion(
    weights: Float[Tensor, " n"],
    middle: Float[Tensor, " n"],
    width: float,
    starts: Int[Tensor, " r1"],
    ray: Int[Tensor, " n"],
) -> Float[Tensor, ""]:
    """Mean over rays of sum_ij w_i w_j |m_i - m_j| + width/3 sum_i w_i^2 (Barron et al., Mip-NeRF 360, eq. 15).

    Linear in the number of samples: with sorted middles the inner sum needs only running sums of w and w*m.
    """
    spread = _spread(weights.detach(), middle, starts, ray)  # [n]
    # The sum is quadratic in w, so its gradient is twice the spread: double the linear form, but not its value.
    linear = (weights * spread.to(weights.dtype)).sum()
    return (2 * linear - linear.detach() + width / 3 * weights.square().sum()) / (len(starts) - 1)


def _spread(w: Tensor, m: Tensor, starts: Tensor, ray: Tensor) -> Tensor:
    """sum_j w_j |m_i - m_j| over the samples of a ray."""
    if suits(w, m):
        out = torch.empty_like(w)
        with ready():
            kernels.apart(*arrays(w, m, starts, out))
        return out
    front, front_m = before(w, starts, ray), before(w * m, starts, ray)
    total, total_m = ray_sums(w, starts)[ray], ray_sums(w * m, starts)[ray]
    back, back_m = total - front - w, total_m - front_m - w * m
    return m * (front - back) - (front_m - back_m)


def laplacian(grid: SparseGrid) -> Tensor:
    """Graph Laplacian [V, V] of the grid's vertices (sparse CSR): degree on the diagonal, -1 for each neighbour."""
    points = tuple(n + 1 for n in grid.shape)
    key = linear_index(grid.vertices, points)  # [V] sorted
    own = torch.arange(len(key), device=key.device)
    rows, columns = [], []
    for axis in range(3):
        moved = grid.vertices.clone()
        moved[:, axis] += 1
        wanted = linear_index(moved, points)
        at = torch.searchsorted(key, wanted).clamp_max(len(key) - 1)
        linked = (key[at] == wanted) & (moved[:, axis] <= grid.shape[axis])
        rows += [own[linked], at[linked]]
        columns += [at[linked], own[linked]]
    row, column = torch.cat(rows), torch.cat(columns)
    order = torch.argsort(torch.cat([row, own]) * len(own) + torch.cat([column, own]))
    degree = torch.bincount(row, minlength=len(own)).float()
    row, column = torch.cat([row, own])[order], torch.cat([column, own])[order]
    values = torch.cat([-torch.ones(len(order) - len(own), device=own.device), degree])[order]
    starts = torch.searchsorted(row, torch.arange(len(own) + 1, device=own.device))
    return torch.sparse_csr_tensor(starts.int(), column.int(), values, (len(own), len(own)), check_invariants=False)


class _Smoothness(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, graph, strength):
        gradient = (graph @ table) * (strength / len(table))  # [V, c]
        ctx.save_for_backward(gradient)
        return (table * gradient).sum() / 2

    @staticmethod
    def backward(ctx, grad_output):
        (gradient,) = ctx.saved_tensors
        return gradient * grad_output, None, None


def smoothness(table: Float[Tensor, "V c"], graph: Tensor, strength: Float[Tensor, " c"]) -> Float[Tensor, ""]:
    """strength/(2V) times the sum, over neighbouring vertices, of their squared difference.

    That is table' L table with the graph Laplacian L, whose gradient L table comes with it for one sparse product.
    """
    return _Smoothness.apply(table, graph, strength)

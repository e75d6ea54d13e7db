"""Volume rendering of packed samples, and interpolation from a vertex table: the three differentiable pieces.

Samples of all rays lie in one list, ray after ray; `starts` [R + 1] says where each ray begins. Each function has its
gradient written out, because the general ones cost many times more on a CPU, where float32 is compiled; tests check
them against autograd.

With optical thickness tau_i = sigma_i * delta_i along a ray (Max, "Optical models for direct volume rendering", 1995):

    T_i = exp(-sum_{j<i} tau_j)        transmittance in front of sample i
    w_i = T_i * (1 - exp(-tau_i))      its weight
    C   = sum_i w_i c_i + T_end * background
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from arf.radiance.fields.arrays import arrays, suits


def add_rows(
    rows: Int[Tensor, "n k"], weights: Float[Tensor, "n k"], values: Float[Tensor, "n c"], count: int
) -> Float[Tensor, "count c"]:
    """The transpose of a weighted gather: out[rows[i, j]] += weights[i, j] * values[i]."""
    if values.is_cuda:
        spread = (weights[..., None] * values[:, None]).flatten(0, 1)  # [n*k, c]
        return torch.zeros(count, values.shape[1], device=values.device).index_add_(0, rows.flatten(), spread)
    # On a CPU scipy's compressed-column product does this five times faster than index_add_, and in a fixed order.
    n, k = rows.shape
    parts = (weights.detach().flatten().numpy(), rows.flatten().numpy(), np.arange(0, n * k + 1, k, dtype=np.int32))
    matrix = scipy.sparse.csr_matrix(parts, shape=(n, count), copy=False)
    return torch.from_numpy(matrix.T @ values.detach().numpy())


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, rows, weights):
        ctx.save_for_backward(rows, weights)
        ctx.count = len(table)
        return embedding_bag(rows, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx, gradient):
        rows, weights = ctx.saved_tensors
        return add_rows(rows, weights, gradient.contiguous(), ctx.count), None, None


def interpolate(
    table: Float[Tensor, "V c"], rows: Int[Tensor, "n k"], weights: Float[Tensor, "n k"]
) -> Float[Tensor, "n c"]:
    """sum_j weights[i, j] * table[rows[i, j]]; differentiable in the table (the weights are constants)."""
    return _Interpolate.apply(table, rows, weights)


def before(values: Float[Tensor, " n"], starts: Int[Tensor, " r1"], ray: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Per ray, the sum of the values in front of each sample (float64, since it runs over all rays)."""
    total = torch.cumsum(values.double(), 0)
    exclusive = torch.cat([total.new_zeros(1), total])  # [n + 1]
    return exclusive[:-1] - exclusive[starts][ray]


def ray_sums(values: Float[Tensor, " n"], starts: Int[Tensor, " r1"]) -> Float[Tensor, " r"]:
    """Per ray, the sum of its samples' values (float64)."""
    total = torch.cumsum(values.double(), 0)
    return torch.cat([total.new_zeros(1), total])[starts].diff()


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tau, starts, ray):
        if suits(tau):
            transmittance, weights = torch.empty_like(tau), torch.empty_like(tau)  # [n]
            leftover = tau.new_empty(len(starts) - 1)  # [r]
            _compiled("weigh", tau, starts, transmittance, weights, leftover)
        else:
            transmittance = torch.exp(-before(tau, starts, ray)).to(tau.dtype)
            weights = -transmittance * torch.expm1(-tau)
            leftover = torch.exp(-ray_sums(tau, starts)).to(tau.dtype)
        ctx.save_for_backward(transmittance, weights, leftover, starts, ray)
        return weights, leftover

    @staticmethod
    def backward(ctx, grad_weights, grad_leftover):
        transmittance, weights, leftover, starts, ray = ctx.saved_tensors
        if suits(weights):
            gradient = torch.empty_like(weights)
            parts = transmittance, weights, leftover, starts, grad_weights, grad_leftover, gradient
            _compiled("weigh_back", *parts)
            return gradient, None, None
        # tau_i raises w_i by T_{i+1} and lowers every later weight, and the leftover, in proportion to itself.
        pulled = grad_weights * weights  # [n]
        behind = ray_sums(pulled, starts)[ray] - before(pulled, starts, ray) - pulled
        gradient = grad_weights * (transmittance - weights) - behind - (grad_leftover * leftover)[ray]
        return gradient.to(weights.dtype), None, None


def _compiled(name: str, *tensors: Tensor) -> None:
    """Call the kernel of that name."""
    from arf.radiance.fields.jit import ready  # numba imports slowly
    from arf.radiance.fields.rays import kernels

    with ready():
        getattr(kernels, name)(*arrays(*tensors))


def render_weights(
    tau: Float[Tensor, " n"], starts: Int[Tensor, " r1"], ray: Int[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " r"]]:
    """Weights of packed samples and the transmittance left behind each ray.

    Args:
        tau: optical thickness of each sample, >= 0.
        starts: [R + 1] where each ray's samples begin.
        ray: the ray of each sample (sorted).
    """
    return _Weights.apply(tau, starts, ray)


class _Accumulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weights, values, starts, ray):
        ctx.save_for_backward(weights, values, ray)
        index = torch.arange(len(weights), device=weights.device)
        return embedding_bag(
            index, values, starts, per_sample_weights=weights, mode="sum", include_last_offset=True
        )  # [r, c]

    @staticmethod
    def backward(ctx, gradient):
        weights, values, ray = ctx.saved_tensors
        along = gradient[ray]  # [n, c]
        return (along * values).sum(-1), weights[:, None] * along, None, None


def accumulate(
    weights: Float[Tensor, " n"], values: Float[Tensor, "n c"], starts: Int[Tensor, " r1"], ray: Int[Tensor, " n"]
) -> Float[Tensor, "r c"]:
    """Per ray, the weighted sum of its samples' values."""
    return _Accumulate.apply(weights, values, starts, ray)

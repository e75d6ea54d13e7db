"""The render operator of a view: with geometry frozen, rendering is one sparse matrix.

    image = A θ + t ⊗ background          A: (H·W × V), θ: (V × 3) vertex colours, t: transmittance left over

so the forward pass is one sparse product and the gradient, Aᵀ ∂L/∂image, is one more, and exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.trace import Trace


@dataclass
class RenderOperator:
    """One view's matrix in compressed rows, with pixels as rows.

    Attributes:
        height, width: of the view in pixels.
        vertices: number of columns, V.
        starts: int32 or int64 [H*W + 1] where each pixel's entries begin.
        columns: int32 (int64 where V needs it) [E].
        values: float32 [E].
        transmittance: float32 [H*W], left over behind each pixel.
    """

    height: int
    width: int
    vertices: int
    starts: Int[Tensor, " p1"]
    columns: Int[Tensor, " e"]
    values: Float[Tensor, " e"]
    transmittance: Float[Tensor, " p"]

    @property
    def nbytes(self) -> int:
        """Memory of the matrix in bytes."""
        return sum(t.nbytes for t in self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """The arrays, by name."""
        return {n: getattr(self, n) for n in ("starts", "columns", "values", "transmittance")}

    def apply(self, theta: Float[Tensor, "V 3"], background: Float[Tensor, " 3"]) -> Float[Tensor, "h w 3"]:
        """Render vertex colours. Differentiable in `theta`."""
        if len(theta) != self.vertices:
            raise ValueError(f"the operator has {self.vertices} vertices, got colours of shape {list(theta.shape)}")
        flat = _Apply.apply(theta, self) + self.transmittance[:, None] * background
        return flat.view(self.height, self.width, -1)

    def transpose(self, picture: Float[Tensor, "h w 3"]) -> Float[Tensor, "V 3"]:
        """Aᵀ times a picture: how much each vertex contributed to it."""
        flat = picture.reshape(self.height * self.width, -1)  # [p, 3]
        if flat.is_cuda:
            row = torch.repeat_interleave(torch.arange(len(flat), device=flat.device), self.starts.diff())
            out = torch.zeros(self.vertices, flat.shape[1], device=flat.device)
            return out.index_add_(0, self.columns.long(), self.values[:, None] * flat[row])
        parts = (self.values.numpy(), self.columns.numpy(), self.starts.numpy())
        matrix = scipy.sparse.csr_matrix(parts, shape=(len(flat), self.vertices), copy=False)
        return torch.from_numpy(matrix.T @ np.ascontiguousarray(flat.detach().numpy()))

    def to(self, device: torch.device | str) -> RenderOperator:
        """The same operator on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return RenderOperator(self.height, self.width, self.vertices, **moved)


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx, theta, operator):
        ctx.operator = operator
        o = operator
        matrix = torch.sparse_csr_tensor(
            o.starts, o.columns, o.values, (len(o.starts) - 1, o.vertices), check_invariants=False
        )
        return matrix @ theta

    @staticmethod
    def backward(ctx, gradient):
        o = ctx.operator
        return o.transpose(gradient.view(o.height, o.width, -1)), None


def build(trace: Trace, height: int, width: int, shape: tuple[int, int, int]) -> RenderOperator:
    """The operator of a traced view over ALL vertices of the colour grid; `compact` then keeps the visible ones.

    Entries of one pixel that meet in a vertex are summed.
    """
    count = (shape[0] + 1) * (shape[1] + 1) * (shape[2] + 1)
    vertices, share = trace.vertices(shape)  # [n, 8]
    values = (share * trace.weight[:, None]).flatten().cpu().numpy()
    starts = torch.searchsorted(trace.ray, torch.arange(trace.rays + 1, device=trace.ray.device)).cpu() * 8
    index = torch.int32 if max(count, len(values)) < 2**31 else torch.int64
    columns = vertices.flatten().to("cpu", index).numpy()
    matrix = scipy.sparse.csr_matrix((values, columns, starts.to(index).numpy()), shape=(height * width, count))
    matrix.sum_duplicates()
    return RenderOperator(
        height, width, count,
        torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices), torch.from_numpy(matrix.data),
        trace.leftover.cpu(),
    )  # fmt: skip


def compact(operator: RenderOperator, keys: Int[Tensor, " V"]) -> RenderOperator:
    """Renumber an operator's columns to rows of the sorted vertex list `keys`, which must hold all of them."""
    columns = torch.searchsorted(keys, operator.columns, out_int32=len(keys) < 2**31)
    o = operator
    return RenderOperator(o.height, o.width, len(keys), o.starts, columns, o.values, o.transmittance)

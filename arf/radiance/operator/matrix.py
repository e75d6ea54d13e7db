"""The render operator of a view: with geometry frozen, rendering is one sparse matrix.

    image = A θ + t ⊗ background          A: (H·W × V), θ: (V × 3) colours of columns, t: transmittance left over

so the forward pass is one sparse product and the gradient, Aᵀ ∂L/∂image, is one more, and exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int, UInt16
from torch import Tensor

from arf.radiance.fields.field import Trace

ROWS = 1 << 15  # pixels whose entries are merged at once on a GPU: some hundreds of megabytes
ENTRIES = 1 << 24  # of a matrix that are spread at once on a GPU: 0.4 GB

Rows = tuple[Int[Tensor, " p1"], Int[Tensor, " e"], Float[Tensor, " e"]]  # starts, columns and values of a matrix


@dataclass
class RenderOperator:
    """One view's matrix in compressed rows, with pixels as rows.

    Attributes:
        height, width: of the view in pixels.
        count: number of columns, V.
        starts: int32 or int64 [H*W + 1] where each pixel's entries begin.
        columns: int32 (int64 where V needs it) [E].
        values: float32 [E], or uint16 [E] in 1/65535, of which a CPU makes more.
        transmittance: float32 [H*W], left over behind each pixel.
    """

    height: int
    width: int
    count: int
    starts: Int[Tensor, " p1"]
    columns: Int[Tensor, " e"]
    values: Float[Tensor, " e"] | UInt16[Tensor, " e"]
    transmittance: Float[Tensor, " p"]

    @property
    def nbytes(self) -> int:
        """Memory of the matrix in bytes."""
        return sum(t.nbytes for t in self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """The arrays, by name."""
        return {n: getattr(self, n) for n in ("starts", "columns", "values", "transmittance")}

    def apply(self, theta: Float[Tensor, "V 3"], background: Float[Tensor, " 3"]) -> Float[Tensor, "h w 3"]:
        """Render colours of the columns. Differentiable in `theta`."""
        if len(theta) != self.count:
            raise ValueError(f"the operator has {self.count} columns, got colours of shape {list(theta.shape)}")
        flat = _Apply.apply(theta, self) + self.transmittance[:, None] * background
        return flat.view(self.height, self.width, -1)

    def transpose(self, picture: Float[Tensor, "h w 3"]) -> Float[Tensor, "V 3"]:
        """Aᵀ times a picture: how much each column contributed to it."""
        flat = picture.detach().reshape(self.height * self.width, -1)  # [p, 3]
        if flat.is_cuda:
            return spread(self, flat)
        if self.values.dtype == torch.uint16:
            from arf.radiance.operator.product import transposed  # numba imports slowly

            return torch.from_numpy(transposed(self._rows(), flat.numpy(), self.count))
        parts = (self.values.numpy(), self.columns.numpy(), self.starts.numpy())
        matrix = scipy.sparse.csr_matrix(parts, shape=(len(flat), self.count), copy=False)
        return torch.from_numpy(matrix.T @ np.ascontiguousarray(flat.numpy()))

    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.starts.numpy(), self.columns.numpy(), self.values.numpy()

    def to(self, device: torch.device | str) -> RenderOperator:
        """The same operator on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return RenderOperator(self.height, self.width, self.count, **moved)


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx, theta, operator):
        ctx.operator = o = operator
        if o.values.dtype == torch.uint16:
            from arf.radiance.operator.product import times

            return torch.from_numpy(times(o._rows(), theta.detach().numpy()))
        matrix = torch.sparse_csr_tensor(
            o.starts, o.columns, o.values, (len(o.starts) - 1, o.count), check_invariants=False
        )
        return matrix @ theta

    @staticmethod
    def backward(ctx, gradient):
        o = ctx.operator
        return o.transpose(gradient.view(o.height, o.width, -1)), None


def spread(operator: RenderOperator, pixels: Float[Tensor, "p c"]) -> Float[Tensor, "V c"]:
    """Aᵀ times pixels in torch alone, the GPU's way. The host is never waited for.

    The pixel of each entry is found anew every time: a stored transpose would be quicker, but operators would take
    twice the memory, which is what a GPU is short of. Sums are atomic there, so their last bits vary.
    """
    o = operator
    rows = torch.repeat_interleave(o.starts.diff(), output_size=len(o.values))  # [e]; the size is known: no waiting
    out = pixels.new_zeros(o.count, pixels.shape[1])
    for row, column, value in zip(rows.split(ENTRIES), o.columns.split(ENTRIES), o.values.split(ENTRIES), strict=True):
        out.index_add_(0, column, pixels.index_select(0, row).mul_(value[:, None]))
    return out


def build(trace: Trace, height: int, width: int, count: int) -> RenderOperator:
    """The operator of a traced view over `count` columns.

    Entries of one pixel that meet in a column are summed, where the trace is: by scipy on a CPU, by torch on a GPU.
    Where there are none, nothing is moved, and a CPU keeps weights as whole numbers of 1/65535.
    """
    index = torch.int32 if max(count, len(trace.weights)) < 2**31 else torch.int64
    if trace.merged:
        values = trace.weights if trace.weights.is_cuda else (trace.weights * 65535).round().to(torch.uint16)
        rows = trace.starts.to(index), trace.columns.to(index), values
        return RenderOperator(height, width, count, *rows, trace.leftover)
    merge = merge_by_torch if trace.weights.is_cuda else merge_by_scipy
    return RenderOperator(height, width, count, *merge(trace, count, index), trace.leftover)


def stack(parts: list[RenderOperator]) -> RenderOperator:
    """The operator of a view from those of its bands, top to bottom."""
    if len(parts) == 1:
        return parts[0]
    index = torch.int32 if sum(len(part.values) for part in parts) < 2**31 else torch.int64
    lengths = torch.cat([part.starts.diff() for part in parts]).long()  # [p]
    starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).to(index)
    columns, values, transmittance = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("columns", "values", "transmittance")
    )
    height = sum(part.height for part in parts)
    count = max(part.count for part in parts)
    return RenderOperator(height, parts[0].width, count, starts, columns.to(index), values, transmittance)


def merge_by_scipy(trace: Trace, count: int, index: torch.dtype) -> Rows:
    """The matrix of a trace in compressed rows, columns of type `index` ascending. The CPU's way."""
    parts = trace.weights.numpy(), trace.columns.to(index).numpy(), trace.starts.to(index).numpy()
    matrix = scipy.sparse.csr_matrix(parts, shape=(len(trace.leftover), count), copy=True)
    matrix.sum_duplicates()  # in place
    return tuple(torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))


def merge_by_torch(trace: Trace, count: int, index: torch.dtype, block: int = ROWS) -> Rows:
    """The same on any device, `block` rows at a time."""
    lengths, columns, values = [trace.starts.new_zeros(1)], [], []
    for first in range(0, len(trace.leftover), block):
        starts = trace.starts[first : first + block + 1]
        here = slice(int(starts[0]), int(starts[-1]))
        row = torch.repeat_interleave(starts.diff(), output_size=here.stop - here.start)
        places = torch.stack([row, trace.columns[here].long()])
        size = (len(starts) - 1, count)
        matrix = torch.sparse_coo_tensor(places, trace.weights[here], size, check_invariants=False).coalesce()
        lengths.append(torch.bincount(matrix.indices()[0], minlength=size[0]))
        columns.append(matrix.indices()[1].to(index))
        values.append(matrix.values())
    return torch.cat(lengths).cumsum(0).to(index), torch.cat(columns), torch.cat(values)

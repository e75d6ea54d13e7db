"""The render operator of a view: with geometry frozen, rendering is one sparse matrix.

    image = A θ + t ⊗ background          A: (H·W × V), θ: (V × 3) colours of columns, t: transmittance left over

so the forward pass is one sparse product and the gradient, Aᵀ ∂L/∂image, is one more, and exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt16
from torch import Tensor

from arf.radiance.fields.field import Trace

ROWS = 1 << 15  # pixels whose entries are merged at once on a GPU: some hundreds of megabytes
MOST = 64  # entries of a pixel in a lean matrix of a grid, or of several rays to a pixel
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
        values: float32 [E], or uint16 [E] in 1/65535: a CPU's, of a lean matrix.
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
        from arf.radiance.operator.product import transposed  # numba imports slowly

        return torch.from_numpy(transposed(self._rows(), flat.numpy(), self.count))

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
        if not theta.is_cuda:
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


def build(trace: Trace, height: int, width: int, count: int, drop: float = 0.0) -> RenderOperator:
    """The operator of a traced view over `count` columns.

    Entries of one pixel that meet in a column are summed, where the trace is.

    Args:
        drop: share of each pixel's weight that may be left out; where it is 0, nothing is. Else, where something was
            summed, `MOST` entries of a pixel stay, on a GPU without a look at their share. Of a lean operator a CPU
            keeps weights as whole numbers of 1/65535.
    """
    index = torch.int32 if max(count, len(trace.weights)) < 2**31 else torch.int64
    if not trace.weights.is_cuda:
        rows = _on_cpu(trace, index, drop)
    elif trace.merged:
        rows = trace.starts.to(index), trace.columns.to(index), trace.weights
    else:
        rows = merge_by_torch(trace, count, index, most=MOST if drop else None)
    return RenderOperator(height, width, count, *rows, trace.leftover)


def _on_cpu(trace: Trace, index: torch.dtype, drop: float) -> Rows:
    from arf.radiance.fields.jit import ready  # numba imports slowly
    from arf.radiance.fields.rows import lighten, merge

    rows = trace.starts.numpy(), trace.columns.numpy(), trace.weights.numpy()
    if not trace.merged:
        with ready():
            rows = merge(rows)
            rows = lighten(rows, drop, MOST) if drop else rows
    starts, columns, weights = map(torch.from_numpy, rows)
    if drop:
        weights = (weights * 65535).round().to(torch.uint16)
    return starts.to(index), columns.to(index), weights


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


def merge_by_torch(trace: Trace, count: int, index: torch.dtype, block: int = ROWS, most: int | None = None) -> Rows:
    """The rows of a trace with each column once, ascending, on any device, `block` rows at a time; of each row its
    `most` heaviest entries, which take the weight of the others over."""
    lengths, columns, values = [trace.starts.new_zeros(1)], [], []
    for first in range(0, len(trace.leftover), block):
        starts = trace.starts[first : first + block + 1]
        here = slice(int(starts[0]), int(starts[-1]))
        row = torch.repeat_interleave(starts.diff(), output_size=here.stop - here.start)
        places = torch.stack([row, trace.columns[here].long()])
        size = (len(starts) - 1, count)
        matrix = torch.sparse_coo_tensor(places, trace.weights[here], size, check_invariants=False).coalesce()
        (row, column), value = matrix.indices(), matrix.values()
        if most is not None:
            kept = _heaviest(row, value, size[0], most)
            totals, left = (
                value.new_zeros(size[0]).index_add_(0, r, v) for r, v in ((row, value), (row[kept], value[kept]))
            )
            row, column, value = row[kept], column[kept], value[kept] * (totals / left.clamp_min(1e-12))[row[kept]]
        lengths.append(torch.bincount(row, minlength=size[0]))
        columns.append(column.to(index))
        values.append(value)
    return torch.cat(lengths).cumsum(0).to(index), torch.cat(columns), torch.cat(values)


def _heaviest(row: Int[Tensor, " e"], value: Float[Tensor, " e"], rows: int, most: int) -> Int[Tensor, " k"]:
    """Which entries are among the `most` heaviest of their row; rows ascend, and what is returned does."""
    order = value.argsort(descending=True, stable=True)
    order = order[row[order].argsort(stable=True)]  # by row, heaviest first
    lengths = torch.bincount(row, minlength=rows)
    rank = torch.arange(len(row), device=row.device) - (lengths.cumsum(0) - lengths)[row]
    return order[rank < most].sort().values

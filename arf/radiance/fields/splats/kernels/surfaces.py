"""Where rays meet a surface of splats."""

from __future__ import annotations

import numba as nb
import numpy as np
from jaxtyping import Float

from arf.radiance.fields.jit import kernel
from arf.radiance.fields.splats.kernels.tracing import Rows

Values = Float[np.ndarray, " p"]


def middle(rows: Rows, depths: Float[np.ndarray, " n"], thickness: float) -> tuple[Values, Values, Values]:
    """Of each row: the depth at which half of its weight is passed, its weight, and the share of that which lies within
    `thickness` of that depth. `depths` are those of the splats."""
    starts, columns, weights = rows
    out = np.zeros((3, len(starts) - 1), np.float32)
    _middle(starts, columns, weights, depths, np.float32(thickness), out)
    return tuple(out)


@kernel()
def _middle(starts, columns, weights, depths, thickness, out):
    for row in nb.prange(len(starts) - 1):
        begin, end = starts[row], starts[row + 1]
        total = np.float32(0)
        for e in range(begin, end):
            total += weights[e]
        passed, depth = np.float32(0), np.float32(0)
        for e in range(begin, end):
            passed += weights[e]
            if passed >= np.float32(0.5) * total:
                depth = depths[columns[e]]
                break
        near = np.float32(0)
        for e in range(begin, end):
            if abs(depths[columns[e]] - depth) <= thickness:
                near += weights[e]
        out[0, row], out[1, row] = depth, total
        out[2, row] = near / max(total, np.float32(1e-9))

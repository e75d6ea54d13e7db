"""Which tensors kernels take, and what they see of them. Nothing here imports numba, which is slow."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def suits(*tensors: Tensor) -> bool:
    """Whether kernels take these: float32 on the CPU."""
    return all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Tensors on the CPU as arrays that share their memory, where that lies in rows."""
    return [t.detach().contiguous().numpy() for t in tensors]

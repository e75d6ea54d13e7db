"""Which engine moves splats: gsplat on CUDA, where it can be used, and our own kernels on the CPU."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from pathlib import Path

import torch

from arf.radiance.fields.splats.descent.by_gsplat import Gsplat, Rasterization
from arf.radiance.fields.splats.descent.by_numba import Numba
from arf.radiance.fields.splats.descent.likeness import structural
from arf.radiance.fields.splats.descent.tuning import Engine

log = logging.getLogger(__name__)
COMPILING = "gsplat compiles its kernels for this GPU, once: it takes minutes"
NEEDS = "its kernels are compiled at the first use, by CUDA's nvcc, on the PATH, and a C++ compiler"


def engine_on(device: torch.device, antialiased: bool) -> Engine:
    """The engine for the loss of 3D Gaussian Splatting. One line says when CUDA cannot be used, and what to do."""
    if device.type == "cuda":
        try:
            return Gsplat(_rasterization(), device, antialiased)
        except ImportError as error:
            log.warning(f"splats are fitted on the CPU, since {error}")
    return Numba(structural, antialiased)


def _rasterization() -> Rasterization:
    """gsplat's, with its kernels.

    Raises:
        ImportError: it cannot be used; the message is one line.
    """
    if importlib.util.find_spec("gsplat") is None:
        raise ImportError("gsplat is not installed: pip install gsplat")
    try:
        if _compiles():
            log.warning(COMPILING)
        from gsplat import rasterization
        from gsplat.cuda._backend import _C as kernels
    except Exception as error:  # ImportError, what compilers leave, a folder that cannot be written
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ImportError(f"gsplat cannot be used ({reason}); {NEEDS}") from error
    if kernels is None:
        raise ImportError(f"gsplat finds no nvcc; {NEEDS}")
    return rasterization


def _compiles() -> bool:
    """Whether to import gsplat's kernels takes minutes: its wheel had none, and none are left from an earlier time."""
    from torch.utils.cpp_extension import CUDA_HOME, _get_build_directory  # as gsplat itself asks

    if importlib.util.find_spec("gsplat.csrc") or not (CUDA_HOME or shutil.which("nvcc")):
        return False
    folder = Path(_get_build_directory("gsplat_cuda", False))
    return not any((folder / f"gsplat_cuda.{kind}").exists() for kind in ("so", "lib"))

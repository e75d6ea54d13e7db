"""How the kernels are compiled and called.

numba compiles at the first call, for this machine, and keeps what it made beside the file, or in the user's cache
folder. Sums are taken in a fixed order whatever the number of threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import RLock

import numba
import torch

numba.config.THREADING_LAYER = "workqueue"  # numba's own: OpenMP's would change how many threads torch has
log = logging.getLogger(__name__)
FAST = {"contract", "arcp", "nsz", "afn"}  # of LLVM's liberties: neither reassociation nor the absence of NaN
LOCK = RLock()  # one parallel kernel at a time: that pool cannot be shared

_kernels: list = []
_said: list[bool] = []


def kernel(parallel: bool = True, inline: bool = False) -> Callable[[Callable], Callable]:
    """Decorates a kernel."""

    def made(function: Callable) -> Callable:
        options = {"parallel": parallel, "fastmath": FAST, "nogil": True, "error_model": "numpy"}
        if inline:
            return numba.njit(function, inline="always", **options)
        try:
            compiled = numba.njit(function, cache=True, **options)
        except RuntimeError:  # neither the package's folder nor the user's can be written
            compiled = numba.njit(function, **options)
        _kernels.append(compiled)
        return compiled

    return made


def device(function: Callable) -> Callable:
    """Decorates what kernels call."""
    return numba.njit(function, fastmath=FAST, nogil=True, error_model="numpy", cache=False)


def ready() -> RLock:
    """The lock to hold while kernels run, their threads as many as torch has. Says so where they are to be compiled."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    if not _said:
        _said.append(True)
        if not all(map(_is_kept, _kernels)):
            log.warning("kernels are compiled for this machine, once: it takes half a minute")
    return LOCK


def _is_kept(compiled: Callable) -> bool:
    folder = compiled.stats.cache_path
    return folder is not None and any(Path(folder).glob(f"*{compiled.__name__}*.nbi"))

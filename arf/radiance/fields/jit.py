"""How the kernels are compiled and called.

numba compiles at the first call, for this machine, and keeps what it made beside the file, or in the user's cache
folder. Sums are taken in a fixed order whatever the number of threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Any

import numba
import torch

numba.config.THREADING_LAYER = "workqueue"  # numba's own: OpenMP's would change how many threads torch has
log = logging.getLogger(__name__)
FAST = {"contract", "arcp", "nsz", "afn"}  # of LLVM's liberties: neither reassociation nor the absence of NaN
COMPILING = "compiling kernels for this machine, once: it takes a quarter of a minute"
LOCK = RLock()  # one parallel kernel at a time: that pool cannot be shared

_said: list[bool] = []


def kernel(parallel: bool = True) -> Callable[[Callable], Callable]:
    """Decorates a kernel. One word says when the first is compiled that no earlier process has left."""

    def made(function: Callable) -> Callable:
        options = {"parallel": parallel, "fastmath": FAST, "nogil": True, "error_model": "numpy"}
        try:
            compiled = numba.njit(function, cache=True, **options)
        except RuntimeError:  # neither the package's folder nor the user's can be written
            compiled = numba.njit(function, **options)

        @wraps(function)
        def called(*arguments: Any) -> Any:
            if not (_said or compiled.signatures or _is_kept(compiled)):
                _said.append(True)
                log.warning(COMPILING)
            return compiled(*arguments)

        return called

    return made


def device(function: Callable) -> Callable:
    """Decorates what kernels call."""
    return numba.njit(function, fastmath=FAST, nogil=True, error_model="numpy", cache=False)


def ready() -> RLock:
    """The lock to hold while kernels run, their threads as many as torch has."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    return LOCK


def _is_kept(compiled: Callable) -> bool:
    folder = compiled.stats.cache_path
    return folder is not None and any(Path(folder).glob(f"*{compiled.__name__}*.nbi"))

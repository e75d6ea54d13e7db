"""How the kernels are compiled and called.

numba compiles at the first call, for this machine, and keeps what it made beside the file, or in the user's cache
folder. Sums are taken in a fixed order whatever the number of threads.
"""

from __future__ import annotations

import logging
import sys
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


class Alone:
    """A lock for one parallel kernel at a time: that pool cannot be shared.

    nerfstudio's viewer interrupts a picture by a trace function that raises, likely enough on the line that ends a
    block: behind it, and before the lock is let go. So nothing is traced in between.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._traces: list[Any] = []  # of the thread that has the lock

    def __enter__(self) -> None:
        trace = sys.gettrace()
        sys.settrace(None)
        self._lock.acquire()
        self._traces.append(trace)
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))

    def __exit__(self, *_: object) -> None:
        trace = self._traces.pop()
        self._lock.release()
        sys.settrace(trace)


LOCK = Alone()
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


def ready() -> Alone:
    """The lock to hold while kernels run, their threads as many as torch has."""
    return LOCK


def _is_kept(compiled: Callable) -> bool:
    folder = compiled.stats.cache_path
    return folder is not None and any(Path(folder).glob(f"*{compiled.__name__}*.nbi"))

"""pycolmap, imported when it is first needed and told to be quiet."""

from __future__ import annotations

import signal
import threading
from functools import cache
from types import ModuleType


@cache
def pycolmap() -> ModuleType:
    """pycolmap. From its import on it answers SIGTERM with a page of stack trace; what answered before is put back."""
    before = signal.getsignal(signal.SIGTERM)
    import pycolmap as library  # imports slowly

    if threading.current_thread() is threading.main_thread() and before is not None:
        signal.signal(signal.SIGTERM, before)
    library.logging.minloglevel = int(library.logging.FATAL.value)  # what goes wrong, it raises as well
    return library

"""Ctrl-C that waits for a good moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupts() -> Iterator[Callable[[], bool]]:
    """Within the block Ctrl-C (SIGINT) is only taken note of; what is yielded tells whether it has come.

    One that the block has not answered with an exception of its own raises KeyboardInterrupt at its end. Nothing is
    held outside the main thread, which alone gets signals, nor where they are ignored, as in a shell's background.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield lambda: False
        return
    come: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: come.append(number))
    try:
        yield lambda: bool(come)
    finally:
        signal.signal(signal.SIGINT, before)
    if come:
        raise KeyboardInterrupt

"""Ctrl-C, and what a system sends to end a job, at a good moment.

SIGTERM (docker stop, Slurm, a shutdown) and SIGHUP (the terminal has gone) are answered as Ctrl-C is: the first one
waits for the end of a step, the second raises at once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDINGS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
ONE = 0.5  # seconds in which signals are one: a terminal tells all of its processes, and a launcher passes it on again


class Ended(KeyboardInterrupt):
    """A signal to end; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class AtOnce(Ended):
    """The second one, raised wherever the job was: a step may be half done, and nothing of it is to be saved."""


@contextmanager
def held_interrupts() -> Iterator[Callable[[], bool]]:
    """Within the block the first signal to end is only taken note of; what is yielded tells whether it has come.

    One that the block has not answered with an exception of its own raises Ended, a KeyboardInterrupt, when the block
    ends. A second one, half a second later or more, raises AtOnce. Nothing is held outside the main thread, which alone
    gets signals, nor where they are ignored: Ctrl-C in a shell's background, SIGHUP under nohup.
    """
    come: list[tuple[int, float]] = []

    def note(number: int, frame: FrameType | None) -> None:
        come.append((number, time.monotonic()))
        if come[-1][1] - come[0][1] >= ONE:
            raise AtOnce(number)

    with _handled(note, ENDINGS):
        try:
            yield lambda: bool(come)
        except KeyboardInterrupt as answer:
            if come and not isinstance(answer, Ended):
                answer.__cause__ = answer.__cause__ or Ended(come[0][0])
            raise
    if come:
        raise Ended(come[0][0])


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Within the block every signal to end raises a KeyboardInterrupt."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    with _handled(end, ENDINGS[1:]):
        yield


def exit_code(stop: BaseException | None) -> int:
    """What a shell expects of a process that a signal has ended: 128 and its number; 130 after Ctrl-C, 143 after
    SIGTERM."""
    while stop is not None and not isinstance(stop, Ended):
        stop = stop.__cause__ or stop.__context__
    return 128 + (stop.number if stop else signal.SIGINT)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], numbers: tuple[int, ...]) -> Iterator[None]:
    """Another handler for signals, those that are ignored left out."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in numbers}
        before = {number: known for number, known in found.items() if known not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)

"""Work that is done behind: by a thread that takes one thing after the other while whoever asked goes on."""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue
from threading import Thread
from types import TracebackType


class Behind:
    """Does what it is asked in the order in which it is asked. Use it in a `with` block, which ends when all is done.

    What a thing raises is raised by the next call of `do`, or where the block ends; nothing that comes after that thing
    is done. A block that is left by an exception waits for the thing that is under way, and leaves out the others.

    Args:
        most: how many things may wait for their turn; whoever asks for more waits too.
    """

    def __init__(self, most: int = 2) -> None:
        self._waiting: Queue[Callable[[], object] | None] = Queue(most)
        self._thread = Thread(target=self._work, name="behind", daemon=True)  # the second Ctrl-C waits for nothing
        self._error: BaseException | None = None
        self._left = False

    def __enter__(self) -> Behind:
        self._thread.start()
        return self

    def do(self, thing: Callable[[], object]) -> None:
        """Ask for something."""
        self._raise()
        self._waiting.put(thing)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = kind is not None
        self._waiting.put(None)
        self._thread.join()
        if kind is None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (thing := self._waiting.get()) is not None:
            if self._left or self._error is not None:
                continue
            try:
                thing()
            except BaseException as error:
                self._error = error

"""Threads that compute side by side, each alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

T, R = TypeVar("T"), TypeVar("R")


@cache
def side_by_side(size: int) -> Crew:
    """The process' crew of so many threads."""
    return Crew(size)


class Crew:
    """Threads that each compute alone: for many small products of torch's, where threads that share every one of them
    would wait for one another most of the time.

    Args:
        size: how many, >= 1. A single one is the caller itself, with as many of torch's threads as it has.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        if size == 1:
            return
        self._pool = ThreadPoolExecutor(size, "crew")
        told, all_there = torch.get_num_threads(), Barrier(size)

        def alone(_: int) -> None:
            torch.get_num_threads()  # a thread takes the process' number when it first asks, and would take it later
            torch.set_num_threads(1)  # for this thread, and for those that begin later: that is taken back below
            all_there.wait()

        list(self._pool.map(alone, range(size)))
        torch.set_num_threads(told)

    def map(self, work: Callable[[T], R], parts: Iterable[T]) -> list[R]:
        """What `work` makes of each part, in their order. Whether gradients are recorded, each thread says itself."""
        return list(map(work, parts) if self.size == 1 else self._pool.map(work, parts))

"""Threads that compute alone, and leave the others as they were."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from arf.style.crew import Crew, side_by_side


def threads_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: torch.ones(8).sum() and torch.get_num_threads()).result()


def test_each_computes_with_one_thread_and_everybody_else_as_before():
    before, fresh = torch.get_num_threads(), threads_of_a_new_thread()
    crew = Crew(3)
    assert crew.map(lambda _: (torch.ones(9).sum(), torch.get_num_threads())[1], range(6)) == [1] * 6
    assert (torch.get_num_threads(), threads_of_a_new_thread()) == (before, fresh)


def test_they_work_at_once():
    together = threading.Barrier(3, timeout=60)
    assert len(Crew(3).map(lambda _: together.wait(), range(3))) == 3


@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_is_made_comes_in_the_order_of_its_parts(size):
    assert Crew(size).map(lambda n: n * n, range(10)) == [n * n for n in range(10)]


@pytest.mark.parametrize("size", [1, 2])
def test_what_one_raises_is_raised_and_the_crew_goes_on(size):
    crew = Crew(size)
    with pytest.raises(ZeroDivisionError):
        crew.map(lambda n: 1 // n, [1, 0, 2])
    assert crew.map(abs, [-3]) == [3]


def test_one_crew_of_a_size_serves_all():
    assert side_by_side(2) is side_by_side(2)

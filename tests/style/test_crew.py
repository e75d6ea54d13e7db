"""Threads that compute alone, and leave the others as they were."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from arf.style.crew import Crew, side_by_side

ALONE = """
import torch
from concurrent.futures import ThreadPoolExecutor
from arf.style.crew import Crew

def number(_=None):
    torch.ones(9).sum()
    return torch.get_num_threads()

def fresh():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(number).result()

torch.set_num_threads(2)
before = number(), fresh()
crew = Crew(3)
print(before, crew.map(number, range(6)), (number(), fresh()))
"""


def test_each_computes_with_one_thread_and_everybody_else_as_before():
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, env=env, timeout=120)
    assert done.stdout.strip() == "(2, 2) [1, 1, 1, 1, 1, 1] (2, 2)", done.stderr


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

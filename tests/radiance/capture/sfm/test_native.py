from __future__ import annotations

import time

import pytest

from arf.jobs.interrupts import AtOnce
from arf.radiance.capture.sfm.native import EVERY, watched


def test_what_is_made_comes_back_and_progress_is_told():
    told = []
    assert watched(lambda token: time.sleep(3 * EVERY) or 7, lambda: 3, told.append) == 7
    assert set(told) == {3}
    assert len(told) >= 2


def test_what_goes_wrong_is_passed_on():
    def work(token):
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        watched(work, lambda: 0, lambda n: None)


def obeying(ended: list[bool]):
    def work(token):
        while not token.is_cancelled:
            time.sleep(0.01)
        ended.append(True)
        raise InterruptedError

    return work


def test_an_interrupt_calls_the_work_off_and_waits_for_its_end():
    ended: list[bool] = []

    def told(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(obeying(ended), lambda: 0, told)
    assert ended == [True]


def test_a_second_one_does_not_wait():
    def told(_):
        raise AtOnce(2)

    start = time.monotonic()
    with pytest.raises(AtOnce):
        watched(lambda token: time.sleep(20 * EVERY), lambda: 0, told)
    assert time.monotonic() - start < 15 * EVERY

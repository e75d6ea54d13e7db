from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from arf.jobs.interrupts import ENDINGS, AtOnce, Ended, ended_as_by_ctrl_c, exit_code, held_interrupts


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def held(seen: list[bool], then: Exception | None = None) -> None:
    """A block in which Ctrl-C comes."""
    with held_interrupts() as come:
        seen.append(come())
        interrupt()
        seen.append(come())
        if then:
            raise then


def test_ctrl_c_comes_at_the_end_of_the_block():
    seen: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        held(seen)
    assert seen == [False, True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with held_interrupts() as come:
        assert not come()


def test_an_exception_of_the_block_comes_first():
    with pytest.raises(ValueError, match="mine"):
        held([], ValueError("mine"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held_interrupts() as come:
            interrupt()
            assert not come()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_hold_nothing():
    seen = []

    def work():
        with held_interrupts() as come:
            seen.append(come())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def signals(*numbers: int) -> None:
    """A block to which these come."""
    with held_interrupts() as come:
        for number in numbers:
            signal.raise_signal(number)
            assert come()


@pytest.mark.parametrize("number", ENDINGS)
def test_whatever_ends_a_job_is_held_as_ctrl_c_is(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as caught:
        signals(number)
    assert exit_code(caught.value) == 128 + number
    assert signal.getsignal(number) is before


def test_the_second_raises_at_once(monkeypatch):
    """J7: a step that hangs is left, but one signal that comes twice, as a launcher passes it on, is one."""
    now = iter((10.0, 10.4, 11.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with pytest.raises(AtOnce) as caught:
        signals(signal.SIGINT, signal.SIGTERM, signal.SIGTERM, signal.SIGTERM)
    assert exit_code(caught.value) == 143
    assert next(now, None) is None


def answered() -> None:
    """A signal that is answered, and passed on with a word."""
    try:
        with held_interrupts() as come:
            signal.raise_signal(signal.SIGTERM)
            if come():
                raise KeyboardInterrupt
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("what was done") from stop


def test_the_exit_code_is_that_of_the_signal_whoever_passes_it_on():
    with pytest.raises(KeyboardInterrupt, match="what was done") as caught:
        answered()
    assert exit_code(caught.value) == 143
    assert exit_code(KeyboardInterrupt()) == 130


def test_without_a_hold_sigterm_is_as_ctrl_c():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Ended), ended_as_by_ctrl_c():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before

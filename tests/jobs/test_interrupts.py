from __future__ import annotations

import os
import signal
import threading

import pytest

from arf.jobs.interrupts import held_interrupts


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

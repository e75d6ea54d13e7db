"""Work that is done behind: its order, what it raises, and how much of it may wait."""

from __future__ import annotations

from threading import Event, Thread, Timer

import pytest

from arf.media.behind import Behind

SOON = 5.0  # seconds, for what happens at once


def test_things_are_done_in_turn_before_the_block_ends():
    done = []
    with Behind() as behind:
        for i in range(50):
            behind.do(lambda i=i: done.append(i))
    assert done == list(range(50))


def test_whoever_asks_goes_on_until_too_much_waits():
    gate, done = Event(), []
    with Behind(most=2) as behind:
        behind.do(lambda: gate.wait(SOON))
        asked = Thread(target=lambda: [behind.do(lambda i=i: done.append(i)) for i in range(4)])
        asked.start()
        asked.join(0.1)
        assert asked.is_alive()  # the third has no place
        assert done == []
        gate.set()
        asked.join(SOON)
        assert not asked.is_alive()
    assert done == [0, 1, 2, 3]


def fail(error: Exception) -> None:
    raise error


def test_an_error_is_raised_by_the_next_call_and_ends_the_work():
    error, failed, done = OSError("full"), Event(), []

    def ask_for_more() -> None:
        with Behind() as behind:
            behind.do(lambda: (failed.set(), fail(error)))
            assert failed.wait(SOON)
            for _ in range(100):  # the thread may not have noted it yet
                behind.do(lambda: done.append(0))

    with pytest.raises(OSError, match="full") as caught:
        ask_for_more()
    assert caught.value is error
    assert done == []


def test_an_error_of_the_last_thing_is_raised_at_the_end():
    error = OSError("full")
    with pytest.raises(OSError, match="full") as caught, Behind() as behind:
        behind.do(lambda: fail(error))
    assert caught.value is error


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()])
def test_a_block_that_fails_waits_for_one_thing_and_leaves_out_the_others(error):
    began, gate, done = Event(), Event(), []

    def one() -> None:
        began.set()
        gate.wait(SOON)
        done.append("one")

    def leave() -> None:
        with Behind() as behind:
            behind.do(one)
            behind.do(lambda: done.append("other"))
            assert began.wait(SOON)
            Timer(0.2, gate.set).start()  # once the block is left
            raise error

    with pytest.raises(type(error)) as caught:
        leave()
    assert caught.value is error
    assert done == ["one"]

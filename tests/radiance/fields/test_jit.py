"""Kernels are compiled once for a machine, and say so then only."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from arf.radiance.fields.jit import ready

MODULE = """
from arf.radiance.fields import jit

@jit.kernel()
def double(x):
    return 2 * x

@jit.kernel(parallel=False)
def triple(x):
    return 3 * x
"""
RUN = "import own; print(own.double(2), own.triple(1.5), own.double(3))"


def use(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", RUN], cwd=folder, capture_output=True, text=True, check=True)


def test_the_first_process_says_that_it_compiles_and_the_next_does_not(tmp_path):
    (tmp_path / "own.py").write_text(MODULE)
    first, second = use(tmp_path), use(tmp_path)
    assert first.stdout == second.stdout == "4 4.5 6\n"
    assert first.stderr.count("compiling kernels") == 1
    assert second.stderr == ""


def test_a_picture_that_is_interrupted_on_any_line_leaves_the_lock_free():
    """As nerfstudio's viewer interrupts one: by a trace function that raises."""

    class Stop(Exception):
        pass

    def picture() -> int:
        with ready():
            lines = 1
            lines += 1
        return lines

    def interrupted_at(number: int) -> bool:
        seen = 0

        def check(frame, event, argument):
            nonlocal seen
            if event == "line":
                seen += 1
                if seen == number:
                    raise Stop
            return check

        before = sys.gettrace()
        sys.settrace(check)
        try:
            picture()
        except Stop:
            return True
        finally:
            sys.settrace(before)
        return False

    def another() -> None:
        with ready():
            had.append(True)

    interrupted = 0
    for number in range(1, 40):
        interrupted += interrupted_at(number)
        had: list[bool] = []
        thread = threading.Thread(target=another, daemon=True)
        thread.start()
        thread.join(5)
        assert had == [True], number
    assert interrupted >= 3


def test_what_a_debugger_traces_is_traced_again_afterwards():
    seen = []

    def note(frame, event, argument):
        seen.append(frame.f_code.co_name)
        return note

    def work() -> None:
        with ready():
            pass
        after()

    def after() -> None:
        pass

    before = sys.gettrace()
    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(before)
    assert "after" in seen

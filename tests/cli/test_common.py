"""Progress: bars on a terminal, a line now and then elsewhere, nothing for scripts."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from arf.cli import common
from arf.cli.common import Talk, progress


def test_without_a_terminal_a_line_comes_every_half_minute(capsys, monkeypatch):
    """J18"""
    now = [0.0]
    monkeypatch.setattr(common.time, "monotonic", lambda: now[0])
    with progress(Talk()) as update:
        for step in range(1, 101):
            now[0] += 1.0
            update("fit", step, 100, {"rgb": 0.0125, "psnr": 19.03} if step < 80 else {})
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "fit 30/100  rgb 0.0125  psnr 19.03  1:10 left", "fit 60/100  rgb 0.0125  psnr 19.03  0:40 left",
        "fit 90/100  0:10 left",
    ]  # fmt: skip


UPDATES = {  # phase, step, steps and when; what is said then
    "a phase by its own pace": (
        [("trace", 1, 3, 9), ("trace", 3, 3, 29), ("paint", 10, 440, 35), ("paint", 130, 440, 70)],
        ["paint 10/440", "paint 130/440  1:30 left"]),
    "gone on with": ([("fit", 500, 800, 2), ("fit", 600, 800, 62)], ["fit 600/800  2:00 left"]),
    "hours": ([("fit", 0, 101, 0), ("fit", 1, 101, 73)], ["fit 1/101  2:01:40 left"]),
    "twice the same": ([("paint", 10, 100, 1), ("paint", 100, 100, 10), ("paint", 10, 100, 20), ("paint", 20, 100, 40)],
        ["paint 20/100  2:40 left"]),
    "a first step of a minute": ([("trace", 1, 3, 60), ("trace", 2, 3, 70), ("trace", 3, 3, 120)],
        ["trace 1/3", "trace 3/3  0:00 left"]),
    "a quick job": ([("fit", 10, 20, 5), ("fit", 20, 20, 10), ("evaluate", 1, 1, 12)], []),
}  # fmt: skip


@pytest.mark.parametrize("name", UPDATES)
def test_the_time_left_is_the_phase_s_own(capsys, monkeypatch, name):
    now, (updates, said) = [0.0], UPDATES[name]
    monkeypatch.setattr(common.time, "monotonic", lambda: now[0])
    with progress(Talk()) as update:
        for phase, step, steps, when in updates:
            now[0] = float(when)
            update(phase, step, steps, {})
    assert capsys.readouterr() == ("", "".join(f"{line}\n" for line in said))


@pytest.mark.parametrize("talk", [Talk(quiet=True), Talk(json=True)])
def test_scripts_get_none(capsys, monkeypatch, talk):
    monkeypatch.setattr(common, "EVERY", 0.0)
    with progress(talk) as update:
        update("fit", 1, 2, {})
    assert capsys.readouterr() == ("", "")


class Full:
    """An error stream that takes nothing."""

    def write(self, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_nobody_who_reads_it_is_no_reason_to_stop(monkeypatch):
    monkeypatch.setattr(common, "EVERY", 0.0)
    with progress(Talk()) as update, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Full())
        update("fit", 1, 2, {})

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
        "fit 30/100  rgb 0.0125  psnr 19.03", "fit 60/100  rgb 0.0125  psnr 19.03", "fit 90/100",
    ]  # fmt: skip


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

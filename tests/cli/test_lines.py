"""What reaches the terminal are lines without control characters."""

from __future__ import annotations

import logging

import pytest
from commands import refused, run

from arf.cli.lines import LONGEST, OneLine, lines, one_line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain θ × ² “q”", "plain θ × ² “q”"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("nul\0", r"nul\x00"),
        ("turned\u202egnp.exe", r"turned\u202egnp.exe"),
        ("not UTF-8 \udcff", r"not UTF-8 \udcff"),
    ],
)
def test_control_characters_are_written_as_escapes(text, said):
    assert one_line(text) == said
    assert one_line(text).isprintable()


def test_a_very_long_line_loses_its_middle():
    said = one_line("begin" + "x" * 10_000 + "end")
    assert said.startswith("begin")
    assert said.endswith("end")
    assert len(said) <= LONGEST + 3


def test_line_ends_of_a_text_stay():
    assert lines("a\nb\x1b") == "a\nb\\x1b"


def test_log_records_are_one_line():
    record = logging.LogRecord("arf", logging.WARNING, "", 0, "%s: skipped", ("a\nb\x1b[2J",), None)
    assert OneLine().format(record) == r"a\nb\x1b[2J: skipped"


def test_a_refusal_escapes_names(capsys, tmp_path):
    said = refused(capsys, "gatys", tmp_path / "a\nb\x1b[31m.png", "--style", "s.png", "--output", tmp_path / "o.png")
    assert r"a\nb\x1b[31m.png" in said


def test_a_result_escapes_names(capsys, tmp_path, monkeypatch):
    from arf.cli import HANDLERS, measure

    monkeypatch.setitem(HANDLERS, measure.Evaluate, lambda command: {"say": "line\nof \x1b[31m"})
    code, out, _ = run(capsys, "evaluate", tmp_path)
    assert (code, out) == (0, "line\nof \\x1b[31m\n")

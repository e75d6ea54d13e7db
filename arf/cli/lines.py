"""What reaches the terminal: lines without control characters, whoever named the files or wrote the run."""

from __future__ import annotations

import logging

LONGEST = 900  # characters of a line


def one_line(text: object) -> str:
    """A message as one line: control characters, line ends, marks of direction and bytes that are no UTF-8 are written
    as escapes (`\\x1b`, `\\n`), and the middle of a very long one is left out."""
    escaped = "".join(c if c.isprintable() else _escape(c) for c in str(text))
    if len(escaped) <= LONGEST:
        return escaped
    return f"{escaped[: LONGEST * 2 // 3]} … {escaped[-LONGEST // 3 :]}"


def lines(text: str) -> str:
    """A text of several lines, each as `one_line` has it."""
    return "\n".join(map(one_line, text.split("\n")))


class OneLine(logging.Formatter):
    """Log records as one line each."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(record.getMessage())


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

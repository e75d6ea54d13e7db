"""What is read back becomes the dataclass that it stands for, or one line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from arf.errors import UserError
from arf.jobs.door import admit, settings_from
from arf.jobs.files import plain


@dataclass
class Paint:
    color: Literal["red", "blue"] = "red"
    weights: tuple[float, ...] = ()
    picture: Path | None = None
    steps: int | None = None


@dataclass
class Record:
    folder: Path
    paint: Paint
    notes: dict[str, Any] = field(default_factory=dict)


def test_what_was_written_comes_back():
    record = Record(Path("a"), Paint("blue", (1.0, 2.5), Path("b"), 3), {"c": [1]})
    assert admit(Record, plain(record), "here", "mend it") == record


def test_whole_numbers_do_as_floats_and_unknown_fields_are_left_alone():
    paint = admit(Paint, {"weights": [1, 2], "later": 5}, "here", "mend it")
    assert paint.weights == (1.0, 2.0)
    assert all(isinstance(w, float) for w in paint.weights)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "here: expected object, got array; mend it"),
        (None, "here: expected object, got null"),
        ({"paint": {}}, "here: object missing required field folder"),
        ({"folder": 5, "paint": {}}, "folder: expected the name of a file"),
        ({"folder": "a\0b", "paint": {}}, "folder: expected the name of a file"),
        ({"folder": "a", "paint": {"steps": True}}, r"here: paint\.steps: expected int, got bool; mend it"),
        ({"folder": "a", "paint": {"steps": 1.5}}, r"paint\.steps: expected int, got float"),
        ({"folder": "a", "paint": {"weights": ["x"]}}, r"paint\.weights\[0\]: expected float, got str"),
        ({"folder": "a", "paint": {"weights": [10**400]}}, r"paint\.weights\[0\]: number out of range"),
        (
            {"folder": "a", "paint": {"color": "green"}},
            r"paint\.color: invalid enum value 'green'; it is one of r",
        ),
        ({"folder": "a", "paint": {1: 2}}, "expected str"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(value, said):
    with pytest.raises(UserError, match=said) as refusal:
        admit(Record, value, "here", "mend it")
    assert "\n" not in str(refusal.value)


def test_settings_that_there_are_not_are_refused():
    with pytest.raises(UserError, match="here: there is no setting 'colour'; known are color, weights, picture, steps"):
        settings_from(Paint, {"colour": "red"}, "here")
    assert settings_from(Paint, {"steps": 4}, "here") == Paint(steps=4)

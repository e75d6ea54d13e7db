"""Checks of settings: numbers within bounds, words that have a use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from math import inf
from sys import float_info
from typing import Any

from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.files import plain


def check_kinds(settings: Any) -> None:
    """Raises UserError where a value of settings that were made in Python is not of its field's kind, or is a word that
    has no meaning there."""
    admit(type(settings), plain(settings), type(settings).__name__, "give it another value")


def within(settings: Any, low: float, high: float, *names: str) -> None:
    """Check numbers, or tuples of them; what was left out (None) is fine."""
    for name in names:
        value = getattr(settings, name)
        for number in value if isinstance(value, tuple) else [value]:
            if number is not None and not low <= number <= min(high, float_info.max):  # nor NaN, nor infinity
                bound = f"between {low:g} and {high:g}" if high < inf else f"{low:g} or more"
                raise UserError(f"{name} is {said(number)}; it must be {bound}")


def said(number: float) -> str:
    """A number in few letters. A whole one may be larger than any float."""
    return f"{number:g}" if isinstance(number, float) or abs(number) < 1e300 else f"{str(number)[:12]}…"


def check_unused(settings: Any, names: Iterable[str], where: str) -> None:
    """Raises UserError where one of these was set, though nothing uses it."""
    if idle := changed(settings) & set(names):
        raise UserError(f"--{min(idle).replace('_', '-')} has no use {where}; leave it out")


def changed(settings: Any) -> set[str]:
    """The names of the values that are not the defaults."""
    return {field.name for field in fields(settings) if getattr(settings, field.name) != field.default}


def check_weights(name: str, weights: tuple[float, ...], of: str, what: tuple) -> None:
    """Raises UserError where weights do not belong to what they weigh: one for each, none below 0, not all 0."""
    if weights and (len(weights) != len(what) or not all(0 <= w < inf for w in weights) or not sum(weights)):
        given = " ".join(f"{w:g}" for w in weights)
        raise UserError(f"{name} is {given}; it needs {len(what)} values of 0 or more, one for each of the {of}")

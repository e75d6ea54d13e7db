"""The one door for what is read back: values of JSON, YAML and notes become the dataclasses that they stand for.

What came through it has the types that the dataclass says, so that the code behind it can trust it. Types alone: that
files exist and that tensors fit is for those who open them.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from arf.errors import UserError

Kind = TypeVar("Kind")
UNIONS = (Union, UnionType)
LONGEST = 4096  # characters of a path


def admit(kind: type[Kind], value: Any, where: object, remedy: str) -> Kind:
    """A value as a dataclass, or as another type that `msgspec.convert` knows; strict, but whole numbers do as floats.

    Args:
        where: what holds the value, for messages: a file, or a file and a section.
        remedy: what to do when it does not fit.

    Raises:
        UserError: a field is missing, or is of another type. Fields that the dataclass does not have are left alone.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=_path)
    except (msgspec.ValidationError, RecursionError) as error:
        raise UserError(f"{where}: {_said(error, kind)}; {remedy}") from error


RENAMED = {"style_weight": "style_strength", "long_side": "size"}  # settings, as runs of an older arf name them


def settings_of_run(kind: type[Kind], values: Any, where: object) -> Kind:
    """As `settings_from`, of a run that an older arf may have begun."""
    if isinstance(values, dict):
        values = {RENAMED.get(name, name): value for name, value in values.items()}
    return settings_from(kind, values, where)


def settings_from(kind: type[Kind], values: Any, where: object, remedy: str = "make the run again") -> Kind:
    """Settings that a file holds. Their `check` is for who knows what they are to be used for.

    Raises:
        UserError: as `admit`; or a setting that there is not.
    """
    settings = admit(kind, values, where, remedy)
    known = [field.name for field in fields(kind)]
    if unknown := sorted(values.keys() - set(known)):
        raise UserError(f"{where}: there is no setting {unknown[0]!r}; known are {', '.join(known)}")
    return settings


def _path(kind: type, value: Any) -> Path:
    if kind is not Path:
        raise NotImplementedError(kind)
    if not isinstance(value, str) or "\0" in value or len(value) > LONGEST:
        raise TypeError("Expected the name of a file")
    return Path(value)


def _said(error: Exception, kind: Any) -> str:
    """What msgspec says, its place first: "steps: expected int, got str"."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    what, _, place = str(error).partition(" - at ")
    what = what.replace("`", "").replace(" | null", "")
    name = re.sub(r"^\$\.?", "", place.strip("`"))
    said = f"{name}: {what[0].lower()}{what[1:]}" if name else f"{what[0].lower()}{what[1:]}"
    for part in name.split("."):
        kind = get_type_hints(kind).get(part) if is_dataclass(kind) else None
        kind = next((k for k in get_args(kind) if k is not NoneType), None) if get_origin(kind) in UNIONS else kind
    return f"{said}; it is one of {', '.join(map(str, get_args(kind)))}" if get_origin(kind) is Literal else said

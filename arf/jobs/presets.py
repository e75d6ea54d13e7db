"""Presets: readable YAML files whose sections give other defaults to the settings. Any flag still wins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from arf import bundled
from arf.errors import UserError

Settings = TypeVar("Settings")


def apply_preset(settings: Settings, path: Path, section: str) -> Settings:
    """The settings with the values that a preset's section names.

    Raises:
        UserError: no such file, not a preset, or a field that does not exist.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read preset {path}: {error.strerror}; presets are in {bundled.presets()}/") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable YAML: {' '.join(str(error).split())[:120]}") from error
    if not isinstance(content, dict) or not all(isinstance(values or {}, dict) for values in content.values()):
        raise UserError(f"{path} is no preset: it needs sections such as fit: and stylize:")
    assert is_dataclass(settings)
    known = {f.name: getattr(settings, f.name) for f in fields(settings)}
    hints = get_type_hints(type(settings))
    for name, value in (content.get(section) or {}).items():
        if name not in known:
            raise UserError(f"{path}: {section} has no setting {name!r}; known are {', '.join(known)}")
        if get_origin(hints[name]) is Literal and value not in get_args(hints[name]):
            raise UserError(f"{path}: {section}.{name} is {value!r}; it is one of {', '.join(get_args(hints[name]))}")
        default = known[name]
        if default is None:  # left out: its type says what may stand there
            default = next((kind() for kind in get_args(hints[name]) if kind in (int, float, Path)), None)
        known[name] = _as(value, default, f"{path}: {section}.{name}")
    return type(settings)(**known)


def unless_preset(settings: Settings, path: Path | None, section: str, names: Iterable[str]) -> Settings:
    """The settings with these names back at their defaults where only the preset had set them.

    A preset serves many jobs: what has no use in one of them is no mistake there, as a flag would be.
    """
    if path is None:
        return settings
    plain = type(settings)()
    preset = apply_preset(plain, path, section)
    said = [name for name in names if getattr(settings, name) == getattr(preset, name)]
    return replace(settings, **{name: getattr(plain, name) for name in said})


def _as(value: Any, default: Any, where: str) -> Any:
    """The value in the type of the default; whole numbers do as floats, lists as tuples."""
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, Path) and isinstance(value, str):
        return Path(value)
    if default is not None and not isinstance(value, type(default)):
        raise UserError(f"{where} is {value!r}; expected {type(default).__name__}")
    return value

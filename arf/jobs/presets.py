"""Presets: readable YAML files whose sections give other defaults to the settings. Any flag still wins."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from arf import bundled
from arf.errors import UserError
from arf.jobs.door import settings_from
from arf.jobs.files import DEEPEST, read_text

LARGEST = 1_000_000  # bytes of a preset

Settings = TypeVar("Settings")


def apply_preset(settings: Settings, path: Path, section: str, known: Collection[str] = ()) -> Settings:
    """The settings with the values that a preset's section names.

    Args:
        known: the sections that a preset may have; any where it is empty.

    Raises:
        UserError: no such file, not a preset, no such section, or a setting that does not exist or makes no sense.
    """
    content = _read(path)
    if unknown := [name for name in content if known and name not in known]:
        raise UserError(f"{path}: there is no section {unknown[0]!r}; known are {', '.join(known)}")
    if section not in content:
        held = ", ".join(map(str, content)) or "nothing"
        raise UserError(f"{path} has no section {section}, only {held}; leave --config out, or add one")
    values = content[section] or {}
    given = settings_from(type(settings), values, f"{path}: {section}", "correct the preset")
    return replace(settings, **{name: getattr(given, name) for name in values})


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


def _read(path: Path) -> dict[str, Any]:
    """The sections of a preset.

    Raises:
        UserError: no regular file, no YAML, or no sections.
    """
    try:
        text = read_text(path, "preset", LARGEST)
    except UserError as error:
        raise UserError(f"{error}; presets are in {bundled.presets()}/") from error
    try:
        _check_shape(text, path)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: an integer of thousands of digits
        raise UserError(f"{path} is not readable YAML: {' '.join(str(error).split())[:120]}") from error
    if not isinstance(content, dict) or not all(isinstance(values or {}, dict) for values in content.values()):
        raise UserError(f"{path} is no preset: it needs sections such as fit: and stylize:")
    return content


def _check_shape(text: str, path: Path) -> None:
    """Raises UserError for YAML that would take for ever: an alias in an alias in an alias, or lists in lists."""
    depth = 0
    for event in yaml.parse(text):
        if isinstance(event, yaml.AliasEvent):
            raise UserError(f"{path}: *aliases have no use in a preset; write the values out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UserError(f"{path} is no preset: it is nested too deep; restore or regenerate it")

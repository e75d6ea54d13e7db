"""The door to arf.nerfstudio, the one room that imports nerfstudio, which need not be installed."""

from __future__ import annotations

import importlib.util
from importlib import import_module
from types import ModuleType


def nerfstudio_is_installed() -> bool:
    found = importlib.util.find_spec("nerfstudio")
    return found is not None and found.origin is not None  # Python takes a mere folder of that name for a package, too


def nerfstudio(module: str) -> ModuleType | None:
    """A module of the room, or None where nerfstudio is not installed."""
    return import_module(f"arf.nerfstudio.{module}") if nerfstudio_is_installed() else None

"""The commands that make pictures by optimisation."""

from __future__ import annotations

COMMANDS: dict = {}

"""The kinds of field by name. A kind's module says how it is planned and built; it is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from arf.errors import UserError
from arf.radiance.extras import nerfstudio
from arf.radiance.fields.field import Field
from arf.radiance.fields.place import Place

if TYPE_CHECKING:
    from arf.radiance.settings import FitSettings


def plan(settings: FitSettings, place: Place) -> dict[str, Any]:
    """The field that a fit asks for, as the plain values that arf.json keeps; nothing is left open.

    Raises:
        UserError: settings that contradict each other, or a kind that is not installed here.
    """
    return {"backbone": settings.backbone, **_kind(settings.backbone).plan(settings, place)}


def build(values: dict[str, Any], place: Place, device: torch.device) -> Field:
    """A field of such values, its weights fresh.

    Raises:
        UserError: a kind or setting that this version does not know, or that cannot be had here.
    """
    values = {**values}
    return _kind(values.pop("backbone", "voxel")).build(values, place, device)


def _kind(name: str) -> ModuleType:
    if name == "voxel":
        return import_module("arf.radiance.fields.voxel.kind")
    if name == "splat":
        return import_module("arf.radiance.fields.splats.kind")
    if name == "nerfacto":
        if room := nerfstudio("models.nerfacto_kind"):
            return room
        raise UserError(
            "nerfacto is nerfstudio's, which is not installed here: pip install nerfstudio, or take --backbone voxel"
        )
    raise UserError(f"no backbone {name!r}; there are voxel, splat and nerfacto: open the run with a newer arf")

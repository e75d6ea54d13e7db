"""The kinds of field by name. A kind's module says how it is planned and built; it is imported when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.radiance.capture.views import Capture, Kind
from arf.radiance.extras import nerfstudio
from arf.radiance.fields.field import Field

if TYPE_CHECKING:
    from arf.radiance.settings import FitSettings


@dataclass(frozen=True)
class Place:
    """What a field needs to know of the place that it is to hold.

    Attributes:
        space_box: of the `Space` that the kind of scene asks for.
        views: number of training views.
        transparent: whether photographs have an alpha channel.
    """

    kind: Kind
    scene_box: Float[Tensor, "2 3"]
    space_box: Float[Tensor, "2 3"]
    views: int
    transparent: bool

    @classmethod
    def of(cls, capture: Capture) -> Place:
        train = capture.train
        return cls(capture.kind, capture.scene_box, capture.space_box, len(train), train.transparent)


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
    if name == "nerfacto":
        if room := nerfstudio("nerfacto_kind"):
            return room
        raise UserError(
            "nerfacto is nerfstudio's, which is not installed here: pip install '.[nerfstudio]' in a checkout of arf, "
            "or take --backbone voxel"
        )
    raise UserError(f"no backbone {name!r}; there are voxel and nerfacto: open the run with a newer arf")

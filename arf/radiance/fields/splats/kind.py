"""How splats are written down, and made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from arf.errors import UserError
from arf.jobs.door import settings_from
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.settings import parse_color

if TYPE_CHECKING:
    from arf.radiance.fields.place import Place
    from arf.radiance.settings import FitSettings


@dataclass
class SplatConfig:
    """What there is to say of splats beside their tensors."""

    antialiased: bool = False
    """Whether they were fitted with Mip-Splatting's compensation."""
    background: str = "1,1,1"
    """What lies behind everything until the tensors say it: a colour "r,g,b" in 0..1."""


def plan(settings: FitSettings, place: Place) -> dict[str, Any]:
    """The configuration that a fit asks for.

    Raises:
        UserError: a background that splats cannot have.
    """
    background = settings.background
    if background == "last":
        raise UserError("--background last is for --backbone voxel or nerfacto; splats take a colour, or auto")
    if background == "auto":
        background = "1,1,1" if place.transparent else "0.5,0.5,0.5"
    return {"antialiased": True, "background": background}


def build(values: dict[str, Any], place: Place, device: torch.device) -> SplatField:
    """A field of such values, without any splat yet.

    Raises:
        UserError: a setting that this version does not know.
    """
    config = settings_from(SplatConfig, values, "the field")
    none = Splats(
        torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 3), torch.zeros(0, 0, 3)
    )
    return SplatField(none, torch.tensor(parse_color(config.background)), device, config.antialiased)

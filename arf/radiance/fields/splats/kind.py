"""How splats are written down, and made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from arf.errors import UserError
from arf.jobs.door import settings_from
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.splats import Splats

if TYPE_CHECKING:
    from arf.radiance.fields.place import Place
    from arf.radiance.settings import FitSettings


@dataclass
class SplatConfig:
    """What there is to say of splats beside their tensors."""

    antialiased: bool = False
    """Whether they were fitted with Mip-Splatting's compensation."""


def plan(settings: FitSettings, place: Place) -> dict[str, Any]:
    """Splats are brought, not fitted."""
    raise UserError("--backbone splat: splats are brought as files, not fitted; take --backbone voxel or nerfacto")


def build(values: dict[str, Any], place: Place, device: torch.device) -> SplatField:
    """A field of such values, without any splat yet.

    Raises:
        UserError: a setting that this version does not know.
    """
    config = settings_from(SplatConfig, values, "the field")
    none = Splats(
        torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 3), torch.zeros(0, 0, 3)
    )
    return SplatField(none, torch.ones(3), device, config.antialiased)

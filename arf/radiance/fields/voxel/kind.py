"""How a voxel grid is asked for, written down, and made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from arf.errors import UserError
from arf.jobs.door import settings_from
from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.voxel.field import VoxelConfig, VoxelField

if TYPE_CHECKING:
    from arf.radiance.fields.place import Place
    from arf.radiance.settings import FitSettings

UNUSED = ("prompt", "enable_collider", "collider_params", "loss_coefficients", "eval_num_rays_per_chunk")  # once kept


def plan(settings: FitSettings, place: Place) -> dict[str, Any]:
    """The configuration that a fit asks for.

    Raises:
        UserError: settings that contradict each other.
    """
    background = settings.background
    if background == "auto":
        background = "1,1,1" if place.transparent else "0.5,0.5,0.5"
    if len(settings.stages) != len(settings.resolutions) - 1 or sorted(settings.stages) != list(settings.stages):
        raise UserError(
            f"{len(settings.resolutions)} resolutions need {len(settings.resolutions) - 1} ascending stages, "
            f"got {settings.stages}"
        )
    shared = ("resolutions", "stages", "step", "distortion", "smoothness", "color_smoothness", "prune_below")
    values = {name: getattr(settings, name) for name in shared}
    return {"background": background, "total_steps": settings.steps, **values}


def build(values: dict[str, Any], place: Place, device: torch.device) -> VoxelField:
    """A voxel grid with fresh values.

    Raises:
        UserError: a setting that this version does not know.
    """
    known = {name: value for name, value in values.items() if name not in UNUSED}
    return VoxelField(settings_from(VoxelConfig, known, "the field"), Space(place.kind, place.space_box)).to(device)

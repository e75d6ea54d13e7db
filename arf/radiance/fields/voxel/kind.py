"""How a voxel grid is asked for, written down, and made."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch

from arf.errors import UserError
from arf.jobs.device import check_room
from arf.jobs.door import settings_from
from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.voxel.field import VoxelConfig, VoxelField
from arf.radiance.fields.voxel.grid import shape_at

if TYPE_CHECKING:
    from arf.radiance.fields.place import Place
    from arf.radiance.settings import FitSettings

OPAQUE = {"unbounded": "last", "forward": "last", "bounded": "0.5,0.5,0.5"}
"""Behind opaque photographs. In a closed box `last` makes walls before the cameras: 12 dB for 30 on our still life."""
DENSE, FINER = 500, 80  # bytes a cell: while a grid with every cell is made; while a finer one is laid over it
UNUSED = ("prompt", "enable_collider", "collider_params", "loss_coefficients", "eval_num_rays_per_chunk")  # once kept


def plan(settings: FitSettings, place: Place) -> dict[str, Any]:
    """The configuration that a fit asks for.

    Raises:
        UserError: settings that contradict each other, or ask for more memory than there is.
    """
    background = settings.background
    if background == "auto":
        background = "1,1,1" if place.transparent else OPAQUE[place.kind]
    if len(settings.stages) != len(settings.resolutions) - 1 or sorted(settings.stages) != list(settings.stages):
        raise UserError(
            f"{len(settings.resolutions)} resolutions need {len(settings.resolutions) - 1} ascending stages, "
            f"got {settings.stages}"
        )
    space = Space(place.kind, place.space_box)
    _check_room(space, max(settings.resolutions), FINER, "take smaller --resolutions")
    shared = ("resolutions", "stages", "step", "distortion", "smoothness", "color_smoothness", "prune_below")
    values = {name: getattr(settings, name) for name in shared}
    return {"background": background, "total_steps": settings.steps, **values}


def build(values: dict[str, Any], place: Place, device: torch.device) -> VoxelField:
    """A voxel grid with fresh values.

    Raises:
        UserError: a setting that this version does not know, that makes no sense, or that asks for more memory than
            there is.
    """
    known = {name: value for name, value in values.items() if name not in UNUSED}
    config, space = settings_from(VoxelConfig, known, "the field"), Space(place.kind, place.space_box)
    config.check()
    _check_room(space, config.resolutions[0], DENSE, "begin with a coarser grid")
    return VoxelField(config, space).to(device)


def _check_room(space: Space, resolution: int, each: int, remedy: str) -> None:
    cells = prod(shape_at(space, resolution))
    check_room(each * cells, torch.device("cpu"), f"a voxel grid of resolution {resolution}", remedy)

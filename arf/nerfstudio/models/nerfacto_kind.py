"""How nerfacto is asked for, and made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from nerfstudio.data.scene_box import SceneBox

from arf.errors import UserError
from arf.nerfstudio.models.nerfacto import NerfactoField, NerfactoFieldConfig, has_tcnn
from arf.radiance.fields.place import Place

if TYPE_CHECKING:
    from arf.radiance.settings import FitSettings


def plan(settings: FitSettings, place: Place) -> dict[str, Any]:
    """nerfstudio's own nerfacto, with tinycudann where there is one, and the poses as they are unless asked.

    Raises:
        UserError: a background that nerfacto has not.
    """
    names = {"last": "last_sample", "1,1,1": "white", "0,0,0": "black"}
    names["auto"] = "white" if place.transparent else "last_sample"
    if settings.background not in names:
        raise UserError(f"background is {settings.background!r}; nerfacto knows last, 0,0,0 and 1,1,1: choose one")
    return {
        "background_color": names[settings.background],
        "implementation": "tcnn" if has_tcnn() and settings.device != "cpu" else "torch",
        "camera_optimizer": {"mode": "SO3xR3" if settings.refine_poses else "off"},
        "log2_hashmap_size": settings.hash_size,
        "disable_scene_contraction": place.kind == "bounded",
    }


def build(values: dict[str, Any], place: Place, device: torch.device) -> NerfactoField:
    """A nerfacto with fresh weights.

    Raises:
        UserError: its networks are tinycudann's and it is to live on the CPU, or a setting that is unknown here.
    """
    config = NerfactoFieldConfig.of(values)
    if config.implementation == "tcnn" and device.type == "cpu" and torch.cuda.is_available():
        raise UserError("this nerfacto was made with tinycudann, which needs the GPU; leave --device cpu out")
    return config.setup(scene_box=SceneBox(aabb=place.scene_box), num_train_data=place.views).to(device)

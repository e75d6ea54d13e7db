"""The backbones by name: what a fit is asked to make, and the same as the plain values that arf.json keeps."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.models.base_model import Model, ModelConfig

from arf.errors import UserError
from arf.jobs.runs import settings_from
from arf.nerfstudio.nerfacto import NerfactoBackboneConfig, has_tcnn
from arf.radiance.capture.capture import Capture
from arf.radiance.fields.voxel.model import VoxelModelConfig
from arf.radiance.settings import FitSettings


def fit_config(settings: FitSettings, kind: str, transparent: bool) -> ModelConfig:
    """The backbone that a fit was asked to make, for a kind of scene; nothing in the settings is left open.

    Raises:
        UserError: settings that contradict each other.
    """
    if settings.backbone == "voxel":
        return voxel_config(settings, transparent)
    return nerfacto_config(settings, kind, transparent)


def voxel_config(settings: FitSettings, transparent: bool) -> VoxelModelConfig:
    """Configuration of the voxel grid."""
    background = settings.background
    if background == "auto":
        background = "1,1,1" if transparent else "0.5,0.5,0.5"
    shared = ("resolutions", "stages", "step", "distortion", "smoothness", "color_smoothness", "prune_below")
    values = {name: getattr(settings, name) for name in shared}
    if len(settings.stages) != len(settings.resolutions) - 1 or sorted(settings.stages) != list(settings.stages):
        raise UserError(
            f"{len(settings.resolutions)} resolutions need {len(settings.resolutions) - 1} ascending stages, "
            f"got {settings.stages}"
        )
    return VoxelModelConfig(background=background, total_steps=settings.steps, **values)


def nerfacto_config(settings: FitSettings, kind: str, transparent: bool) -> NerfactoBackboneConfig:
    """nerfstudio's own nerfacto, with tinycudann where there is one, and the poses as they are unless asked."""
    names = {"last": "last_sample", "1,1,1": "white", "0,0,0": "black"}
    names["auto"] = "white" if transparent else "last_sample"
    if settings.background not in names:
        raise UserError(f"background is {settings.background!r}; nerfacto knows last, 0,0,0 and 1,1,1: choose one")
    return NerfactoBackboneConfig.of(
        {
            "background_color": names[settings.background],
            "implementation": "tcnn" if has_tcnn() and settings.device != "cpu" else "torch",
            "camera_optimizer": {"mode": "SO3xR3" if settings.refine_poses else "off"},
            "log2_hashmap_size": settings.hash_size,
            "disable_scene_contraction": kind == "bounded",
        }
    )


def plain(config: ModelConfig) -> dict[str, Any]:
    """The fields of a backbone's configuration that arf.json keeps."""
    values = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in ("_target", "prompt")}
    if isinstance(config, NerfactoBackboneConfig):
        values["camera_optimizer"] = {"mode": config.camera_optimizer.mode}
    return {"backbone": "voxel" if isinstance(config, VoxelModelConfig) else "nerfacto", **values}


def config_of(values: dict[str, Any]) -> ModelConfig:
    """Inverse of `plain`.

    Raises:
        UserError: a backbone or setting that this version does not know.
    """
    values = {**values}
    name = values.pop("backbone", "voxel")
    if name == "nerfacto":
        return NerfactoBackboneConfig.of(values)
    if name != "voxel":
        raise UserError(f"no backbone {name!r}; there are voxel and nerfacto: open the run with a newer arf")
    return settings_from(VoxelModelConfig, values)


def build(config: ModelConfig, capture: Capture, device: torch.device) -> Model:
    """A model for a capture, with fresh weights.

    Raises:
        UserError: its networks are tinycudann's and it is to live on the CPU.
    """
    if getattr(config, "implementation", "torch") == "tcnn" and device.type == "cpu" and torch.cuda.is_available():
        raise UserError("this nerfacto was made with tinycudann, which needs the GPU; leave --device cpu out")
    model = config.setup(
        scene_box=SceneBox(aabb=capture.scene_box), num_train_data=len(capture.train), metadata=capture.metadata
    )
    return model.to(device)

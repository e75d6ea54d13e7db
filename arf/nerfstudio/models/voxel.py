"""The voxel grid as a model of nerfstudio's, for `ns-train arf-voxel` and the ns-* tools."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor
from torch.nn.functional import mse_loss

from arf.nerfstudio.models.metrics import composited, picture_metrics
from arf.nerfstudio.models.places import place_of
from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.voxel.field import VoxelConfig, VoxelField

OWN = ("background", "seen", "field.")  # beginnings of the names that checkpoints of arf 0.1 have


@dataclass
class VoxelModelConfig(VoxelConfig, ModelConfig):
    """Settings of the voxel grid."""

    _target: type = field(default_factory=lambda: VoxelModel)
    enable_collider: bool = False
    eval_num_rays_per_chunk: int = 1 << 14

    def voxels(self) -> VoxelConfig:
        """Those of the field itself."""
        return VoxelConfig(**{f.name: getattr(self, f.name) for f in fields(VoxelConfig)})


class VoxelModel(Model):
    """A `VoxelField` behind nerfstudio's interface.

    The kind of space and its box come from the capture's metadata (see `arf.nerfstudio.parser`).
    """

    config: VoxelModelConfig

    def populate_modules(self) -> None:
        super().populate_modules()
        place = place_of(self)
        self.voxel = VoxelField(self.config.voxels(), Space(place.kind, place.space_box))

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:
        origins, directions = ray_bundle.origins, ray_bundle.directions
        if self.training:
            color, terms, samples = self.voxel.learn(origins, directions)
            return {"rgb": color, **terms, "num_samples": torch.tensor(samples)}
        shot = self.voxel.shoot_rays((origins, directions))
        return {
            "rgb": shot.color.clamp(0, 1), "accumulation": shot.opacity[:, None], "depth": shot.depth[:, None],
        }  # fmt: skip

    def get_rgba_image(self, outputs: dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """A picture with its opacity, by which ns-export tells surfaces from empty space."""
        return torch.cat([outputs[output_name], outputs["accumulation"]], dim=-1)

    def get_param_groups(self) -> dict[str, list]:
        return {"fields": [self.voxel.voxels.table]}

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> dict[str, Tensor]:
        target = composited(batch["image"].to(self.device), self.voxel.background)
        terms = {name: outputs[name] for name in ("distortion", "smoothness") if name in outputs}
        return {"rgb": mse_loss(outputs["rgb"], target), **terms}

    def get_image_metrics_and_images(self, outputs, batch) -> tuple[dict[str, float], dict[str, Tensor]]:
        metrics, truth = picture_metrics(outputs["rgb"], batch, self.voxel.background)
        return metrics, {"img": torch.cat([truth, outputs["rgb"]], dim=1), "depth": outputs["depth"]}

    def get_training_callbacks(self, attributes: TrainingCallbackAttributes) -> list[TrainingCallback]:
        def refine(step: int) -> None:
            self.voxel.after_step(step, attributes.optimizers.optimizers["fields"])

        return [TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], refine)]

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """A checkpoint of arf 0.1 had the field's tensors at this level."""
        for name in [name for name in state_dict if name.removeprefix(prefix).startswith(OWN)]:
            state_dict[f"{prefix}voxel.{name.removeprefix(prefix)}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

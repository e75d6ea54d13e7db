"""A repainted scene as a nerfstudio model: a backbone's frozen geometry under our vertex colours."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor

from arf.radiance.colors import VertexColors
from arf.radiance.trace import trace
from arf.radiance.voxel_model import VoxelModelConfig, picture_metrics


@dataclass
class StylizedModelConfig(ModelConfig):
    """A stylized scene: the backbone that it was made from, and how much of each ray's weight is not looked up."""

    _target: type = field(default_factory=lambda: StylizedModel)
    backbone: ModelConfig = field(default_factory=VoxelModelConfig)
    """The photoreal model."""
    drop_weight: float = 0.0025
    """Share of each ray's weight, its lightest samples, that is left out."""
    enable_collider: bool = False
    eval_num_rays_per_chunk: int = 1 << 15


class StylizedModel(Model):
    """Renders only; nothing in it trains, so it hands nerfstudio no callbacks and stays in evaluation mode."""

    config: StylizedModelConfig

    def populate_modules(self) -> None:
        super().populate_modules()
        self.backbone = self.config.backbone.setup(
            scene_box=self.scene_box, num_train_data=self.num_train_data, metadata=self.kwargs.get("metadata")
        )
        self.colors = VertexColors.empty()
        self.backbone.requires_grad_(False)

    @classmethod
    def around(cls, config: StylizedModelConfig, backbone: Model, colors: VertexColors) -> StylizedModel:
        """A model from its finished parts."""
        parts = {"scene_box": backbone.scene_box, "num_train_data": backbone.num_train_data}
        model = cls(config, **parts, metadata=backbone.kwargs.get("metadata")).to(backbone.device)
        model.backbone, model.colors = backbone, colors
        return model.eval()

    @torch.no_grad()
    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:
        traced = trace(self.backbone, ray_bundle.origins, ray_bundle.directions, self.config.drop_weight)
        return {
            "rgb": self.colors.render(traced).clamp(0, 1),
            "photoreal": traced.composite(traced.rgb, self.backbone.background).clamp(0, 1),
            "accumulation": 1 - traced.leftover[:, None],
            "depth": traced.depth[:, None],
        }

    def get_param_groups(self) -> dict[str, list]:
        return {"fields": [self.device_indicator_param]}

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> dict[str, Tensor]:
        return {}

    def get_image_metrics_and_images(self, outputs, batch) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Metrics of the PHOTOREAL rendering (a painting has no ground truth), and truth | photoreal | stylized."""
        metrics, truth = picture_metrics(outputs["photoreal"], batch, self.backbone.background)
        pictures = torch.cat([truth, outputs["photoreal"], outputs["rgb"]], dim=1)
        return metrics, {"img": pictures, "depth": outputs["depth"]}

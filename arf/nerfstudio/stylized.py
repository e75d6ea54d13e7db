"""A repainted scene as a nerfstudio model: a backbone's frozen geometry under our vertex colours."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import tyro
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.viewer.viewer_elements import ViewerCheckbox, ViewerSlider
from torch import Tensor

from arf.radiance.fields.trace import trace
from arf.radiance.fields.voxel.model import VoxelModel, VoxelModelConfig, picture_metrics
from arf.radiance.paint.blend import blend, check_strength
from arf.radiance.paint.colors import VertexColors


@dataclass
class StylizedModelConfig(ModelConfig):
    """A stylized scene: the backbone that it was made from, and how much of each ray's weight is not looked up."""

    _target: type = field(default_factory=lambda: StylizedModel)
    backbone: tyro.conf.Suppress[ModelConfig] = field(default_factory=VoxelModelConfig)
    """The photoreal model, which the run brings."""
    drop_weight: tyro.conf.Suppress[float] = 0.0025
    """Share of each ray's weight, its lightest samples, that is left out."""
    strength: float = 1.0
    """How much of the paint shows, 0 (photoreal) to 1; the viewer's slider starts here."""
    preserve_color: bool = False
    """Show the painting in the photoreal colours; the viewer's checkbox starts here."""
    enable_collider: bool = False
    eval_num_rays_per_chunk: int = 1 << 15


class StylizedModel(Model):
    """Renders only, in evaluation mode whatever a trainer says: geometry is frozen, sampled without jitter.

    Attributes:
        strength, preserve_color: the viewer's controls; without a viewer, their `value` can be set.

    Raises:
        UserError: the configuration's strength is not within 0..1.
    """

    config: StylizedModelConfig

    def populate_modules(self) -> None:
        super().populate_modules()
        self.backbone = self.config.backbone.setup(
            scene_box=self.scene_box, num_train_data=self.num_train_data, metadata=self.kwargs.get("metadata")
        )
        self.colors = VertexColors.empty()
        self.backbone.requires_grad_(False)
        self.strength = ViewerSlider("Style strength", float(check_strength(self.config.strength)), 0.0, 1.0, 0.05)
        self.preserve_color = ViewerCheckbox("Keep the photographs' colours", self.config.preserve_color)

    @classmethod
    def around(cls, config: StylizedModelConfig, backbone: Model, colors: VertexColors) -> StylizedModel:
        """A model from its finished parts."""
        parts = {"scene_box": backbone.scene_box, "num_train_data": backbone.num_train_data}
        model = cls(config, **parts, metadata=backbone.kwargs.get("metadata")).to(backbone.device)
        model.backbone, model.colors = backbone, colors.to(backbone.device)
        return model.eval()

    def train(self, mode: bool = True) -> StylizedModel:
        """Trainers call it at every step; it stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:
        traced = trace(self.backbone, ray_bundle.origins, ray_bundle.directions, self.config.drop_weight)
        photoreal = traced.composite(traced.rgb, self.backbone.background)  # [r, 3]
        stylized = self.colors.render(traced)
        return {
            "rgb": blend(photoreal, stylized, self.strength.value, self.preserve_color.value).clamp(0, 1),
            "stylized": stylized.clamp(0, 1),
            "photoreal": photoreal.clamp(0, 1),
            "accumulation": 1 - traced.leftover[:, None],
            "depth": traced.depth[:, None],
        }

    get_rgba_image = VoxelModel.get_rgba_image

    def get_param_groups(self) -> dict[str, list]:
        return {"fields": [self.device_indicator_param]}

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> dict[str, Tensor]:
        return {}

    def get_image_metrics_and_images(self, outputs, batch) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Metrics of the PHOTOREAL rendering (a painting has no ground truth), and truth | photoreal | stylized."""
        metrics, truth = picture_metrics(outputs["photoreal"], batch, self.backbone.background)
        pictures = torch.cat([truth, outputs["photoreal"], outputs["rgb"]], dim=1)
        return metrics, {"img": pictures, "depth": outputs["depth"]}

"""A repainted scene as a model of nerfstudio's: a field's frozen geometry under a look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import tyro
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.viewer.viewer_elements import ViewerCheckbox, ViewerSlider
from torch import Tensor, nn

from arf.nerfstudio.models.metrics import picture_metrics
from arf.nerfstudio.models.places import place_of
from arf.nerfstudio.models.voxel import VoxelModel
from arf.radiance.fields import kinds
from arf.radiance.fields.field import Field
from arf.radiance.fields.voxel.field import VoxelField
from arf.radiance.looks.blend import blend, check_strength
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import Painted
from arf.style.color import Affine


@dataclass
class StylizedModelConfig(ModelConfig):
    """A stylized scene: the field that it was made from, and how much of each ray's weight is not looked up."""

    _target: type = field(default_factory=lambda: StylizedModel)
    field_values: tyro.conf.Suppress[dict[str, Any]] = field(default_factory=lambda: {"backbone": "voxel"})
    """The photoreal field, which the run brings: what `arf.radiance.fields.kinds.build` makes it of."""
    drop_weight: tyro.conf.Suppress[float] = 0.0025
    """Share of each ray's weight, its lightest samples, that is left out where it is traced: of nerfacto."""
    strength: float = 1.0
    """How much of the paint shows, 0 (photoreal) to 1; the viewer's slider starts here."""
    preserve_color: bool = False
    """Show the painting in the photoreal colours; the viewer's checkbox starts here."""
    enable_collider: bool = False
    eval_num_rays_per_chunk: int = 1 << 15


class LookModule(nn.Module):
    """A `Look` whose tensors are a module's, of whatever size a checkpoint has."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        for name, tensor in look.tensors().items():
            self.register_buffer(name, tensor)

    def look(self) -> Look:
        return Look(self.theta, self.background, Affine(self.matrix.double(), self.bias.double()))

    def show(self, look: Look) -> None:
        """Take over a look of the same columns."""
        with torch.no_grad():
            for name, tensor in look.tensors().items():
                getattr(self, name).copy_(tensor)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        theta = state_dict.get(prefix + "theta")
        if theta is not None and theta.shape != self.theta.shape:  # where it is, an optimizer keeps what it holds
            self.theta = torch.empty_like(theta, device=self.theta.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


class StylizedModel(Model):
    """Renders only, in evaluation mode whatever a trainer says: geometry is frozen, sampled without jitter.

    Attributes:
        scene: the field; it can trace any rays.
        strength, preserve_color: the viewer's controls; without a viewer, their `value` can be set.

    Raises:
        UserError: the configuration's strength is not within 0..1.
    """

    config: StylizedModelConfig
    scene: Field

    def populate_modules(self) -> None:
        super().populate_modules()
        self.scene = kinds.build(self.config.field_values, place_of(self), torch.device("cpu"))
        self.colors = LookModule(Look(torch.zeros(0, 3), torch.zeros(3), Affine.identity()))
        self.scene.requires_grad_(False)
        self.strength = ViewerSlider("Style strength", float(check_strength(self.config.strength)), 0.0, 1.0, 0.05)
        self.preserve_color = ViewerCheckbox("Keep the photographs' colours", self.config.preserve_color)

    def show(self, painted: Painted) -> None:
        """Take over the parts of a painted scene."""
        self.scene, self.colors = painted.field, LookModule(painted.look).to(painted.field.device)
        self.eval()

    def train(self, mode: bool = True) -> StylizedModel:
        """Trainers call it at every step; it stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:
        rays, look = (ray_bundle.origins, ray_bundle.directions), self.colors.look()
        if isinstance(self.scene, VoxelField):
            shot = self.scene.shoot_rays(rays)
            photoreal, opacity, depth = shot.color, shot.opacity, shot.depth
            stylized = self.scene.seen_by(rays, look.theta, look.background).color
        else:
            traced = self.scene.trace_rays(rays, self.config.drop_weight)
            photoreal, opacity, depth = traced.color, 1 - traced.leftover, traced.depth
            stylized = look.render(traced)
        return {
            "rgb": blend(photoreal, stylized, self.strength.value, self.preserve_color.value).clamp(0, 1),
            "stylized": stylized.clamp(0, 1),
            "photoreal": photoreal.clamp(0, 1),
            "accumulation": opacity[:, None],
            "depth": depth[:, None],
        }

    get_rgba_image = VoxelModel.get_rgba_image

    def get_param_groups(self) -> dict[str, list]:
        return {"fields": [self.device_indicator_param]}

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> dict[str, Tensor]:
        return {}

    def get_image_metrics_and_images(self, outputs, batch) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Metrics of the PHOTOREAL rendering (a painting has no ground truth), and truth | photoreal | stylized."""
        metrics, truth = picture_metrics(outputs["photoreal"], batch, self.scene.background)
        pictures = torch.cat([truth, outputs["photoreal"], outputs["rgb"]], dim=1)
        return metrics, {"img": pictures, "depth": outputs["depth"]}

"""nerfstudio's nerfacto as a backbone: its own sampler and weights, its samples placed in a colour grid of ours.

Tancik et al., "Nerfstudio" (SIGGRAPH 2023). The class adds no parameter: a checkpoint of `ns-train nerfacto` fits it.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field, fields
from unittest.mock import patch

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import Frustums, RayBundle, RaySamples
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.models.nerfacto import NerfactoModel, NerfactoModelConfig
from torch import Tensor

from arf.errors import UserError
from arf.radiance.fields.voxel.grid import grid_coords, linear_index
from arf.radiance.fields.voxel.march import Samples
from arf.radiance.fields.voxel.model import picture_metrics, shape_at
from arf.radiance.fields.voxel.space import Space

INSTALL_TCNN = "pip install git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch"


def has_tcnn() -> bool:
    """Whether tinycudann is installed and can be used here."""
    return importlib.util.find_spec("tinycudann") is not None and torch.cuda.is_available()


@dataclass
class NerfactoBackboneConfig(NerfactoModelConfig):
    """nerfacto, and the grid on which it is repainted."""

    _target: type = field(default_factory=lambda: NerfactoBackbone)
    color_resolution: int = 256
    """Cells of the colour grid along the longest side of contracted space, or of the scene box."""
    eval_num_rays_per_chunk: int = 4096

    @classmethod
    def of(cls, values: dict) -> NerfactoBackboneConfig:
        """From the plain values of `values_of`, or of a run of ns-train."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise UserError(f"unknown nerfacto setting {', '.join(unknown)}; the run needs another nerfstudio than 1.1")
        kept = {f.name for f in fields(CameraOptimizerConfig) if not f.name.startswith("_")}
        pose = {k: v for k, v in (values.get("camera_optimizer") or {}).items() if k in kept}
        config = cls(**{**values, "camera_optimizer": CameraOptimizerConfig(**pose)})
        config.num_proposal_samples_per_ray = tuple(config.num_proposal_samples_per_ray)
        return config


class NerfactoBackbone(NerfactoModel):
    """nerfacto in evaluation as stylization needs it: mean appearance code, no jitter, poses as the run refined them.

    Raises:
        UserError: the configuration asks for tinycudann, which is not installed here.
    """

    config: NerfactoBackboneConfig

    def populate_modules(self) -> None:
        if self.config.implementation == "tcnn" and not has_tcnn():
            raise UserError(
                "this nerfacto was made with tinycudann, which is not installed here or finds no GPU: install it "
                f"({INSTALL_TCNN}), or fit again without it"
            )
        # nerfacto builds LPIPS, whose weights are downloaded, for one figure of its evaluation
        with patch("torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity", lambda **_: None):
            super().populate_modules()
        white = self.config.background_color == "white"
        self.register_buffer("background", torch.full((3,), float(white)), persistent=False)

    # --- the backbone's side --------------------------------------------------------------------------------------

    @property
    def space(self) -> Space:
        """How nerfacto maps the world; it has no module for it that fits ours."""
        kind = "bounded" if self.config.disable_scene_contraction else "unbounded"
        return Space(kind, self.field.aabb).to(self.device)

    @property
    def color_shape(self) -> tuple[int, int, int]:
        return shape_at(self.space, self.config.color_resolution)

    def samples(
        self, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]
    ) -> tuple[Samples, Float[Tensor, " n"], Float[Tensor, " r"], Float[Tensor, "n 3"]]:
        """What nerfacto's own sampler takes and weighs, as `get_outputs` does, before compositing."""
        one = torch.ones_like(origins[:, :1])
        bundle = RayBundle(
            origins=origins, directions=directions, pixel_area=one, camera_indices=torch.zeros_like(one).int()
        )
        rays, _, _ = self.proposal_sampler(self.collider(bundle), density_fns=self.density_fns)
        outputs = self.field.forward(rays)
        weights = rays.get_weights(outputs[FieldHeadNames.DENSITY])[..., 0]  # [r, s]
        leftover = (1 - weights.sum(1)).clamp_min(0)  # [r]
        if self.config.background_color == "last_sample":
            weights, leftover = torch.cat([weights[:, :-1], weights[:, -1:] + leftover[:, None]], 1), leftover * 0
        count, steps = weights.shape
        frustums = rays.frustums
        unit = self.space.warp(frustums.get_positions().detach().reshape(-1, 3))  # [n, 3]
        shape = torch.tensor(self.color_shape, device=unit.device)
        scaled = unit.clamp(0, 1) * shape
        coords = torch.minimum(scaled.long(), shape - 1)
        index = torch.arange(count, device=unit.device)
        samples = Samples(
            ray=index.repeat_interleave(steps),
            starts=torch.arange(count + 1, device=unit.device) * steps,
            cell=linear_index(coords, self.color_shape),
            fraction=scaled - coords,
            arc=((rays.spacing_starts + rays.spacing_ends) / 2).flatten(),
            depth=((frustums.starts + frustums.ends) / 2).flatten(),
        )
        return samples, weights.flatten(), leftover, outputs[FieldHeadNames.RGB].float().flatten(0, 1)

    def color_cells(self, cell: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        return cell

    @torch.no_grad()
    def vertex_colors(self, keys: Int[Tensor, " V"], chunk: int = 1 << 18) -> Float[Tensor, "V 3"]:
        """nerfacto's colours depend on the direction: these are as seen from the middle of the scene."""
        points = tuple(n + 1 for n in self.color_shape)
        colors = []
        for part in keys.split(chunk):
            unit = grid_coords(part, points) / torch.tensor(self.color_shape, device=part.device)
            positions = self.space.unwarp(unit)[:, None]  # [v, 1, 3]
            zero = torch.zeros_like(positions[..., :1])
            directions = torch.nn.functional.normalize(positions, dim=-1)
            frustums = Frustums(origins=positions, directions=directions, starts=zero, ends=zero, pixel_area=zero)
            samples = RaySamples(frustums=frustums, camera_indices=zero.int())
            colors.append(self.field.forward(samples)[FieldHeadNames.RGB][:, 0].float())
        return torch.cat(colors)

    @torch.no_grad()
    def refined(self, cameras: Cameras) -> Cameras:
        """The training cameras with the poses that the run has found for them."""
        if self.config.camera_optimizer.mode == "off":
            return cameras
        change = self.camera_optimizer(torch.arange(len(cameras), device=self.device)).cpu()  # [n, 3, 4]
        pose = cameras.camera_to_worlds
        turned = change[:, :, :3] @ pose[:, :, :3]
        cameras.camera_to_worlds = torch.cat([turned, pose[:, :, 3:] + change[:, :, 3:]], -1)
        return cameras

    # --- training -------------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> NerfactoBackbone:
        """In evaluation the sampler trusts the proposals fully, also where training ended before it did."""
        if not mode:
            self.proposal_sampler.set_anneal(1.0)
        return super().train(mode)

    @property
    def schedule(self) -> int:
        """Steps since the proposal networks were last updated: what a resumed fit needs beside the weights."""
        return self.proposal_sampler._steps_since_update

    @schedule.setter
    def schedule(self, steps: int) -> None:
        self.proposal_sampler._steps_since_update = steps

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> dict[str, Tensor]:
        losses = super().get_loss_dict(outputs, batch, metrics_dict)
        return {name.removesuffix("_loss"): loss for name, loss in losses.items()}

    def get_image_metrics_and_images(self, outputs, batch) -> tuple[dict[str, float], dict[str, Tensor]]:
        metrics, truth = picture_metrics(outputs["rgb"], batch, self.background)
        return metrics, {"img": torch.cat([truth, outputs["rgb"]], dim=1), "depth": outputs["depth"]}

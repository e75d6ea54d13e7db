"""nerfstudio's nerfacto as a field: its own sampler and weights, its samples placed in a colour grid of ours.

Tancik et al., "Nerfstudio" (SIGGRAPH 2023). A checkpoint of `ns-train nerfacto` fits it: what it adds are the columns,
which are empty until it is repainted.
"""

from __future__ import annotations

import importlib.util
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from nerfstudio.cameras.rays import Frustums, RayBundle, RaySamples
from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.models.nerfacto import NerfactoModel, NerfactoModelConfig
from torch import Tensor

from arf.errors import UserError
from arf.jobs.checks import within
from arf.jobs.device import check_room
from arf.jobs.door import settings_from
from arf.jobs.files import plain
from arf.nerfstudio.models.metrics import picture_metrics
from arf.nerfstudio.runs.plain import checked
from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.views import Views
from arf.radiance.fields.rays.batch import RayBatch
from arf.radiance.fields.rays.field import RayField, Sampled
from arf.radiance.fields.rays.samples import Samples
from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.stored import faults
from arf.radiance.fields.voxel.grid import CORNERS, grid_coords, linear_index, shape_at, trilinear_weights

AGAIN = "make the run again"
INSTALL_TCNN = "pip install git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch"


def has_tcnn() -> bool:
    """Whether tinycudann is installed and can be used here."""
    return importlib.util.find_spec("tinycudann") is not None and torch.cuda.is_available()


@dataclass
class NerfactoFieldConfig(NerfactoModelConfig):
    """nerfacto, and the grid on which it is repainted."""

    _target: type = field(default_factory=lambda: NerfactoField)
    color_resolution: int = 256
    """Cells of the colour grid along the longest side of contracted space, or of the scene box."""
    eval_num_rays_per_chunk: int = 4096

    @classmethod
    def of(cls, values: dict[str, Any]) -> NerfactoFieldConfig:
        """From the plain values of `NerfactoField.values`, or of a run of ns-train.

        Raises:
            UserError: a setting that this nerfstudio does not know, or a value that makes no sense.
        """
        values, where = plain(values), "the configuration of nerfacto"
        pose = values.pop("camera_optimizer", None) or {}
        if not isinstance(pose, dict):
            raise UserError(f"{where}: camera_optimizer is {reprlib.repr(pose)}; {AGAIN}")
        kept = {f.name for f in fields(CameraOptimizerConfig) if not f.name.startswith("_")}
        pose = checked(CameraOptimizerConfig, {k: v for k, v in pose.items() if k in kept}, where)
        config = cls(**checked(cls, values, where), camera_optimizer=CameraOptimizerConfig(**pose))
        config.check()
        return config

    def check(self) -> None:
        """Raises UserError where a value makes no sense, or asks for more memory than there is."""
        within(self, 1, 4096, "hidden_dim", "hidden_dim_color", "hidden_dim_transient")
        within(self, 0, 4096, "appearance_embed_dim")
        within(self, 1, 4096, "num_nerf_samples_per_ray", "num_proposal_samples_per_ray")
        within(self, 1, 1e9, "proposal_update_every", "proposal_warmup", "proposal_weights_anneal_max_num_iters")
        within(self, 1, 2**18, "eval_num_rays_per_chunk")
        within(self, 2, 2048, "color_resolution")
        within(self, 0, 1e9, "near_plane", "far_plane")
        within(self, 1, min(8, len(self.num_proposal_samples_per_ray)), "num_proposal_iterations")
        proposals = [settings_from(ProposalNetwork, values, "proposal_net_args_list", AGAIN)
                     for values in self.proposal_net_args_list]  # fmt: skip
        if len(proposals) != 1 and (self.use_same_proposal_network or not proposals):
            raise UserError(f"proposal_net_args_list has {len(proposals)} networks; {AGAIN}")
        for network in proposals:
            within(network, 1, 16, "num_layers")
        entries = 0
        for grid in (self, *proposals):
            within(grid, 1, 24, "log2_hashmap_size")
            within(grid, 1, 64, "num_levels")
            within(grid, 1, 16, "features_per_level")
            within(grid, 1, 65536, "base_res", "max_res")
            within(grid, 1, 4096, "hidden_dim")
            entries += 2**grid.log2_hashmap_size * grid.num_levels * grid.features_per_level
        check_room(4 * entries, torch.device("cpu"), "nerfacto with these hash tables", AGAIN)


@dataclass
class ProposalNetwork:
    """What an entry of `proposal_net_args_list` may say."""

    hidden_dim: int = 64
    log2_hashmap_size: int = 18
    num_levels: int = 8
    max_res: int = 1024
    base_res: int = 16
    features_per_level: int = 2
    num_layers: int = 2
    use_linear: bool = False


class NerfactoField(RayField, NerfactoModel):
    """nerfacto in evaluation as stylization needs it: mean appearance code, no jitter, poses as the run refined them.

    Its columns are the vertices of a grid over its space that some training view saw, numbered as they were met;
    everywhere else it keeps colours of its own, which are a trace's `rest`.

    Raises:
        UserError: the configuration asks for tinycudann, which is not installed here.
    """

    name = "nerfacto"
    betas = (0.9, 0.999)
    first_rays = None
    config: NerfactoFieldConfig

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
        self.register_buffer("keys", torch.zeros(0, dtype=torch.int64))  # [V] ascending, row-major in the colour grid
        self.register_buffer("numbers", torch.zeros(0, dtype=torch.int32))  # [V] the column of each
        self._meeting = False
        self.chunk = self.config.eval_num_rays_per_chunk

    # --- as a field -----------------------------------------------------------------------------------------------

    @property
    def space(self) -> Space:
        """How nerfacto maps the world; it has no module for it that fits ours."""
        kind = "bounded" if self.config.disable_scene_contraction else "unbounded"
        return Space(kind, self.field.aabb).to(self.device)

    @property
    def shape(self) -> tuple[int, int, int]:
        return shape_at(self.space, self.config.color_resolution)

    @property
    def count(self) -> int:
        return len(self.keys)

    @property
    def colors(self) -> Float[Tensor, "V 3"]:
        """nerfacto's colours depend on the direction: these are as seen from the middle of the scene."""
        return torch.empty(self.count, 3, device=self.device).index_copy_(
            0, self.numbers.long(), self.vertex_colors(self.keys)
        )

    @contextmanager
    def survey(self, views: Views, resolution: int | None = None) -> Iterator[bool]:
        pixels = int(torch.stack([views.cameras.width, views.cameras.height]).max())
        self.config.color_resolution = resolution or min(max(pixels, 192), 768)
        self.keys, self.numbers, self._meeting = self.keys[:0], self.numbers[:0], True
        try:
            yield True
        finally:
            self._meeting = False

    def adopt(self, shape: tuple[int, int, int], keys: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
        self.keys, self.numbers = keys, torch.arange(len(keys), dtype=torch.int32, device=keys.device)
        if shape != self.shape or not self._has_sound_columns():
            raise UserError("the painted vertices are none of the colour grid's; the run is damaged: make it again")
        return self.numbers.long()

    @torch.no_grad()
    def refined(self, cameras: Cameras) -> Cameras:
        if self.config.camera_optimizer.mode == "off":
            return cameras
        change = self.camera_optimizer(torch.arange(len(cameras), device=self.device)).cpu()  # [n, 3, 4]
        turned = change[:, :, :3] @ cameras.poses[:, :, :3]
        return replace(cameras, poses=torch.cat([turned, cameras.poses[:, :, 3:] + change[:, :, 3:]], -1))

    def values(self) -> dict[str, Any]:
        kept = {f.name: getattr(self.config, f.name) for f in fields(self.config)}
        plain = {name: value for name, value in kept.items() if name not in ("_target", "prompt")}
        return {**plain, "camera_optimizer": {"mode": self.config.camera_optimizer.mode}}

    def samples(self, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]) -> Sampled:
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
        shape = torch.tensor(self.shape, device=unit.device)
        scaled = unit.clamp(0, 1) * shape
        coords = torch.minimum(scaled.long(), shape - 1)
        index = torch.arange(count, device=unit.device)
        samples = Samples(
            ray=index.repeat_interleave(steps),
            starts=torch.arange(count + 1, device=unit.device) * steps,
            cell=linear_index(coords, self.shape),
            fraction=scaled - coords,
            arc=((rays.spacing_starts + rays.spacing_ends) / 2).flatten(),
            depth=((frustums.starts + frustums.ends) / 2).flatten(),
        )
        return samples, weights.flatten(), leftover, outputs[FieldHeadNames.RGB].float().flatten(0, 1)

    def columns(self, samples: Samples) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
        points = tuple(n + 1 for n in self.shape)
        steps = linear_index(CORNERS.to(samples.cell.device), points)  # [8]
        vertices = linear_index(grid_coords(samples.cell, self.shape), points)[:, None] + steps  # [n, 8]
        share = trilinear_weights(samples.fraction)
        if self._meeting:
            self._meet(vertices.unique())
        if not len(self.keys):
            return torch.full_like(vertices, -1, dtype=torch.int32), share
        row = torch.searchsorted(self.keys, vertices).clamp_max(len(self.keys) - 1)
        return torch.where(self.keys[row] == vertices, self.numbers[row], -1), share

    def places(self, samples: Samples) -> Float[Tensor, "n 3"]:
        return grid_coords(samples.cell, self.shape) + samples.fraction

    def _meet(self, vertices: Int[Tensor, " v"]) -> None:
        """Give columns to those of the vertices that have none."""
        new = vertices[~torch.isin(vertices, self.keys, assume_unique=True)]
        numbers = torch.arange(self.count, self.count + len(new), dtype=torch.int32, device=new.device)
        self.keys, order = torch.cat([self.keys, new]).sort()
        self.numbers = torch.cat([self.numbers, numbers])[order]

    @property
    def _points(self) -> int:
        """How many vertices the colour grid has."""
        x, y, z = self.shape
        return (x + 1) * (y + 1) * (z + 1)

    @torch.no_grad()
    def vertex_colors(self, keys: Int[Tensor, " V"], chunk: int = 1 << 18) -> Float[Tensor, "V 3"]:
        """Colours at vertices of the colour grid, given by their row-major numbers."""
        points = tuple(n + 1 for n in self.shape)
        colors = [torch.empty(0, 3, device=self.device)]
        for part in keys.split(chunk) if len(keys) else ():  # nerfacto refuses to look at nothing
            unit = grid_coords(part, points) / torch.tensor(self.shape, device=part.device)
            positions = self.space.unwarp(unit)[:, None]  # [v, 1, 3]
            zero = torch.zeros_like(positions[..., :1])
            directions = torch.nn.functional.normalize(positions, dim=-1)
            frustums = Frustums(origins=positions, directions=directions, starts=zero, ends=zero, pixel_area=zero)
            samples = RaySamples(frustums=frustums, camera_indices=zero.int())
            colors.append(self.field.forward(samples)[FieldHeadNames.RGB][:, 0].float())
        return torch.cat(colors)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """A checkpoint says how many columns there are; one that was never repainted has none. nerfstudio loads a
        model, and then its pipeline without the model."""
        for name in ("keys", "numbers") if any(key.startswith(prefix) for key in state_dict) else ():
            own = getattr(self, name)
            found = state_dict.setdefault(prefix + name, own[:0])
            setattr(self, name, own.new_empty(found.shape))
        args[-1].extend(faults(self, state_dict, prefix))  # torch's list of errors
        super()._load_from_state_dict(state_dict, prefix, *args)
        if not (self.field.aabb[1] > self.field.aabb[0]).all():
            args[-1].append("its box has no inside")
        elif not self._has_sound_columns():
            args[-1].append("keys and numbers are no columns of the colour grid")

    def _has_sound_columns(self) -> bool:
        """Whether the keys are vertices of the grid, ascending, and the numbers theirs: files may say anything."""
        keys, numbers = self.keys, self.numbers
        if keys.dim() != 1:
            return False
        count = len(keys)
        if keys.dtype != torch.int64 or numbers.dtype != torch.int32 or not keys.shape == numbers.shape == (count,):
            return False
        inside = not count or (int(keys[0]) >= 0 and int(keys[-1]) < self._points and bool((keys.diff() > 0).all()))
        return inside and torch.equal(numbers.sort().values, torch.arange(count, device=numbers.device).int())

    # --- while it is fitted ---------------------------------------------------------------------------------------

    @property
    def half(self) -> bool:
        """As nerfstudio trains it."""
        return self.device.type == "cuda"

    def groups(self) -> list[dict[str, Any]]:
        """Poses move at a tenth of the rate, as nerfstudio has it."""
        groups = self.get_param_groups().items()
        return [{"params": p, "name": name, "share": 0.1 if name == "camera_opt" else 1.0} for name, p in groups]

    def losses(self, batch: RayBatch) -> tuple[dict[str, Tensor], None]:
        one = torch.ones_like(batch.origins[:, :1])
        bundle = RayBundle(batch.origins, batch.directions, pixel_area=one, camera_indices=batch.views[:, None].int())
        outputs, truth = self(bundle), {"image": batch.colors}
        return self.get_loss_dict(outputs, truth, self.get_metrics_dict(outputs, truth)), None

    def before_step(self, step: int) -> None:
        self._run_callbacks(step, TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        self._run_callbacks(step, TrainingCallbackLocation.AFTER_TRAIN_ITERATION)

    def _run_callbacks(self, step: int, location: TrainingCallbackLocation) -> None:
        nothing = TrainingCallbackAttributes(SimpleNamespace(optimizers={}), None, None, None)
        for callback in self.get_training_callbacks(nothing):
            callback.run_callback_at_location(step, location)

    def train(self, mode: bool = True) -> NerfactoField:
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

    # --- as a model of nerfstudio's -------------------------------------------------------------------------------

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> dict[str, Tensor]:
        losses = super().get_loss_dict(outputs, batch, metrics_dict)
        return {name.removesuffix("_loss"): loss for name, loss in losses.items()}

    def get_image_metrics_and_images(self, outputs, batch) -> tuple[dict[str, float], dict[str, Tensor]]:
        metrics, truth = picture_metrics(outputs["rgb"], batch, self.background)
        return metrics, {"img": torch.cat([truth, outputs["rgb"]], dim=1), "depth": outputs["depth"]}

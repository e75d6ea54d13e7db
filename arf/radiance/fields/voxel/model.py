"""The voxel backbone as a nerfstudio model: rendering, losses, coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor
from torch.nn.functional import mse_loss

from arf.radiance.evaluate.metrics import psnr, ssim
from arf.radiance.fields.trace import mean_depth
from arf.radiance.fields.voxel.field import VoxelField, dilate, subdivide
from arf.radiance.fields.voxel.grid import grid_coords
from arf.radiance.fields.voxel.march import Samples, march, step_length
from arf.radiance.fields.voxel.regularize import distortion, laplacian, smoothness
from arf.radiance.fields.voxel.space import Space
from arf.radiance.fields.voxel.volume import accumulate, render_weights


@dataclass
class VoxelModelConfig(ModelConfig):
    """Settings of the voxel backbone."""

    _target: type = field(default_factory=lambda: VoxelModel)
    resolutions: tuple[int, ...] = (64, 128, 256)
    """Voxels along the longest side, coarse to fine."""
    stages: tuple[float, ...] = (0.2, 0.5)
    """Where in training each finer grid begins, as a share of all steps."""
    total_steps: int = 1200
    """Length of training that `stages` are shares of."""
    step: float = 1.0
    """Marching step in voxels."""
    prune_every: int = 100
    """Steps between looks for cells that no ray needs."""
    prune_below: float = 0.005
    """A cell is empty when no ray of late gave it (or a neighbour) more weight than this."""
    distortion: float = 0.008
    """Weight of the distortion loss, which gathers each ray's weight in one place."""
    smoothness: float = 0.1
    """Weight of the squared difference between neighbouring vertices' densities."""
    color_smoothness: float = 0.01
    """The same for colours."""
    background: str = "0.5,0.5,0.5"
    """What lies behind everything: "last" (the ray's last sample), or a colour "r,g,b" in 0..1."""
    enable_collider: bool = False
    eval_num_rays_per_chunk: int = 1 << 14


class VoxelModel(Model):
    """Density and colour in a sparse voxel grid, rendered with nerfstudio's conventions.

    The kind of space and its box come from the capture's metadata (see `capture.CaptureDataParser`).
    """

    config: VoxelModelConfig

    def populate_modules(self) -> None:
        super().populate_modules()
        metadata = self.kwargs.get("metadata") or {}
        kind, box = metadata.get("kind", "unbounded"), metadata.get("space_box")
        space = Space(kind, None if box is None else torch.as_tensor(box))
        self.field = VoxelField(space, shape_at(space, self.config.resolutions[0]), self.config.step)
        fixed = self.config.background != "last"
        color = [float(c) for c in self.config.background.split(",")] if fixed else [0.5, 0.5, 0.5]
        self.last_sample = not fixed
        self.register_buffer("background", torch.tensor(color))
        self.register_buffer("seen", torch.zeros(len(self.field.grid.cells)))
        self._graph: Tensor | None = None

    # --- rendering ------------------------------------------------------------------------------------------------

    def samples(
        self, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]
    ) -> tuple[Samples, Float[Tensor, " n"], Float[Tensor, " r"], Float[Tensor, "n 3"]]:
        """March rays: samples, their weights, what is left behind each ray, and the samples' colours."""
        jitter = torch.rand(len(origins), 1, device=origins.device) if self.training else 0.5
        samples = march(self.field.space, self.field.grid, origins, directions, self.config.step, jitter)
        tau, rgb = self.field.at(samples)
        weights, leftover = render_weights(tau, samples.starts, samples.ray)
        if self.last_sample:
            some = (samples.starts.diff() > 0).nonzero().squeeze(1)
            weights = weights.index_add(0, samples.starts[some + 1] - 1, leftover[some])
            leftover = leftover.detach().index_fill(0, some, 0.0)
        return samples, weights, leftover, rgb

    @property
    def color_shape(self) -> tuple[int, int, int]:
        return self.field.grid.shape

    def color_cells(self, cell: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        return self.field.grid.cells[cell.long()]

    def vertex_colors(self, keys: Int[Tensor, " V"]) -> Float[Tensor, "V 3"]:
        """Colours at vertices of the grid, exact where the model has them, clear-space grey elsewhere."""
        points = tuple(n + 1 for n in self.color_shape)
        values, _ = self.field.values_at(grid_coords(keys, points) / torch.tensor(self.color_shape, device=keys.device))
        return values[:, 1:].contiguous()

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:
        samples, weights, leftover, rgb = self.samples(ray_bundle.origins, ray_bundle.directions)
        color = accumulate(weights, rgb, samples.starts, samples.ray) + leftover[:, None] * self.background
        outputs = {
            "rgb": color if self.training else color.clamp(0, 1),
            "accumulation": 1 - leftover[:, None],
            "depth": mean_depth(samples, weights.detach())[:, None],
        }
        if self.training:
            self.seen.scatter_reduce_(0, samples.cell.long(), weights.detach(), "amax")
            length = step_length(self.field.space, self.field.grid.shape, self.config.step)
            outputs["distortion"] = distortion(weights, samples.arc, length, samples.starts, samples.ray)
            outputs["num_samples"] = torch.tensor(len(samples.ray))
        return outputs

    def get_rgba_image(self, outputs: dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """A picture with its opacity, by which ns-export tells surfaces from empty space."""
        return torch.cat([outputs[output_name], outputs["accumulation"]], dim=-1)

    # --- training -------------------------------------------------------------------------------------------------

    def get_param_groups(self) -> dict[str, list]:
        return {"fields": [self.field.table]}

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> dict[str, Tensor]:
        target = composited(batch["image"].to(self.device), self.background)
        losses = {"rgb": mse_loss(outputs["rgb"], target)}
        if self.training:
            c = self.config
            strength = torch.tensor([c.smoothness, *[c.color_smoothness] * 3], device=self.device)
            losses["distortion"] = c.distortion * outputs["distortion"]
            losses["smoothness"] = smoothness(self.field.table, self._laplacian(), strength)
        return losses

    def get_image_metrics_and_images(self, outputs, batch) -> tuple[dict[str, float], dict[str, Tensor]]:
        metrics, truth = picture_metrics(outputs["rgb"], batch, self.background)
        return metrics, {"img": torch.cat([truth, outputs["rgb"]], dim=1), "depth": outputs["depth"]}

    def get_training_callbacks(self, attributes: TrainingCallbackAttributes) -> list[TrainingCallback]:
        def refine(step: int) -> None:
            self.refine(step + 1, attributes.optimizers.optimizers["fields"])

        return [TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], refine)]

    def _laplacian(self) -> Tensor:
        if self._graph is None:
            self._graph = laplacian(self.field.grid)
        return self._graph

    def stage(self, step: int) -> int:
        """The stage (index into `resolutions`) that a step belongs to."""
        return sum(step >= share * self.config.total_steps for share in self.config.stages)

    @torch.no_grad()
    def refine(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Coarse to fine: at a stage's first step move to its grid, now and then drop cells that no ray needs.

        The optimizer follows: moments survive a pruning and start anew on a finer grid.
        """
        finer = self.stage(step) != self.stage(step - 1)
        if not finer and step % self.config.prune_every:
            return
        grid, old = self.field.grid, self.field.table
        kept = torch.zeros(grid.shape, dtype=torch.bool, device=self.device)
        kept.view(-1)[grid.cells] = self.seen > self.config.prune_below
        kept = dilate(kept) & grid.occupancy()
        self.seen.mul_(0.5)  # so that a cell which was once useful can still go
        if not kept.any():
            return  # nothing was learnt yet
        if finer:
            shape = shape_at(self.field.space, self.config.resolutions[self.stage(step)])
            self.field.rebuild(shape, subdivide(kept, shape))
            self.seen = torch.zeros(len(self.field.grid.cells), device=self.device)
            state = {}
        elif kept.sum() < 0.95 * len(grid.cells):  # moving the table is only worth it for some gain
            self.seen = self.seen[kept.view(-1)[grid.cells]]
            rows = self.field.prune(kept.view(-1).nonzero().squeeze(1))
            state = {k: v[rows] if v.shape == old.shape else v for k, v in optimizer.state.get(old, {}).items()}
        else:
            return
        self._graph = None
        optimizer.state.pop(old, None)
        optimizer.param_groups[0]["params"] = [self.field.table]
        if state:
            optimizer.state[self.field.table] = state

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        if prefix + "seen" in state_dict:  # as long as the checkpoint's grid has cells
            self.seen = torch.zeros_like(state_dict[prefix + "seen"], device=self.device)
        self._graph = None
        super()._load_from_state_dict(state_dict, prefix, *args)


def shape_at(space: Space, resolution: int) -> tuple[int, int, int]:
    """Cells per axis: cubic voxels, `resolution` of them along the longest side."""
    extent = space.extent
    return tuple(int(n) for n in (resolution * extent / extent.max()).ceil())


def composited(picture: Float[Tensor, "*n c"], background: Float[Tensor, " 3"]) -> Float[Tensor, "*n 3"]:
    """RGB, or RGBA over a background."""
    if picture.shape[-1] == 3:
        return picture
    return picture[..., :3] * picture[..., 3:] + (1 - picture[..., 3:]) * background


def picture_metrics(picture: Float[Tensor, "h w 3"], batch, background) -> tuple[dict[str, float], Tensor]:
    """PSNR and SSIM of a rendering against a batch's photograph, and that photograph [H, W, 3]."""
    truth = composited(batch["image"].to(picture.device), background)
    return {"psnr": psnr(picture, truth), "ssim": ssim(picture, truth)}, truth

"""The voxel grid as a field: rendering, losses, coarse to fine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from arf.errors import UserError
from arf.jobs.checks import within
from arf.radiance.capture.cameras import Camera, Cameras, Rays
from arf.radiance.capture.views import Views
from arf.radiance.fields.arrays import suits
from arf.radiance.fields.field import NOWHERE, Shot
from arf.radiance.fields.rays.batch import RayBatch
from arf.radiance.fields.rays.field import RayField, Sampled, shot_of
from arf.radiance.fields.rays.samples import Samples
from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.rays.volume import accumulate, interpolate, render_weights
from arf.radiance.fields.stored import faults
from arf.radiance.fields.voxel.composite import composite
from arf.radiance.fields.voxel.grid import grid_coords, linear_index, shape_at, trilinear_weights
from arf.radiance.fields.voxel.march import march, step_length
from arf.radiance.fields.voxel.regularize import distortion, laplacian, smoothness
from arf.radiance.fields.voxel.table import VoxelTable, dilate, subdivide
from arf.radiance.settings import parse_color

GATHERED, FROM, TO = 6.0, 0.5, 0.9  # how the distortion loss grows, and in which part of training: surfaces get thin
OLD = {"field.": "voxels."}  # names of tensors in runs from before fields had a protocol


@dataclass
class VoxelConfig:
    """Settings of the voxel grid."""

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
    """Weight of the distortion loss, which gathers each ray's weight in one place; six times as much at the end."""
    smoothness: float = 0.1
    """Weight of the squared difference between neighbouring vertices' densities."""
    color_smoothness: float = 0.01
    """The same for colours."""
    background: str = "0.5,0.5,0.5"
    """What lies behind everything: "last" (the ray's last sample; in training another colour behind each ray, so that
    what is opaque becomes opaque), or a colour "r,g,b" in 0..1."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        if not self.resolutions:
            raise UserError("there are no resolutions; a voxel grid needs one or more")
        within(self, 2, 1024, "resolutions")
        within(self, 0, 1, "stages")
        within(self, 1, 1e9, "total_steps", "prune_every")
        within(self, 0.1, 4, "step")
        within(self, 0, 1e6, "distortion", "smoothness", "color_smoothness", "prune_below")
        if self.background != "last":
            parse_color(self.background)


class VoxelField(RayField, nn.Module):
    """Density and colour in a sparse voxel grid. Its columns are the rows of its own vertex table.

    Args:
        space: how the world is mapped into the grid's cube.
    """

    name = "voxel"
    betas = (0.9, 0.99)
    first_rays = 2048
    half = False  # in float32 throughout

    def __init__(self, config: VoxelConfig, space: Space) -> None:
        super().__init__()
        self.config = config
        self.voxels = VoxelTable(space, shape_at(space, config.resolutions[0]), config.step)
        self.last_sample = config.background == "last"
        color = (0.5, 0.5, 0.5) if self.last_sample else parse_color(config.background)
        self.register_buffer("background", torch.tensor(color))
        self.register_buffer("seen", torch.zeros(len(self.voxels.grid.cells)))
        self._graph: Tensor | None = None
        self._step = 0  # of the training

    @property
    def device(self) -> torch.device:
        return self.background.device

    # --- as a field -----------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.voxels.grid.shape

    @property
    def count(self) -> int:
        return len(self.voxels.table)

    @property
    def colors(self) -> Float[Tensor, "V 3"]:
        return self.voxels.table.detach()[:, 1:].contiguous()

    @contextmanager
    def survey(self, views: Views, resolution: int | None = None) -> Iterator[bool]:
        if resolution:
            raise UserError("--color-resolution is for nerfacto; a voxel grid is repainted on its own: leave it out")
        yield False

    def adopt(self, shape: tuple[int, int, int], keys: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
        """Columns of vertices that are given by their row-major numbers in a grid of `shape` cells."""
        own = linear_index(self.voxels.grid.vertices, tuple(n + 1 for n in shape))  # [V] ascending
        rows = torch.searchsorted(own, keys).clamp_max(len(own) - 1)
        if shape != self.shape or not torch.equal(own[rows], keys):
            raise UserError("the painted vertices are none of the grid's; the run is damaged: make it again")
        return rows

    def refined(self, cameras: Cameras) -> Cameras:
        return cameras

    def values(self) -> dict[str, Any]:
        return asdict(self.config)

    def samples(self, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]) -> Sampled:
        jitter = torch.rand(len(origins), 1, device=origins.device) if self.training else 0.5
        samples = march(self.voxels.space, self.voxels.grid, origins, directions, self.config.step, jitter)
        tau, rgb = self.voxels.at(samples)
        weights, leftover = render_weights(tau, samples.starts, samples.ray)
        if self.last_sample and not self.training:
            some = (samples.starts.diff() > 0).nonzero().squeeze(1)
            weights = weights.index_add(0, samples.starts[some + 1] - 1, leftover[some])
            leftover = leftover.detach().index_fill(0, some, 0.0)
        return samples, weights, leftover, rgb

    def columns(self, samples: Samples) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
        return self.voxels.grid.corners[samples.cell], trilinear_weights(samples.fraction)

    def places(self, samples: Samples) -> Float[Tensor, "n 3"]:
        return grid_coords(self.voxels.grid.cells[samples.cell.long()], self.shape) + samples.fraction

    # --- without a trace ------------------------------------------------------------------------------------------

    def own(self, camera: Camera) -> Float[Tensor, "V 3"]:
        """The columns' own colours, the same from everywhere."""
        return self.colors

    def render(
        self, camera: Camera, colors: Float[Tensor, "V c"], background: Float[Tensor, " c"]
    ) -> Float[Tensor, "h w c"]:
        """The picture of any colours, unclamped."""
        return self.seen_by(camera.rays(), colors, background).color.view(*camera.size, -1)

    def seen_by(self, rays: Rays, colors: Float[Tensor, "V c"], background: Float[Tensor, " c"]) -> Shot:
        """What `shoot_rays` finds, in any colours: `color` is [P, c]."""
        return self._in_chunks(rays, lambda o, d: self._seen(o, d, colors, background))

    def _seen(self, origins: Tensor, directions: Tensor, colors: Tensor | None, background: Tensor) -> Shot:
        if suits(self.voxels.table, background):
            seen = composite(self.voxels, origins, directions, colors, background, self.last_sample)
            depth = (seen.weight / seen.inverse.clamp_min(1e-12)).clamp_max(NOWHERE).where(seen.inverse > 0, NOWHERE)
            return Shot(seen.color, 1 - seen.leftover, depth, seen.heavy.long())
        samples, weights, leftover, values = self.samples(origins, directions)
        if colors is not None:
            values = interpolate(colors, *self.columns(samples))  # [n, c]
        return shot_of(samples, weights, leftover, values, background)

    def _shoot(self, origins: Tensor, directions: Tensor) -> Shot:
        return self._seen(origins, directions, None, self.background)

    # --- while it is fitted ---------------------------------------------------------------------------------------

    def groups(self) -> list[dict[str, Any]]:
        """What the optimizer has: its parameters, by group."""
        return [{"params": [self.voxels.table], "name": "fields"}]

    def losses(self, batch: RayBatch) -> tuple[dict[str, Tensor], int]:
        """Loss terms of a batch of rays, and how many samples it took."""
        color, terms, samples = self.learn(batch.origins, batch.directions)
        return {"rgb": mse_loss(color, batch.colors), **terms}, samples

    def learn(
        self, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]
    ) -> tuple[Float[Tensor, "r 3"], dict[str, Tensor], int]:
        """Colours of rays in training, the regularising losses that they bring, and how many samples they took."""
        c = self.config
        samples, weights, leftover, rgb = self.samples(origins, directions)
        behind = torch.rand(len(leftover), 3, device=self.device) if self.last_sample else self.background
        color = accumulate(weights, rgb, samples.starts, samples.ray) + leftover[:, None] * behind
        self.seen.scatter_reduce_(0, samples.cell.long(), weights.detach(), "amax")
        length = step_length(self.voxels.space, self.shape, c.step)
        strength = torch.tensor([c.smoothness, *[c.color_smoothness] * 3], device=self.device)
        terms = {
            "distortion": self._gathering() * distortion(weights, samples.arc, length, samples.starts, samples.ray),
            "smoothness": smoothness(self.voxels.table, self._laplacian(), strength),
        }
        return color, terms, len(samples.ray)

    def before_step(self, step: int) -> None:
        self._step = step

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Refine the grid where it is time."""
        self.refine(step + 1, optimizer)

    def _laplacian(self) -> Tensor:
        if self._graph is None:
            self._graph = laplacian(self.voxels.grid)
        return self._graph

    def _gathering(self) -> float:
        """The weight of the distortion loss. As much from the start would flatten the scene."""
        late = (self._step / self.config.total_steps - FROM) / (TO - FROM)
        return self.config.distortion * GATHERED ** min(max(late, 0.0), 1.0)

    def stage(self, step: int) -> int:
        """The stage (index into `resolutions`) that a step belongs to."""
        return sum(step >= share * self.config.total_steps for share in self.config.stages)

    @torch.no_grad()
    def refine(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Coarse to fine: at a stage's first step move to its grid, now and then drop cells that no ray needs.

        The optimizer follows: moments survive a pruning and start anew on a finer grid.
        """
        self._step = step
        finer = self.stage(step) != self.stage(step - 1)
        if not finer and step % self.config.prune_every:
            return
        grid, old = self.voxels.grid, self.voxels.table
        kept = torch.zeros(grid.shape, dtype=torch.bool, device=self.device)
        kept.view(-1)[grid.cells] = self.seen > self.config.prune_below
        kept = dilate(kept) & grid.occupancy()
        self.seen.mul_(0.5)  # so that a cell which was once useful can still go
        if not kept.any():
            return  # nothing was learnt yet
        if finer:
            shape = shape_at(self.voxels.space, self.config.resolutions[self.stage(step)])
            self.voxels.rebuild(shape, subdivide(kept, shape))
            self.seen = torch.zeros(len(self.voxels.grid.cells), device=self.device)
            state = {}
        elif kept.sum() < 0.95 * len(grid.cells):  # moving the table is only worth it for some gain
            self.seen = self.seen[kept.view(-1)[grid.cells]]
            rows = self.voxels.prune(kept.view(-1).nonzero().squeeze(1))
            state = {k: v[rows] if v.shape == old.shape else v for k, v in optimizer.state.get(old, {}).items()}
        else:
            return
        self._graph = None
        optimizer.state.pop(old, None)
        optimizer.param_groups[0]["params"] = [self.voxels.table]
        if state:
            optimizer.state[self.voxels.table] = state

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """A checkpoint says how many cells there are; one of an older arf has other names."""
        for old, new in OLD.items():
            for name in [name for name in state_dict if name.startswith(prefix + old)]:
                state_dict[prefix + new + name[len(prefix + old) :]] = state_dict.pop(name)
        state_dict.pop(prefix + "device_indicator_param", None)  # nerfstudio's
        cells = state_dict.get(prefix + "voxels.grid.cells")
        if cells is not None:
            self.seen = torch.zeros(cells.shape, device=self.device)
        args[-1].extend(faults(self, state_dict, prefix))  # torch's list of errors
        box, own = state_dict.get(prefix + "voxels.space.box"), self.voxels.space.box
        if box is not None and box.shape == own.shape and not torch.allclose(box.to(own), own, rtol=1e-2, atol=1e-3):
            args[-1].append("its box is another scene's")
        self._graph = None
        super()._load_from_state_dict(state_dict, prefix, *args)

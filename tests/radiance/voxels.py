"""Small voxel scenes made without fitting, and rendering of them by dense sums, as oracles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.poses import look_at
from arf.radiance.capture.views import Views
from arf.radiance.fields.rays.space import Space
from arf.radiance.fields.voxel.field import VoxelConfig, VoxelField
from arf.radiance.fields.voxel.march import step_length
from arf.radiance.fields.voxel.table import DENSITY_UNIT, RAW_PER_VALUE

BOX = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 0.5]])
BOXES = {"bounded": BOX, "unbounded": None, "forward": torch.tensor([[-0.9, -0.6, 1.0], [0.9, 0.6, torch.inf]])}


def ball_model(
    resolution: int = 16, background: str = "0.2,0.5,0.9", kind: str = "bounded", seed: int = 0, **options: object
) -> VoxelField:
    """Two soft coloured balls: density and colours vary from vertex to vertex, cells far from them are pruned."""
    config = VoxelConfig(resolutions=(resolution,), stages=(), background=background, **options)
    model = VoxelField(config, Space(kind, BOXES[kind]))
    grid = model.voxels.grid
    place = grid.vertices / torch.tensor(grid.shape)
    away = torch.minimum((place - torch.tensor([0.4, 0.45, 0.5])).norm(dim=1) - 0.22, (place - 0.7).norm(dim=1) - 0.12)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        noise = torch.randn(len(place), generator=generator)
        model.voxels.table[:, 0] = (-away * 6).clamp(-0.8, 0.35) + 0.02 * noise
        model.voxels.table[:, 1:] = torch.rand(len(place), 3, generator=generator)
    near = (model.voxels.table[:, 0] > -0.7)[grid.corners.long()].any(1)
    model.voxels.prune(grid.cells[near])
    model.seen = torch.zeros(len(model.voxels.grid.cells))
    return model.eval()


def around(count: int, width: int = 20, height: int = 14) -> Cameras:
    """Cameras on a ring that look at the middle of the box."""
    angle = torch.arange(count) * (2 * torch.pi / count) + 0.3
    position = torch.stack([2.2 * angle.cos(), 2.2 * angle.sin(), 0.6 + 0.1 * angle.sin()], 1)
    poses = look_at(position, torch.tensor([0.0, 0.0, -0.2]), torch.tensor([0.0, 0.0, 1.0]))
    return Cameras.of(poses, 18.0, 18.0, width / 2, height / 2, width, height)


def views_around(count: int, width: int = 20, height: int = 14) -> Views:
    """The same as views without photographs."""
    return Views(around(count, width, height), [])


def dense_table(model: VoxelField, table: Tensor) -> tuple[Tensor, Tensor]:
    """A vertex table on the dense grid [X+1, Y+1, Z+1, c], differentiable, and the mask of existing cells."""
    grid = model.voxels.grid
    dense = table.new_zeros(*(n + 1 for n in grid.shape), table.shape[1])
    return dense.index_put(tuple(grid.vertices.long().T), table), grid.occupancy()


def dense_render(
    model: VoxelField,
    origins: Tensor,
    directions: Tensor,
    table: Tensor | None = None,
    background: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Volume rendering with every step of every ray, in plain torch and float64: the slow twin of the backbone.

    Returns:
        picture [R, 3], weights [R, K], leftover [R], depth of the samples [R, K].
    """
    field, space = model.voxels, model.voxels.space
    table = (field.table if table is None else table).double()
    background = model.background if background is None else background
    dense, occupied = dense_table(model, table)
    shape = torch.tensor(field.grid.shape)
    length = step_length(space, field.grid.shape, field.step)
    ahead = space.start(origins, directions)
    origins = origins + ahead * directions
    count = int(space.length() * max(1.0, float(origins.abs().max())) / length) + 1
    arc = ((torch.arange(count) + 0.5) * length)[None].expand(len(origins), -1)
    depth = space.depth(arc, space.entry(origins, directions), origins, directions)
    scaled = space.warp(origins[:, None] + depth[..., None] * directions[:, None]) * shape  # [R, K, 3]
    cell = scaled.floor().long()
    inside = ((cell >= 0) & (cell < shape)).all(-1)
    cell = cell.clamp_min(0).minimum(shape - 1)
    there = inside & occupied[tuple(cell.unbind(-1))]  # [R, K]
    values = 0
    for corner in range(8):
        offset = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        share = (1 - (scaled.double() - cell - offset).abs()).prod(-1)  # [R, K]
        values = values + share[..., None] * dense[tuple((cell + offset).unbind(-1))]
    sigma = softplus(values[..., 0] * RAW_PER_VALUE) * (DENSITY_UNIT / float(space.extent.max()))
    tau = torch.where(there, sigma * length, torch.zeros_like(sigma))
    through = torch.exp(-torch.cumsum(torch.cat([torch.zeros_like(tau[:, :1]), tau], 1), 1))  # [R, K + 1]
    weights = through[:, :-1] * (1 - torch.exp(-tau))
    leftover = through[:, -1]
    if model.last_sample:
        last = there.long().cumsum(1).argmax(1)  # of equal sums the first: the last sample that is there
        some = there.any(1)
        weights = weights + torch.nn.functional.one_hot(last, count) * (leftover * some)[:, None]
        leftover = torch.where(some, torch.zeros_like(leftover), leftover)
    picture = (weights[..., None] * values[..., 1:]).sum(1) + leftover[:, None] * background.double()
    return picture, weights, leftover, depth + ahead

"""Splats laid on surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from arf.errors import UserError
from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.field import NOWHERE, Surface
from arf.radiance.fields.splats.splats import Splats

OPAQUE = 0.3  # least weight of a ray that meets a surface


class Surfaces(Protocol):
    """Whatever tells where rays meet something, such as a field.

    Attributes:
        band: pixels that it is asked for at once.
    """

    band: int

    def surface(self, camera: Camera) -> Surface: ...


@torch.no_grad()
def on_surfaces(
    field: Surfaces,
    cameras: Sequence[Camera],
    pictures: Sequence[Float[Tensor, "h w c"]],
    share: int,
    most: int,
    opacity: float,
    seed: int = 0,
    masks: Sequence[Bool[Tensor, "h w"] | None] = (),
) -> Splats:
    """Splats where rays meet something, in the colours of the pictures' first three channels, together as large as what
    the pixels of a view see of it.

    Args:
        share: pixels of all pictures together that see a surface, to one splat at least.
        most: splats at most.
        masks: which pixels count; None: all.

    Raises:
        UserError: they meet nothing.
    """
    points, colors, sizes = [], [], []
    for i, camera in enumerate(cameras):
        found = [field.surface(band) for band in camera.bands(field.band)]
        depth, opaque = (torch.cat([getattr(part, name).cpu() for part in found]) for name in ("depth", "opacity"))
        seen = (depth < NOWHERE) & (opaque >= OPAQUE)
        if masks and masks[i] is not None:
            seen &= masks[i].flatten()
        origins, directions = camera.rays()
        points.append((origins + depth[:, None] * directions)[seen])
        colors.append(pictures[i][..., :3].float().flatten(0, 1)[seen])
        sizes.append((depth / camera.fx)[seen])
    point, color, size = torch.cat(points), torch.cat(colors), torch.cat(sizes)
    if not len(point):
        raise UserError("no surface is seen that could become splats; fit with --backbone voxel, and for longer")
    count = min(most, max(1, len(point) // share))
    chosen = torch.randperm(len(point), generator=torch.Generator().manual_seed(seed))[:count].sort().values
    spread = size[chosen] * (len(point) / len(cameras) / count) ** 0.5
    quats = torch.tensor([1.0, 0, 0, 0]).repeat(count, 1)
    none = torch.zeros(count, 0, 3)
    opacities = torch.full((count,), opacity)
    return Splats(point[chosen], spread[:, None].expand(-1, 3).clone(), quats, opacities, color[chosen], none)

"""Frozen geometry: what a ray sees, as samples and weights that no longer change.

Only colour is repainted, so the weights of a view are computed once. Everything after this point (operators, colours,
stylization, rendering) is the same for every backbone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.fields.backbone import Backbone
from arf.radiance.fields.voxel.grid import CORNERS, grid_coords, linear_index, trilinear_weights
from arf.radiance.fields.voxel.march import Samples, ray_starts
from arf.radiance.fields.voxel.volume import accumulate, before, ray_sums


@dataclass
class Trace:
    """Weighted samples of R rays, ray after ray, placed in the cells of a colour grid.

    Attributes:
        ray: int64 [N] sorted.
        weight: float32 [N].
        cell: int64 [N] row-major index of the colour grid's cell.
        fraction: float32 [N, 3] position in the cell.
        rgb: float32 [N, 3] the backbone's own colour there.
        leftover: float32 [R] transmittance behind the last sample.
        depth: float32 [R] distance along the ray in world units, see `mean_depth`.
    """

    ray: Int[Tensor, " n"]
    weight: Float[Tensor, " n"]
    cell: Int[Tensor, " n"]
    fraction: Float[Tensor, "n 3"]
    rgb: Float[Tensor, "n 3"]
    leftover: Float[Tensor, " r"]
    depth: Float[Tensor, " r"]

    @property
    def rays(self) -> int:
        return len(self.leftover)

    def vertices(self, shape: tuple[int, int, int]) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
        """Row-major indices of the eight vertices around each sample, and their trilinear weights.

        `shape` counts the colour grid's cells; it has one more vertex per axis.
        """
        points = tuple(n + 1 for n in shape)
        corners = torch.stack([linear_index(c, points) for c in CORNERS.to(self.cell.device)])  # [8] offsets
        base = linear_index(grid_coords(self.cell, shape), points)
        return base[:, None] + corners, trilinear_weights(self.fraction)

    def composite(self, colors: Float[Tensor, "n c"], background: Float[Tensor, " c"]) -> Float[Tensor, "r c"]:
        """Volume rendering of per-sample colours."""
        starts = ray_starts(self.ray, self.rays)
        return accumulate(self.weight, colors, starts, self.ray) + self.leftover[:, None] * background


def mean_depth(samples: Samples, weight: Float[Tensor, " n"]) -> Float[Tensor, " r"]:
    """Weighted mean distance along each ray, taken of the inverses: a little of the far background moves it little.

    1e6 where a ray has no samples.
    """
    inverse = ray_sums(weight / samples.depth.clamp_min(1e-6), samples.starts)
    return (ray_sums(weight, samples.starts) / inverse.clamp_min(1e-12)).float().clamp_max(1e6).where(inverse > 0, 1e6)


def median_depth(samples: Samples, weight: Float[Tensor, " n"]) -> tuple[Float[Tensor, " r"], Int[Tensor, " r"]]:
    """Where half of each ray's weight is passed, which is where its surface is: the distance along the ray in world
    units, and the sample in which that happens.

    Within the sample the weight is taken as even, over as much of the ray as lies nearer to it than to the samples
    beside it. 1e6 and any sample where a ray has no weight.
    """
    depth, starts = samples.depth, samples.starts
    if not len(depth):
        return weight.new_full((len(starts) - 1,), 1e6), torch.zeros_like(starts[1:])
    total = torch.cumsum(weight.double(), 0)  # over all rays
    bounds = torch.cat([total.new_zeros(1), total])[starts]  # [r + 1]
    half = (bounds[:-1] + bounds[1:]) / 2  # [r]
    at = torch.searchsorted(total, half).clamp_max(len(total) - 1)  # [r]
    gap = depth.diff().where(samples.ray.diff() == 0, torch.inf)  # [n - 1]
    none = gap.new_full((1,), torch.inf)
    reach = torch.minimum(torch.cat([none, gap]), torch.cat([gap, none])) / 2  # [n]
    reach = reach.where(reach.isfinite(), 0.0)[at]
    passed = 1 - (total[at] - half) / weight[at].double().clamp_min(1e-12)  # [r] share of the sample's weight
    return (depth[at] + (2 * passed - 1) * reach).float().where(bounds.diff() > 0, 1e6), at


def heaviest(weight: Float[Tensor, " n"], starts: Int[Tensor, " r1"], ray: Int[Tensor, " n"], drop: float) -> Tensor:
    """Mask [N] of each ray's heaviest samples: the lightest go as long as they weigh at most `drop` together.

    Colours differ by about 1 at most, so a pixel moves by about `drop` at most: 0.004 is one level of 255.
    """
    order = torch.argsort(ray + weight.double().clamp(0, 0.999))  # by ray, lightest first
    light = before(weight[order], starts, ray) + weight[order]  # this sample and the lighter ones of its ray
    kept = torch.empty_like(ray, dtype=torch.bool)
    kept[order] = light > drop
    return kept


def hand_over(
    weight: Float[Tensor, " n"], ray: Int[Tensor, " n"], arc: Float[Tensor, " n"], kept: Int[Tensor, " k"]
) -> Float[Tensor, " n"]:
    """Weights with those of the samples that are not in `kept` added to the nearest one that is, on the same ray."""
    if not len(kept):
        return weight
    here = torch.arange(len(weight), device=weight.device)
    behind = torch.searchsorted(kept, here)  # the first kept sample from here on
    front, after = kept[(behind - 1).clamp_min(0)], kept[behind.clamp_max(len(kept) - 1)]
    apart = [(arc[other] - arc).abs().where(ray[other] == ray, torch.inf) for other in (front, after)]
    heir = torch.where(apart[0] < apart[1], front, after)
    return torch.zeros_like(weight).index_add_(0, heir, weight.where(ray[heir] == ray, 0.0))


@torch.no_grad()
def trace(
    model: Backbone, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"], drop_weight: float = 0.0
) -> Trace:
    """Trace rays through a backbone in evaluation mode.

    Args:
        drop_weight: share of each ray's weight that may be left out, its lightest samples (see `heaviest`); their
            nearest neighbours take over, so that a ray's total stays what it was.
    """
    model.eval()
    chunk = model.config.eval_num_rays_per_chunk
    parts = []
    for first in range(0, len(origins), chunk):
        o, d = origins[first : first + chunk].to(model.device), directions[first : first + chunk].to(model.device)
        samples, weight, leftover, rgb = model.samples(o, d)
        depth = mean_depth(samples, weight)
        kept = (weight > 0).nonzero().squeeze(1)
        if drop_weight > 0:
            kept = heaviest(weight, samples.starts, samples.ray, drop_weight).nonzero().squeeze(1)
            weight = hand_over(weight, samples.ray, samples.arc, kept)
            leftover = torch.where(ray_starts(samples.ray[kept], len(o)).diff() > 0, leftover, 1.0)
        cell = model.color_cells(samples.cell[kept])
        parts.append(
            Trace(samples.ray[kept] + first, weight[kept], cell, samples.fraction[kept], rgb[kept], leftover, depth)
        )
    if len(parts) == 1:
        return parts[0]
    fields = Trace.__dataclass_fields__
    return Trace(**{name: torch.cat([getattr(part, name) for part in parts]) for name in fields})

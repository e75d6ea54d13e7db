"""Packed samples along rays, and what can be said of them and their weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.fields.field import NOWHERE
from arf.radiance.fields.rays.volume import before, ray_sums


@dataclass
class Samples:
    """Packed samples of R rays, ray after ray, front to back.

    Attributes:
        ray: int64 [N] the ray of each sample.
        starts: int64 [R + 1] where each ray's samples begin.
        cell: integer [N] the cell of a grid that each sample lies in; what the number means is the field's own affair.
        fraction: float32 [N, 3] position inside the cell, 0..1.
        arc: float32 [N] position along the ray in the space's warped length.
        depth: float32 [N] distance from the ray's origin in scene units.
    """

    ray: Int[Tensor, " n"]
    starts: Int[Tensor, " r1"]
    cell: Int[Tensor, " n"]
    fraction: Float[Tensor, "n 3"]
    arc: Float[Tensor, " n"]
    depth: Float[Tensor, " n"]

    def keep(self, index: Int[Tensor, " k"]) -> Samples:
        """Some of the samples, by their ascending numbers, with `starts` to match."""
        ray = self.ray[index]
        starts = ray_starts(ray, len(self.starts) - 1)
        return Samples(ray, starts, self.cell[index], self.fraction[index], self.arc[index], self.depth[index])


def ray_starts(ray: Int[Tensor, " n"], count: int) -> Int[Tensor, " r1"]:
    """Where each of `count` rays begins in a sorted list of ray numbers."""
    return torch.searchsorted(ray, torch.arange(count + 1, device=ray.device))


def mean_depth(samples: Samples, weight: Float[Tensor, " n"]) -> Float[Tensor, " r"]:
    """Weighted mean distance along each ray, taken of the inverses: a little of the far background moves it little.

    1e6 where a ray has no samples.
    """
    inverse = ray_sums(weight / samples.depth.clamp_min(1e-6), samples.starts)
    depth = (ray_sums(weight, samples.starts) / inverse.clamp_min(1e-12)).float().clamp_max(NOWHERE)
    return depth.where(inverse > 0, NOWHERE)


def median_depth(samples: Samples, weight: Float[Tensor, " n"]) -> tuple[Float[Tensor, " r"], Int[Tensor, " r"]]:
    """Where half of each ray's weight is passed, which is where its surface is: the distance along the ray in scene
    units, and the sample in which that happens.

    Within the sample the weight is taken as even, over as much of the ray as lies nearer to it than to the samples
    beside it. 1e6 and any sample where a ray has no weight.
    """
    depth, starts = samples.depth, samples.starts
    if not len(depth):
        return weight.new_full((len(starts) - 1,), NOWHERE), torch.zeros_like(starts[1:])
    total = torch.cumsum(weight.double(), 0)  # over all rays
    bounds = torch.cat([total.new_zeros(1), total])[starts]  # [r + 1]
    half = (bounds[:-1] + bounds[1:]) / 2  # [r]
    at = torch.searchsorted(total, half).clamp_max(len(total) - 1)  # [r]
    gap = depth.diff().where(samples.ray.diff() == 0, torch.inf)  # [n - 1]
    none = gap.new_full((1,), torch.inf)
    reach = torch.minimum(torch.cat([none, gap]), torch.cat([gap, none])) / 2  # [n]
    reach = reach.where(reach.isfinite(), 0.0)[at]
    passed = 1 - (total[at] - half) / weight[at].double().clamp_min(1e-12)  # [r] share of the sample's weight
    return (depth[at] + (2 * passed - 1) * reach).float().where(bounds.diff() > 0, NOWHERE), at


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

"""Where the mass of splats is: the middle of what matters, whatever floats around it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.fields.splats.splats import Splats

MOST = 1 << 16  # splats that are looked at
FAINT = 0.1  # opacity of a splat that is no mass
REACH = 3.0  # of the median distance from the middle: what is farther out is not of the thing in the middle
EDGE = 0.002  # share of the mass on either side, along an axis, that floats around
ROUNDS = 30


@dataclass
class Mass:
    """What matters of N splats.

    Attributes:
        points: float64 [M, 3] some of the means.
        centre: float64 [3] of the box that holds all but a few of them.
        box: float64 [2, 3].
        spread: median distance of the points from their median.
        around: share of the solid splats that are not of it, but around it.
    """

    points: Float[Tensor, "m 3"]
    centre: Float[Tensor, " 3"]
    box: Float[Tensor, "2 3"]
    spread: float
    around: float


def mass_of(splats: Splats) -> Mass:
    """The densest part of it: beginning with all, what is far from the middle is left out until nothing changes."""
    solid = (splats.opacities >= FAINT).nonzero().squeeze(1)
    if len(solid) < 4:
        solid = torch.arange(len(splats))
    points = splats.means[solid[:: -(-len(solid) // MOST)]].double()
    kept = points
    for _ in range(ROUNDS):
        middle = kept.median(0).values
        distances = (points - middle).norm(dim=1)
        reach = REACH * (kept - middle).norm(dim=1).median()
        inner = points[distances <= reach.clamp_min(1e-12)]
        if len(inner) == len(kept):
            break
        kept = inner
    quantiles = torch.tensor([EDGE, 1 - EDGE], dtype=torch.float64)
    box = kept.quantile(quantiles, dim=0)
    inside = kept[((kept >= box[0]) & (kept <= box[1])).all(1)]
    centre = box.mean(0)
    spread = float((kept - kept.median(0).values).norm(dim=1).median().clamp_min(1e-12))
    return Mass(inside if len(inside) else kept, centre, box, spread, 1 - len(kept) / len(points))

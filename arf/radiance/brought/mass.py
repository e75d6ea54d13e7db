"""Where the mass of splats is: the middle of what matters, whatever floats around it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.fields.splats.splats import Splats

MOST = 1 << 14  # splats that are looked at
FAINT = 0.1  # opacity of a splat that is no mass
REACH = 3.0  # of the median distance from the middle: what is farther out is not of the thing in the middle
EDGE = 0.002  # share of the mass on either side, along an axis, that floats around
ROUNDS = 100
SAMPLED, NEIGHBOURS = 8192, 16  # points, and how many of each one's that its density is told by
DENSE = 0.25  # share of the points that the thing is looked for at


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
    """The thing where splats are densest, whole: from there on everything that is near belongs to it, until nothing
    more is near. A thing that is alone is found with little of what floats about; one that stands in a place, without
    it, if there is a gap."""
    solid = (splats.opacities >= FAINT).nonzero().squeeze(1)
    if len(solid) < NEIGHBOURS:
        solid = torch.arange(len(splats))
    points = splats.means[solid[:: -(-len(solid) // MOST)]].double()
    middle, reach = _densest(points)
    kept = points[:0]
    for _ in range(ROUNDS):
        inner = points[(points - middle).norm(dim=1) <= reach]
        if len(inner) <= len(kept):
            break
        kept = inner
        middle = kept.median(0).values
        reach = REACH * (kept - middle).norm(dim=1).median().clamp_min(1e-12)
    kept = kept if len(kept) else points
    box = kept.quantile(torch.tensor([EDGE, 1 - EDGE], dtype=torch.float64), dim=0)
    inside = kept[((kept >= box[0]) & (kept <= box[1])).all(1)]
    spread = float((kept - kept.median(0).values).norm(dim=1).median().clamp_min(1e-12))
    return Mass(inside if len(inside) else kept, box.mean(0), box, spread, 1 - len(kept) / len(points))


def _densest(points: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, " 3"], Float[Tensor, ""]]:
    """A middle and a reach to begin with: points count by how near their neighbours are."""
    from scipy.spatial import cKDTree  # imports slowly

    some = points[:: -(-len(points) // SAMPLED)]
    among = min(NEIGHBOURS, len(some))
    distances = torch.from_numpy(cKDTree(some.numpy()).query(some.numpy(), k=[among])[0])[:, 0]
    chosen = some[distances <= distances.quantile(DENSE)]
    middle = chosen.median(0).values
    return middle, REACH * (chosen - middle).norm(dim=1).median().clamp_min(1e-12)

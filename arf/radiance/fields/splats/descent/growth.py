"""More splats where there is something to see, and none where there is nothing (Kheradmand et al., 3DGS-MCMC, 2024).

Splats that have faded take the places of others, drawn by opacity, and new ones join them. N splats in one place stand
for the one that was there if each has the opacity

    o' = 1 − (1 − o)^(1/N)

and is smaller by the factor which keeps the integral along a ray through the middle (their eq. 9). Unlike theirs, ours
do not all stay where that one was: each goes a standard deviation off, so that they part within tens of steps.
"""

from __future__ import annotations

from math import comb

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.fields.splats.descent.tuning import LEAST, MOST, Tuning
from arf.radiance.fields.splats.splats import matrices

FADED = 0.01  # opacity
SHARE = 0.1  # of all splats that join at once
CROWD = 20  # splats in one place of which account is taken


@torch.no_grad()
def grow(tuning: Tuning, most: int, generator: torch.Generator) -> None:
    """Move faded splats, and add some, up to `most` altogether.

    Args:
        generator: of the CPU, wherever the splats are: the same draws on every device.
    """
    opacities = tuning.raw["opacities"].sigmoid()
    live = opacities >= FADED
    faded = (~live).nonzero().squeeze(1)
    more = max(0, min(most - len(tuning), int(SHARE * len(tuning))))
    if not live.any() or not len(faded) + more:
        return
    chances = (opacities * live).double().cpu()
    sources = torch.multinomial(chances, len(faded) + more, replacement=True, generator=generator).to(opacities.device)
    many = torch.bincount(sources, minlength=len(tuning)) + 1
    parents = (many > 1).nonzero().squeeze(1)
    opacity, factor = divided(opacities[parents], many[parents].clamp_max(CROWD))
    tuning.raw["opacities"][parents] = opacity.clamp(LEAST, MOST).logit()
    tuning.raw["scales"][parents] += factor.log()[:, None]
    children = {name: value.detach()[sources] for name, value in tuning.raw.items()}
    off = children["scales"].exp() * torch.randn(len(sources), 3, generator=generator).to(opacities)
    units = tuning.units[sources]
    children["means"] += (matrices(normalize(children["quats"], dim=1)) @ off[:, :, None])[:, :, 0] / units[:, None]
    tuning.place(children, units, faded, parents)


def divided(opacities: Float[Tensor, " n"], many: Int[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Of each of `many` splats in the place of one: the opacity, and the factor of the scales."""
    share = 1 - (1 - opacities.double()) ** (1 / many)  # large terms of both signs follow
    sums = torch.zeros_like(share)
    for i in range(1, int(many.max()) + 1):
        terms = (comb(i - 1, k) * (-1) ** k / (k + 1) ** 0.5 * share ** (k + 1) for k in range(i))
        sums += sum(terms) * (many >= i)
    return share.to(opacities), (opacities / sums).to(opacities)

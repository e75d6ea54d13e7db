"""The re-fit of a field's colours to pictures of its views: sparse linear least squares."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.operator.deferred import DeferredSet
from arf.radiance.operator.views import OperatorSet

Target = tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"] | None]  # a picture, and which of its pixels count


@torch.no_grad()
def refit(
    operators: OperatorSet | DeferredSet,
    theta: Float[Tensor, "V 3"],
    background: Float[Tensor, " 3"],
    targets: Callable[[int], Target],
    iterations: int = 8,
    damping: float = 0.05,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Float[Tensor, "V 3"]:
    """Colours that render nearest to the targets: damped linear least squares.

        min over δ of  sum_v ||w_v (A_v (θ + δ) + t_v ⊗ background - target_v)||² + damping ||δ||²

    by conjugate gradients on the normal equations (CGLS), a pass over the views per iteration. ARF descends on rays for
    one or two epochs instead; the problem is linear, so a few of these iterations do.
    """
    residual, weights, count = {}, {}, len(operators)
    gradient = torch.zeros_like(theta)
    for i in range(count):
        target, weight = targets(i)
        residual[i] = target.to(theta.device) - operators[i].apply(theta, background)
        if weight is not None:
            weights[i] = weight.to(residual[i])[..., None]
            residual[i] *= weights[i]
        gradient += operators[i].transpose(_weighted(residual[i], weights.get(i)))
    delta = torch.zeros_like(theta)
    direction, norm = gradient.clone(), gradient.square().sum()
    for step in range(iterations):
        if norm < 1e-12:
            break
        nothing = torch.zeros_like(background)
        pictures = {i: _weighted(operators[i].apply(direction, nothing), weights.get(i)) for i in range(count)}
        energy = sum(p.square().sum() for p in pictures.values()) + damping * direction.square().sum()
        alpha = norm / energy
        delta += alpha * direction
        gradient = -damping * delta
        for i in range(count):
            residual[i] -= alpha * pictures[i]
            gradient += operators[i].transpose(_weighted(residual[i], weights.get(i)))
        del pictures  # before the next ones are made
        fresh = gradient.square().sum()
        direction = gradient + (fresh / norm) * direction
        norm = fresh
        progress(step + 1, iterations)
    return theta + delta


def _weighted(picture: Float[Tensor, "h w 3"], weight: Float[Tensor, "h w 1"] | None) -> Float[Tensor, "h w 3"]:
    return picture if weight is None else picture * weight

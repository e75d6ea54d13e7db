"""The re-fit of a field's colours to pictures of its views: sparse linear least squares."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.operator.views import OperatorSet

Target = tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"] | None]  # a picture, and which of its pixels count


@torch.no_grad()
def refit(
    operators: OperatorSet,
    theta: Float[Tensor, "V 3"],
    background: Float[Tensor, " 3"],
    targets: Callable[[int], Target],
    iterations: int = 8,
    damping: float = 0.05,
    gain: float = 0.0,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Float[Tensor, "V 3"]:
    """Colours that render nearest to the targets: damped linear least squares.

        min over δ of  sum_v ||w_v (A_v (θ + δ) + t_v ⊗ background - target_v)||² + damping ||δ||²

    by conjugate gradients on the normal equations, a pass over the views for each iteration and one before, and nothing
    kept of a view. ARF descends on rays for one or two epochs instead; the problem is linear, so a few of these
    iterations do.

    Args:
        gain: end where an iteration lowers the sum by less than this share of it.
        progress: called with the views done, of all passes, and how many there are at most.
    """
    count = len(operators)
    views = count * (iterations + 1)
    residual, error = torch.zeros_like(theta), theta.new_zeros(())  # of the normal equations; of the pictures, squared
    for i in range(count):
        target, weight = targets(i)
        wanted = target.to(theta.device) - operators[i].apply(theta, background)
        wanted = _weighted(wanted, weight)
        error += wanted.square().sum()
        residual += operators[i].transpose(_weighted(wanted, weight))
        progress(i + 1, views)
    delta, nothing = torch.zeros_like(theta), torch.zeros_like(background)
    direction, norm = residual.clone(), residual.square().sum()
    for step in range(iterations):
        if norm < 1e-12:
            break
        image, energy = damping * direction, damping * direction.square().sum()  # of the direction under the equations
        for i in range(count):
            weight = targets(i)[1]
            picture = _weighted(operators[i].apply(direction, nothing), weight)
            energy += picture.square().sum()
            image += operators[i].transpose(_weighted(picture, weight))
            progress((step + 1) * count + i + 1, views)
        alpha = norm / energy
        delta += alpha * direction
        residual -= alpha * image
        lowered = alpha * norm
        error -= lowered
        if lowered < gain * error:
            break
        fresh = residual.square().sum()
        direction = residual + (fresh / norm) * direction
        norm = fresh
    return theta + delta


def _weighted(picture: Float[Tensor, "h w 3"], weight: Float[Tensor, "h w"] | None) -> Float[Tensor, "h w 3"]:
    return picture if weight is None else picture * weight.to(picture)[..., None]

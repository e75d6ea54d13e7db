"""What a field that is sampled along rays learns from, and what the fit asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.fields.field import Field


@dataclass
class RayBatch:
    """R rays and what they should show.

    Attributes:
        origins, directions: [R, 3]; directions are unit vectors.
        colors: [R, 3] RGB in [0, 1].
        views: int64 [R] the training view of each.
    """

    origins: Float[Tensor, "r 3"]
    directions: Float[Tensor, "r 3"]
    colors: Float[Tensor, "r 3"]
    views: Int[Tensor, " r"]


class Trainable(Field, Protocol):
    """A field while it is fitted.

    Attributes:
        betas: Adam's.
        first_rays: in the first batch; None: always as many as the settings say.
        half: whether its steps run under autocast with a gradient scaler.
    """

    betas: tuple[float, float]
    first_rays: int | None
    half: bool

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for Adam, each with a `name`, and a `share` of the learning rate where it is not all."""

    def before_step(self, step: int) -> None: ...

    def losses(self, batch: RayBatch) -> tuple[dict[str, Tensor], int | None]:
        """Loss terms, "rgb" (mean squared error) among them, and the number of samples that were taken if that is what
        the number of rays is to follow."""

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None: ...

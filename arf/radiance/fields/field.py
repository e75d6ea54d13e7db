"""What every photoreal backbone offers, so that everything after it is the same for all of them."""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.fields.voxel.march import Samples


class Backbone(Protocol):
    """A nerfstudio model whose samples lie in the cells of a colour grid.

    Attributes:
        background: [3] RGB behind everything.
        color_shape: cells of the colour grid per axis; it need not be the grid that the model itself is made of.
    """

    device: torch.device
    background: Float[Tensor, " 3"]
    color_shape: tuple[int, int, int]

    def samples(
        self, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]
    ) -> tuple[Samples, Float[Tensor, " n"], Float[Tensor, " r"], Float[Tensor, "n 3"]]:
        """Samples of rays, their weights, the transmittance behind each ray, and the samples' own colours."""

    def color_cells(self, cell: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Row-major indices in the colour grid of the samples' `cell`."""

    def vertex_colors(self, keys: Int[Tensor, " V"]) -> Float[Tensor, "V 3"]:
        """The model's own colours at vertices of the colour grid, given by their row-major indices."""

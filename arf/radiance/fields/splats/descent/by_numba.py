"""Slopes by our own kernels, on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.jit import ready
from arf.radiance.fields.splats.descent.likeness import Unlikeness
from arf.radiance.fields.splats.descent.tuning import Slopes, Tuning
from arf.radiance.fields.splats.kernels.backward import backward
from arf.radiance.fields.splats.kernels.projection import project
from arf.radiance.fields.splats.kernels.raster import rasterise
from arf.radiance.fields.splats.kernels.tiles import tiles_of
from arf.radiance.fields.splats.splats import Splats


class Numba:
    """An engine (see `arf.radiance.fields.splats.descent.tuning.Engine`) that gives the same bits with any number of
    threads.

    Args:
        unlike: what is made smaller.
        antialiased: see `arf.radiance.fields.splats.kernels.projection.project`.
    """

    device = torch.device("cpu")

    def __init__(self, unlike: Unlikeness, antialiased: bool = False) -> None:
        self.unlike, self.antialiased = unlike, antialiased

    def slopes(
        self,
        splats: Splats,
        camera: Camera,
        target: Float[Tensor, "h w 3"],
        background: Float[Tensor, " 3"],
        mask: Bool[Tensor, "h w"] | None = None,
    ) -> Slopes:
        with ready():
            projected = project(splats, camera, self.antialiased)
            tiles, colors = tiles_of(projected), splats.colors.numpy()
            picture, *_ = rasterise(projected, tiles, colors, background.numpy())
            wanted = target.numpy() if mask is None else np.where(mask.numpy()[..., None], target.numpy(), picture)
            slope = self.unlike(picture, wanted)
            if mask is not None:
                slope *= mask.numpy()[..., None]
            found = backward(splats, camera, projected, tiles, colors, picture, slope, self.antialiased)
        error = torch.tensor(np.square(picture - wanted).mean())
        return {name: torch.from_numpy(getattr(found, name)) for name in Tuning.SHAPES}, error

"""A capture's photographs: pixels at exactly the camera's size, undistorted, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Bool, Float
from torch import Tensor

from arf.radiance.capture.cameras import Camera


@dataclass(frozen=True)
class Source:
    """Where the pixels of a view come from.

    Attributes:
        file: the photograph.
        mask: a picture that is black where the photograph is not to be used, or None.
        lens: how the photograph departs from a pinhole's, or None (see `arf.radiance.capture.lens`).
        upright: whether the EXIF rotation is applied, because only then the photograph fits its camera.
        transparent: whether the file has an alpha channel.
    """

    file: Path
    mask: Path | None = None
    lens: object | None = None
    upright: bool = False
    transparent: bool = False


@dataclass(frozen=True)
class Photograph:
    """What a view's photograph shows.

    Attributes:
        image: [H, W, 3] RGB in [0, 1], sRGB; transparent pixels lie on the views' background.
        mask: [H, W] where the photograph shows the scene: neither masked out nor beyond the undistorted picture's
            border; None where that is everywhere. Other pixels are in no loss and no statistic.
        alpha: [H, W] opacity in [0, 1], None where the file has none.
    """

    image: Float[Tensor, "h w 3"]
    mask: Bool[Tensor, "h w"] | None = None
    alpha: Float[Tensor, "h w"] | None = None

    @property
    def weight(self) -> Float[Tensor, "h w"] | None:
        """How much each pixel counts in palettes and style losses, [0, 1]: mask times opacity; None: all of them."""
        if self.mask is None:
            return self.alpha
        mask = self.mask.float()
        return mask if self.alpha is None else mask * self.alpha


def read_photograph(source: Source, camera: Camera, background: tuple[float, float, float]) -> Photograph:
    """Read a photograph at its camera's size."""
    raise NotImplementedError

"""The photographs that splats are fitted to, in several sizes: a byte for each number."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.views import Views


@dataclass
class Picture:
    """A photograph in one size.

    Attributes:
        camera: that sees it so.
        colors: uint8 [h, w, 3]; transparent pixels lie on the views' background.
        mask: [h, w] which pixels count; None: all.
        alpha: uint8 [h, w]; None where the file has none.
    """

    camera: Camera
    colors: UInt8[Tensor, "h w 3"]
    mask: Bool[Tensor, "h w"] | None
    alpha: UInt8[Tensor, "h w"] | None

    @property
    def solid(self) -> Bool[Tensor, "h w"] | None:
        """Which pixels count and show something that is not transparent; None: all."""
        if self.alpha is None:
            return self.mask
        opaque = self.alpha >= 128
        return opaque if self.mask is None else opaque & self.mask

    def to(self, device: torch.device) -> Picture:
        """The same on a device; the camera stays."""
        parts = (None if part is None else part.to(device) for part in (self.colors, self.mask, self.alpha))
        return Picture(self.camera, *parts)

    def resized(self, share: float) -> Picture:
        """The same at another size, each pixel the mean of its area, and counting where all of it does."""
        if share == 1:
            return self
        camera = self.camera.resized(*(max(1, round(share * s)) for s in (self.camera.width, self.camera.height)))
        size = camera.height, camera.width
        colors, alpha = _shrunk(self.colors, size), None if self.alpha is None else _shrunk(self.alpha, size)
        mask = None if self.mask is None else _shrunk(self.mask.to(torch.uint8) * 255, size) == 255
        return Picture(camera, colors, mask, alpha)

    def over(self, background: Float[Tensor, " 3"], usual: Float[Tensor, " 3"]) -> Float[Tensor, "h w 3"]:
        """Its colours in [0, 1] over another background than the `usual` one of the views."""
        colors = self.colors.float() / 255
        if self.alpha is None:
            return colors
        return colors + (1 - self.alpha.float()[..., None] / 255) * (background - usual)


class Pictures:
    """All photographs of some views, which are read once.

    Args:
        shares: of the working size, ascending; each is kept.
    """

    def __init__(self, views: Views, shares: tuple[float, ...]) -> None:
        self.usual = torch.tensor(views.background)
        self._sizes: list[list[Picture]] = [[] for _ in shares]
        for i, camera in enumerate(views.cameras):
            photograph = views.photograph(i)
            alpha = None if photograph.alpha is None else _bytes(photograph.alpha)
            whole = Picture(camera, _bytes(photograph.image), photograph.mask, alpha)
            for share, kept in zip(shares, self._sizes, strict=True):
                kept.append(whole.resized(share))

    def __len__(self) -> int:
        return len(self._sizes[0])

    def at(self, size: int, i: int) -> Picture:
        """View i in the size of that number."""
        return self._sizes[size][i]


def _shrunk(picture: UInt8[Tensor, "h w *c"], size: tuple[int, int]) -> UInt8[Tensor, "y x *c"]:
    planes = picture[None] if picture.ndim == 2 else picture.permute(2, 0, 1)
    small = interpolate(planes[None].float(), size, mode="area")[0].round().to(torch.uint8)
    return small[0] if picture.ndim == 2 else small.permute(1, 2, 0).contiguous()


def _bytes(picture: Float[Tensor, "h w *c"]) -> UInt8[Tensor, "h w *c"]:
    return (picture * 255).round().to(torch.uint8)

"""A capture's photographs: pixels at exactly the camera's size, undistorted, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from PIL import Image, ImageOps
from torch import Tensor

from arf.errors import UserError
from arf.media.decode import decoding, has_alpha, open_picture, to_srgb
from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.lens import Lens, Pinhole, sampling

UNMASKED = 0.999  # a pixel counts where all of the photograph's pixels under it do; the rest is for rounding


@dataclass(frozen=True)
class Source:
    """Where the pixels of a view come from.

    Attributes:
        file: the photograph.
        mask: a picture that is black where the photograph is not to be used, or None.
        lens: how the photograph departs from a pinhole's, or None.
        upright: whether the EXIF rotation is applied, because only then the photograph fits its camera.
        transparent: whether the file has an alpha channel.
    """

    file: Path
    mask: Path | None = None
    lens: Lens | None = None
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
    """Read a photograph at its camera's size.

    It is shrunk first, each new pixel the mean of its area (which is what a camera with larger pixels sees), and then
    undistorted bilinearly; alpha and mask go the same way. Pixels beyond the photograph's border are background.

    Raises:
        UserError: photograph or mask are missing, corrupt, cut short, or of a kind that is no photograph.
    """
    lens, size = source.lens, (camera.width, camera.height)
    if lens is not None:  # its photograph at the camera's scale
        whole = lens.pinhole
        width, height = lens.width * camera.fx / whole.fx, lens.height * camera.fy / whole.fy
        size = max(1, round(width)), max(1, round(height))
    image, alpha = _pixels(source, size, background)
    mask = None if source.mask is None else _mask(source.mask, size)
    if lens is not None:
        pinhole = Pinhole(camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
        places, inside = sampling(lens, pinhole, size)
        image = np.where(inside[..., None], _remap(image, places), np.float32(background))
        alpha = None if alpha is None else _remap(alpha, places)
        mask = inside if mask is None else inside * _remap(mask, places)
    if mask is not None:
        mask = mask > UNMASKED
    return Photograph(
        image=torch.from_numpy(image),
        mask=None if mask is None or mask.all() else torch.from_numpy(mask),
        alpha=None if alpha is None else torch.from_numpy(alpha),
    )


def _remap(values: np.ndarray, places: Float32[np.ndarray, "h w 2"]) -> np.ndarray:
    import cv2  # imports slowly

    return cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _pixels(
    source: Source, size: tuple[int, int], background: tuple[float, float, float]
) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"] | None]:
    """Colours on the background, and opacity, at (width, height). 8 bits until they are small."""
    with open_picture(source.file) as file, decoding(source.file):
        if file.mode == "F" or file.mode.startswith("I"):
            raise UserError(f"{source.file} has {file.mode} pixels; a capture needs 8-bit pictures: convert it")
        transparent = has_alpha(file)
        picture = ImageOps.exif_transpose(file) if source.upright else file
        picture = to_srgb(picture).convert("RGBA" if transparent else "RGB")
    alpha = None
    if transparent:
        alpha = _shrink(picture.getchannel("A"), size)
        ground = Image.new("RGBA", picture.size, tuple(round(255 * c) for c in background))
        picture = Image.alpha_composite(ground, picture).convert("RGB")
    return _shrink(picture, size), alpha


def _mask(path: Path, size: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
    """The share of each pixel's area that is not black. A mask of zeros and ones is one, too."""
    with open_picture(path) as file, decoding(path):
        values = np.asarray(file.convert("L"))
    used = values > (0 if values.max() <= 1 else 127)  # halfway, since JPEG's black and white are only nearly so
    return _shrink(Image.fromarray(used.astype(np.uint8) * 255), size)


def _shrink(picture: Image.Image, size: tuple[int, int]) -> Float32[np.ndarray, "h w *c"]:
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BOX)
    return np.asarray(picture, dtype=np.float32) / 255

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

FINE = 2  # times the working size at which a lens is undone, as `_halved` has it
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

    Each pixel is the mean of its area of the photograph, which is what a camera with larger pixels sees. Where a lens
    is undone, the photograph is shrunk to about `FINE` times that size, undistorted bicubically, and then shrunk to the
    end: interpolation at the working size itself would blur. Alpha and mask go the same way. Pixels beyond the
    photograph's border are background.

    Raises:
        UserError: photograph or mask are missing, corrupt, cut short, or of a kind that is no photograph.
    """
    image, alpha, mask = _undistorted(source, camera, background) if source.lens else _plain(source, camera, background)
    if mask is not None:
        mask = mask > UNMASKED
    return Photograph(
        image=torch.from_numpy(image),
        mask=None if mask is None or mask.all() else torch.from_numpy(mask),
        alpha=None if alpha is None else torch.from_numpy(alpha),
    )


Planes = tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"] | None, Float32[np.ndarray, "h w"] | None]


def _plain(source: Source, camera: Camera, background: tuple[float, float, float]) -> Planes:
    """Image, alpha and mask as they are in the files, at the camera's size."""
    size = camera.width, camera.height
    return *_pixels(source, size, background), None if source.mask is None else _mask(source.mask, size)


def _undistorted(source: Source, camera: Camera, background: tuple[float, float, float]) -> Planes:
    """The same through the lens's pinhole, both sampled `fine` times as finely as the camera's pixels, or as finely as
    the photograph allows."""
    lens, whole = source.lens, source.lens.pinhole
    width, height = lens.width * camera.fx / whole.fx, lens.height * camera.fy / whole.fy  # at the camera's scale
    with open_picture(source.file) as file:
        stored = file.size[::-1] if source.upright else file.size
    fine = FINE if stored[0] > 1.5 * width else 1
    size = tuple(min(side, max(1, round(fine * length))) for side, length in zip(stored, (width, height), strict=True))
    pinhole = Pinhole(camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
    places, inside = sampling(lens, pinhole.resized(fine * camera.width, fine * camera.height), size)
    (image, alpha), mask = _pixels(source, size, background), inside.astype(np.float32)
    image = np.where(inside[..., None], _remap(image, places), np.float32(background))
    if source.mask is not None:
        mask = mask * _remap(_mask(source.mask, size), places)
    planes = image, None if alpha is None else _remap(alpha, places), mask
    return tuple(plane if plane is None or fine == 1 else _halved(plane) for plane in planes)


def _halved(plane: Float32[np.ndarray, "h2 w2 *c"]) -> Float32[np.ndarray, "h w *c"]:
    """Means of 2×2 pixels."""
    return (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4


def _remap(values: np.ndarray, places: Float32[np.ndarray, "h w 2"]) -> np.ndarray:
    import cv2  # imports slowly

    return cv2.remap(values, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).clip(0, 1)


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

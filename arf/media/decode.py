"""Picture files opened, and brought to sRGB: the one place where somebody's file becomes pixels, in 2D and in 3D.

Only what is named here is ever tried on a file, so that opening it runs no other program (Pillow hands EPS to
Ghostscript).
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.jobs.machine import starved
from arf.media.signature import PICTURE_BRANDS, brand, is_video

PICTURE_SUFFIXES = (  # of what `READERS` read, the usual ones first
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".gif", ".jp2", ".j2k",
    ".jpx", ".jpe", ".jfif", ".apng", ".dib", ".hif", ".ppm", ".pgm", ".pbm", ".pnm", ".psd", ".tga",
)  # fmt: skip
READERS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "HEIF", "AVIF", "GIF", "JPEG2000", "PPM", "PSD", "TGA")
MOST_PIXELS = 2**27  # 1.6 GB as float32 RGB; the sensors of telephones have 108 million
ALIKE = 1  # levels of 255 by which a profile may differ from sRGB and still be taken for it
WITHOUT_PROFILE = ("1", "I", "F")  # and the other modes of 16 bits: left as they are

log = logging.getLogger(__name__)


def open_picture(path: str | Path) -> Image.Image:
    """Open a picture file; as in Pillow, only its header is read, and a `with` block closes it.

    HEIC is read where pillow-heif is installed, AVIF where Pillow can. Pixels come later and may still turn out to be
    damaged: see `decoding`.

    Raises:
        UserError: no such file, not a regular file, empty, not a picture, a damaged header, more than 2²⁷ pixels, or a
            format that needs another package; says which.
    """
    if refusal := cannot_read(path, "picture"):
        raise refusal
    with decoding(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes, which are checked below
        file = Image.open(path, formats=_readers())
    if file.width * file.height > MOST_PIXELS:
        file.close()
        raise UserError(f"{path} has more pixels than a picture should, {file.width}×{file.height}; scale it down")
    return file


@contextmanager
def decoding(path: str | Path) -> Iterator[None]:
    """What goes wrong in this block while `path` is decoded, as one line.

    Raises:
        UserError: says what; UserErrors of the block itself pass through unchanged.
    """
    try:
        yield
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} has more pixels than a picture should; scale it down") from error
    except Image.UnidentifiedImageError as error:
        raise _unknown(path) from error
    except Exception as error:  # decoders fail in many ways: OSError, SyntaxError, struct.error, EOFError, IndexError
        if short := starved(error):
            raise type(short)(f"{path}: {short}") from error
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise UserError(f"{path} is corrupt or cut short ({reason}); replace it") from error


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture has transparency: an alpha channel, or a transparent colour. Known from the header."""
    return "transparency" in image.info or image.mode in ("RGBA", "RGBa", "LA", "La", "PA")


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture in sRGB, by its embedded ICC profile: colorimetric, with black point compensation.

    Without a profile, or with one within a level of sRGB, this is the picture itself; so it is for 16-bit grey. Else
    it is RGB, or RGBA where there was transparency. A profile that cannot be used is ignored, with a warning.
    """
    profile = image.info.get("icc_profile")
    if not profile or image.mode.startswith(WITHOUT_PROFILE):
        return image
    try:
        planes = _plain_mode(image, _color_space(profile))
        transform = _transform(profile, planes.mode.removesuffix("A"))
    except (OSError, ValueError, TypeError, ImportError) as error:
        name = getattr(image, "filename", "") or "a picture"
        reason = str(error).splitlines()[0][:120]
        log.warning("the colour profile of %s is ignored (%s); its colours are taken as sRGB", name, reason)
        return image
    if transform is None:
        return image
    if not planes.mode.endswith("A"):
        return transform.apply(planes)
    converted = transform.apply(planes.convert(planes.mode.removesuffix("A")))
    converted.putalpha(planes.getchannel("A"))
    return converted


def _plain_mode(image: Image.Image, space: str) -> Image.Image:
    """As L, RGB or CMYK, or LA or RGBA, which is what profiles are of."""
    if image.mode == "CMYK":
        return image
    grey = image.mode in ("L", "LA", "La") and space == "GRAY"
    mode = ("L" if grey else "RGB") + ("A" if has_alpha(image) else "")
    return image if image.mode == mode else image.convert(mode)


def _color_space(profile: bytes) -> str:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile's colours to sRGB; None where that would change nothing that can be seen."""
    transform = ImageCms.ImageCmsTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode == "CMYK":
        return transform
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(*[levels] * len(mode), indexing="ij"), -1).reshape(1, -1, len(mode))  # [1, 9ⁿ, n]
    before = Image.fromarray(lattice if len(mode) > 1 else lattice[..., 0])
    change = np.asarray(transform.apply(before), dtype=int) - np.asarray(before.convert("RGB"), dtype=int)
    return transform if np.abs(change).max() > ALIKE else None


@lru_cache(maxsize=1)
def _readers() -> tuple[str, ...]:
    """Those of `READERS` that are installed."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in READERS if name in Image.OPEN)


def _unknown(path: str | Path) -> UserError:
    """Why no reader knows a file."""
    kind = brand(path)
    if kind in PICTURE_BRANDS:
        name, package = ("AVIF", "--upgrade pillow") if kind.startswith(b"avi") else ("HEIF", "pillow-heif")
        if name not in _readers():
            return UserError(f"{path} is a {name.replace('HEIF', 'HEIC')} picture; to read it, pip install {package}")
    if is_video(path):
        return UserError(f"{path} is a video; arf video paints videos")
    return UserError(f"{path} is not a picture that can be read, or its header is damaged; convert it to PNG or JPEG")

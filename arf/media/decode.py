"""Opening pictures: any kind that can be read, and its colours as sRGB."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageCms, UnidentifiedImageError

from arf.errors import UserError
from arf.jobs.files import cannot_read

HEIC_SUFFIXES = (".heic", ".heif")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", *HEIC_SUFFIXES, ".avif")

with suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()


def open_picture(path: Path) -> Image.Image:
    """A picture whose header is read and whose pixels are not, yet.

    Raises:
        UserError: no such file, no regular one, or not a picture that can be read.
    """
    if refusal := cannot_read(path, "picture"):
        raise refusal
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        if path.suffix.lower() in HEIC_SUFFIXES:
            raise UserError(f"{path} is a HEIC picture; pip install pillow-heif, or convert it to JPEG") from error
        raise UserError(f"{path} is not a picture, or its header is damaged; replace it or remove it") from error
    except Exception as error:  # a header that starts well and then lies
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read ({reason}); replace it or remove it") from error


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture with its embedded colour profile converted to sRGB."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA"):
        return image
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode=image.mode)
    except (ImageCms.PyCMSError, OSError):
        return image


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture has an alpha channel, by its header."""
    return image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info

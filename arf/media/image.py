"""Pictures in and out: float32 RGB tensors [H, W, 3] in [0, 1], whatever the file held."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from arf.errors import UserError
from arf.jobs.files import atomic_path
from arf.media.decode import PICTURE_SUFFIXES, decoding, has_alpha, open_picture, to_srgb

SMALLEST_STYLE = 16  # pixels; relu3 of a smaller picture has no more than a handful of positions
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}  # that are written
OTHER_SUFFIXES = {  # pictures by their names, of kinds that cannot be read
    ".jxl", ".svg", ".eps", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".xcf",
}  # fmt: skip

TOLERANCE = 1e-3  # by which values may leave [0, 1], as after somebody's resizing

log = logging.getLogger(__name__)

Picture = Float[Tensor, "h w 3"]


def read(path: str | Path, size: tuple[int, int] | None = None, short_side: int | None = None) -> Picture:
    """Read a picture as RGB, upright.

    Grey, palette, 16-bit and CMYK pictures are converted, embedded colour profiles to sRGB, transparency is laid on
    white, the EXIF rotation is applied. Pillow keeps the upper 8 bits of 16-bit RGB.

    Args:
        path: the file.
        size: (height, width) to resize to; the aspect is not kept.
        short_side: pixels that the shorter side needs to have; a larger JPEG may then be decoded at a half, a quarter
            or an eighth of its size, which is several times faster.

    Raises:
        UserError: as `open_picture`; or the pixels are cut short or corrupt, or have no agreed white.
    """
    with decoding(path), open_picture(path) as file:
        if short_side:
            file.draft(None, (short_side, short_side))
        ImageOps.exif_transpose(file, in_place=True)
        pixels = _to_rgb(to_srgb(file), path)
    picture = torch.from_numpy(pixels)
    return picture if size is None else resize(picture, *size)


def read_layer(path: str | Path, size: tuple[int, int]) -> tuple[Picture, Float[Tensor, "h w"]] | None:
    """Colours and opacity of a picture that has transparency, upright and resized; None where it has none.

    A pixel's colour is that of its opaque part: nothing is laid on white. What is transparent is black.

    Raises:
        UserError: as `read`.
    """
    with decoding(path), open_picture(path) as file:
        if not has_alpha(file):
            return None
        ImageOps.exif_transpose(file, in_place=True)
        pixels = np.asarray(to_srgb(file).convert("RGBA"), dtype=np.float32) / 255  # [H, W, 4]
    alpha = torch.from_numpy(pixels[..., 3:].copy())  # [H, W, 1]
    opaque = resize(torch.from_numpy(pixels[..., :3].copy()) * alpha, *size)  # weighted, so that nothing bleeds in
    alpha = resize(alpha.expand(-1, -1, 3).contiguous(), *size)
    return (opaque / alpha.clamp_min(1e-4)).clamp(0, 1), alpha[..., 0]


def pictures_in(folder: str | Path) -> list[Path]:
    """The pictures anywhere below a folder, by name. Those of kinds that cannot be read are counted in a warning.

    Raises:
        UserError: there is no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no folder at {folder}; name one that holds pictures")
    files = sorted(p for p in folder.rglob("*") if not p.name.startswith(".") and not p.is_dir())
    if left_out := [p.name for p in files if p.suffix.lower() in OTHER_SUFFIXES]:
        names = ", ".join(left_out[:3]) + (", …" if len(left_out) > 3 else "")
        log.warning("%s: %d pictures are left out (%s); convert them to PNG or JPEG", folder, len(left_out), names)
    found = [p for p in files if p.suffix.lower() in PICTURE_SUFFIXES]
    if not found:
        raise UserError(f"{folder} holds no picture ({', '.join(PICTURE_SUFFIXES)}); name a folder that does")
    return found


def read_style(path: str | Path, size: tuple[int, int] | None = None) -> Picture:
    """Read a picture to work with: as `read`, but one too small to hold brush strokes is refused.

    Raises:
        UserError: as `read`; or a side is shorter than 16 pixels.
    """
    picture = read(path)
    height, width = picture.shape[:2]
    if min(height, width) < SMALLEST_STYLE:
        raise UserError(f"{path} is {width}×{height} pixels; it needs at least {SMALLEST_STYLE} on each side")
    return picture if size is None else resize(picture, *size)


def read_mask(path: str | Path, size: tuple[int, int], native: tuple[int, int] | None = None) -> Float[Tensor, "h w"]:
    """Read a mask: 1 where the picture is white, 0 where it is black.

    Args:
        size: (height, width); a mask of another size is resized, with a warning.
        native: (height, width) of the picture that was itself resized to `size`; no warning for a mask as large.

    Raises:
        UserError: as `read`; or it is black everywhere.
    """
    mask = read(path)
    if not bool((mask > 0.5).any()):
        raise UserError(f"{path} is empty as a mask: nothing in it is white; paint white where it is to hold")
    if tuple(mask.shape[:2]) not in (tuple(size), native):
        log.warning("%s is %d×%d pixels; resized to %d×%d", path, *mask.shape[1::-1], *size[::-1])
    return resize(mask, *size).mean(2)


def write(path: str | Path, picture: Picture, quality: int = 95) -> None:
    """Write a PNG or JPEG, by suffix, atomically. Values are clamped to [0, 1], those of uint8 are taken as they are;
    `quality` is JPEG's.

    Raises:
        UserError: another suffix, or the file cannot be written.
        ValueError: not a finite [H, W, 3] picture.
    """
    path = check_name(path)
    options = {"quality": quality, "subsampling": 0} if FORMATS[path.suffix.lower()] == "JPEG" else {}
    file = Image.fromarray(to_bytes(picture).numpy())
    with atomic_path(path) as temporary:
        file.save(temporary, format=FORMATS[path.suffix.lower()], **options)


def check_name(path: str | Path) -> Path:
    """The path of a picture to write; raises UserError where its suffix names no format that we write."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"cannot write {path}: the name must end in {', '.join(FORMATS)}")
    return path


def to_bytes(picture: Picture) -> Tensor:
    """A picture in [0, 1] as uint8 [H, W, 3] on the CPU, rounded to nearest and clamped; one of uint8 as it is.

    Raises:
        ValueError: not a finite [H, W, 3] picture.
    """
    _check(picture)
    if picture.dtype == torch.uint8:
        return picture.cpu().contiguous()
    picture = picture.detach().cpu().float()
    if not torch.isfinite(picture).all():
        raise ValueError("a picture must be finite; this one holds NaN or infinity")
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).contiguous()


def resize(picture: Picture, height: int, width: int) -> Picture:
    """Resize with an antialiased bicubic filter, clamped to [0, 1] because bicubic overshoots at edges.

    Raises:
        ValueError: not [H, W, 3], or a size below one pixel.
    """
    _check(picture)
    if height < 1 or width < 1:
        raise ValueError(f"a picture has at least one pixel, not {height}×{width}")
    if (height, width) == tuple(picture.shape[:2]):
        return picture
    planes = picture.permute(2, 0, 1)[None]  # [1, 3, H, W]
    planes = functional.interpolate(planes, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return planes[0].permute(1, 2, 0).clamp(0, 1).contiguous()  # [height, width, 3]


def fit_long_side(picture: Picture, long_side: int) -> Picture:
    """Resize so that the longer side is `long_side` pixels, up or down; the aspect is kept to the nearest pixel."""
    height, width = picture.shape[:2]
    scale = long_side / max(height, width)
    return resize(picture, max(1, round(height * scale)), max(1, round(width * scale)))


def fit_style(style: Picture, long_side: float, least: int = SMALLEST_STYLE) -> Picture:
    """Resize a style so that its longer side is `long_side` pixels, but no side shorter than `least`, which layers need
    to see something."""
    height, width = style.shape[:2]
    return fit_long_side(style, math.ceil(max(round(long_side), least * max(height, width) / min(height, width))))


def contact_sheet(
    rows: Sequence[Sequence[Picture]], height: int | None = None, padding: int = 8, background: float = 1.0
) -> Picture:
    """Lay pictures out in rows, aspect kept, on one sheet.

    Args:
        rows: the pictures, row by row; rows may differ in length.
        height: of every row in pixels; by default that of the row's first picture.
        padding: pixels between pictures and around the sheet.
        background: grey level of padding and of the empty ends of shorter rows.

    Raises:
        ValueError: no rows, an empty row, or something that is not a picture.
    """
    if not rows or not all(len(row) for row in rows):
        raise ValueError("a contact sheet needs at least one picture in every row")
    strips = [_strip(row, height or row[0].shape[0], padding, background) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    pieces = [functional.pad(strip, (0, 0, 0, width - strip.shape[1]), value=background) for strip in strips]
    sheet = torch.cat(pieces)  # [sum of (padding + height), width - padding, 3]
    return functional.pad(sheet, (0, 0, 0, padding, 0, padding), value=background)


def _strip(row: Sequence[Picture], height: int, padding: int, background: float) -> Picture:
    """One row of a contact sheet, each picture with its padding above and to the left."""
    pieces = []
    for picture in row:
        _check(picture)
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        cell = resize(picture.detach().cpu().float().clamp(0, 1), height, width)
        pieces.append(functional.pad(cell, (0, 0, padding, 0, padding, 0), value=background))
    return torch.cat(pieces, dim=1)  # [padding + height, sum of (padding + width), 3]


def check_picture(picture: Picture, what: str) -> None:
    """Check what a function of the library is given; what `read` gives needs no check.

    Raises:
        ValueError: it is not of floating-point numbers, [H, W, 3], finite and in [0, 1].
    """
    if not isinstance(picture, Tensor) or not picture.is_floating_point():
        kind = str(picture.dtype).removeprefix("torch.") if isinstance(picture, Tensor) else type(picture).__name__
        raise ValueError(f"the {what} is a tensor of floating-point numbers in [0, 1], got {kind}")
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.numel():
        raise ValueError(f"the {what} is [H, W, 3], got {list(picture.shape)}")
    low, high = (float(bound) for bound in picture.aminmax())
    if not (low > -TOLERANCE and high < 1 + TOLERANCE):  # nor NaN
        raise ValueError(f"the {what} is in [0, 1], got values from {low:g} to {high:g}")


def _check(picture: Tensor) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a picture is [H, W, 3], got {list(picture.shape)}")


def _to_rgb(file: Image.Image, path: str | Path) -> np.ndarray:
    """Any Pillow picture as float32 RGB [H, W, 3] in [0, 1]."""
    if file.mode == "F":
        raise UserError(f"{path}: floating-point pictures have no agreed white; save it with 8 or 16 bits")
    if file.mode == "I" or file.mode.startswith("I;16"):  # 16-bit grey; Pillow's own conversion clips it at 255
        grey = np.asarray(file).astype(np.float32) / 65535  # [H, W]
        if grey.min() < 0 or grey.max() > 1:
            raise UserError(f"{path}: pictures of more than 16 bits are not supported; save it with 8 or 16")
        return np.repeat(grey[..., None], 3, axis=-1)  # [H, W, 3]
    if has_alpha(file):
        rgba = np.asarray(file.convert("RGBA"), dtype=np.float32) / 255  # [H, W, 4]
        alpha = rgba[..., 3:]  # [H, W, 1]
        return rgba[..., :3] * alpha + (1 - alpha)
    return np.asarray(file.convert("RGB"), dtype=np.float32) / 255

"""What a photograph's EXIF says of the camera that took it: which device, how long a lens, which way was up."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

FULL_FRAME = math.hypot(36, 24)  # millimetres: the diagonal that equivalent focal lengths are of
APPLE, ACCELERATION, FRACTIONS = b"Apple iOS\0", 8, 10  # maker note: how it begins, a tag, and that tag's type
PER_MM = {2: 25.4, 3: 10.0}  # millimetres of EXIF's units of resolution
UPRIGHT = {1: (1, 0, 0, 1), 3: (-1, 0, 0, -1), 6: (0, 1, -1, 0), 8: (0, -1, 1, 0)}  # (right, up) by the stored ones


@dataclass(frozen=True)
class Exif:
    """What is known of a photograph's camera.

    Attributes:
        device: what tells cameras and their lenses apart; empty where nothing is said.
        focal: focal length in diagonals of the picture, None where nothing is said.
        up: away from the ground, in the axes of the upright picture's camera (x right, y up, looking along −z), up to
            its sign: makers do not agree on it. None where nothing is said.
    """

    device: str = ""
    focal: float | None = None
    up: tuple[float, float, float] | None = None


def read_exif(picture: Image.Image) -> Exif:
    """The EXIF of an open picture; what is damaged in it says nothing."""
    try:
        found = picture.getexif()
        detail = found.get_ifd(ExifTags.IFD.Exif)
        names = [found.get(ExifTags.Base.Make), found.get(ExifTags.Base.Model), detail.get(ExifTags.Base.LensModel)]
        length = _number(detail.get(ExifTags.Base.FocalLength))
        equivalent = _number(detail.get(ExifTags.Base.FocalLengthIn35mmFilm))  # another one: zoomed by cropping
        lengths = [f"{length:g} mm"] * bool(length) + [f"as {equivalent:g} mm"] * bool(equivalent)
        known = [str(name).strip("\0 ") for name in names if name] + lengths
        orientation = found.get(ExifTags.Base.Orientation, 1)
        return Exif(" ".join(known), _focal(detail, length), _up(detail.get(ExifTags.Base.MakerNote), orientation))
    except Exception:  # Pillow raises whatever the bytes lead it to
        return Exif()


def _focal(detail: dict[int, Any], length: float) -> float | None:
    """By the equivalent focal length, or else by the sensor's resolution."""
    if equivalent := _number(detail.get(ExifTags.Base.FocalLengthIn35mmFilm)):
        return equivalent / FULL_FRAME
    density = _number(detail.get(ExifTags.Base.FocalPlaneXResolution))
    unit = PER_MM.get(detail.get(ExifTags.Base.FocalPlaneResolutionUnit, 2), 0)
    size = [_number(detail.get(tag)) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)]
    if length and density and unit and all(size):
        return length * density / unit / math.hypot(*size)
    return None


def _up(note: object, orientation: int) -> tuple[float, float, float] | None:
    """Apple's maker note has the acceleration along the device's axes (ExifTool's list of Apple's tags): x and y along
    the screen's sides, z out of it. The sensor's picture has its right along −y and its top along x."""
    if not isinstance(note, bytes) or not note.startswith(APPLE) or orientation not in UPRIGHT:
        return None
    (count,) = struct.unpack_from(">H", note, 14)
    for i in range(count):
        tag, kind, values, place = struct.unpack_from(">HHII", note, 16 + 12 * i)
        if (tag, kind, values) == (ACCELERATION, FRACTIONS, 3):
            over = struct.unpack_from(">6i", note, place)
            x, y, z = (a / b for a, b in zip(over[::2], over[1::2], strict=True))
            length = math.hypot(x, y, z)
            if not 0.5 < length < 2:  # shaken, or no number
                return None
            a, b, c, d = UPRIGHT[orientation]
            right, top = -y / length, x / length
            return a * right + b * top, c * right + d * top, z / length
    return None


def _number(value: object) -> float:
    """A positive number, or 0."""
    try:
        number = float(value)  # of a fraction, too
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if 0 < number < math.inf else 0.0

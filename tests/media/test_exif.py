from __future__ import annotations

import io
import math
import struct

import pytest
from PIL import ExifTags, Image

from arf.media.exif import Exif, read_exif

Base = ExifTags.Base


def picture(orientation: int = 1, note: bytes | None = None, **detail) -> Image.Image:
    """An open JPEG with these entries."""
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model], exif[Base.Orientation] = "Maker", "Phone 7", orientation
    exif.get_ifd(ExifTags.IFD.Exif).update({Base[name]: value for name, value in detail.items()})
    if note:
        exif.get_ifd(ExifTags.IFD.Exif)[Base.MakerNote] = note
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, "JPEG", exif=exif)
    return Image.open(file)


def apple(*acceleration: float, kind: int = 10) -> bytes:
    """A maker note with one entry that comes before the acceleration."""
    head = b"Apple iOS\0\0\1MM" + struct.pack(">H", 2)
    entries = struct.pack(">HHII", 1, 9, 1, 5) + struct.pack(">HHII", 8, kind, 3, len(head) + 24 + 4)
    values = b"".join(struct.pack(">ii", round(1000 * a), 1000) for a in acceleration)
    return head + entries + bytes(4) + values


def test_equivalent_focal_lengths_are_of_the_diagonal():
    assert read_exif(picture(FocalLengthIn35mmFilm=26)).focal == pytest.approx(26 / 43.2666, rel=1e-4)


def test_a_sensors_resolution_does_as_well():
    # 50 mm on a sensor 36 mm wide, 6000 pixels of them: 8333 pixels, over a diagonal of 7211
    detail = {"FocalPlaneXResolution": 6000 / 3.6, "FocalPlaneResolutionUnit": 3, "FocalLength": 50.0}
    found = read_exif(picture(**detail, ExifImageWidth=6000, ExifImageHeight=4000))
    assert found.focal == pytest.approx(50 / 36 * 6000 / math.hypot(6000, 4000), rel=1e-4)
    assert found.device == "Maker Phone 7 50 mm"


def test_two_lenses_are_two_devices():
    wide, long = (read_exif(picture(FocalLength=f, LensModel="back camera")).device for f in (4.2, 9.0))
    assert (wide, long) == ("Maker Phone 7 back camera 4.2 mm", "Maker Phone 7 back camera 9 mm")


@pytest.mark.parametrize(("orientation", "acceleration", "up"), [
    (6, (0, -1, 0), (0, -1, 0)),  # held upright: along the screen's long side
    (1, (-1, 0, 0), (0, -1, 0)),  # on its side: along the short one, which is up in the picture
    (3, (1, 0, 0), (0, -1, 0)),  # on the other side
    (8, (0, 1, 0), (0, -1, 0)),  # upside down
    (6, (0, -0.6, -0.8), (0, -0.6, -0.8)),  # looking down at the table: out of the screen is away from the ground
])  # fmt: skip
def test_what_is_up_comes_upright(orientation, acceleration, up):
    assert read_exif(picture(orientation, apple(*acceleration))).up == pytest.approx(up, abs=1e-3)


@pytest.mark.parametrize("note", [
    b"Apple iOS\0", apple(0, -1, 0)[:30], apple(0, 0, 0), apple(0, -9.8, 0), apple(0, -1, 0, kind=5),
    b"Nikon" + bytes(40),
])  # fmt: skip
def test_other_notes_say_nothing(note):
    assert read_exif(picture(6, note)).up is None


def test_nothing_is_known_without_exif():
    assert read_exif(Image.new("RGB", (4, 4))) == Exif()


@pytest.mark.parametrize("value", [0, float("nan"), -5.0])
def test_no_focal_length_is_no_focal_length(value):
    assert read_exif(picture(FocalLength=value)).focal is None


def test_zooming_by_cropping_is_another_lens():
    once, more = (read_exif(picture(FocalLength=6.0, FocalLengthIn35mmFilm=f)).device for f in (24, 48))
    assert once != more

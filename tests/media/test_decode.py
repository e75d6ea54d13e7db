from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import struct
import sys
import warnings
import zlib

import numpy as np
import profiles
import pytest
from PIL import Image, ImageCms

from arf.errors import UserError
from arf.media import decode
from arf.media.decode import PICTURE_SUFFIXES, decoding, has_alpha, open_picture, to_srgb

RAMP = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


@pytest.fixture
def deadline():
    """A test that waits for a pipe fails instead of hanging."""

    def late(*_):
        raise TimeoutError("still waiting")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refusal(path) -> str:
    with pytest.raises(UserError) as caught, open_picture(path):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(values: np.ndarray) -> np.ndarray:
    """Linear light as sRGB in levels of 255; what is out of its gamut is cut off."""
    values = values.clip(0, 1)
    return 255 * np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


def by_matrix(values: np.ndarray, primaries, curve) -> np.ndarray:
    """Levels of another space as levels of sRGB: one matrix in linear light."""
    matrix = np.linalg.inv(profiles.to_xyz(profiles.SRGB)) @ profiles.to_xyz(primaries)
    return encoded(curve(values / 255) @ matrix.T)


def off(found: Image.Image, wanted: np.ndarray) -> float:
    """Largest difference in levels."""
    return float(np.abs(np.asarray(found.convert("RGB"), dtype=float) - wanted).max())


# Opening


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif", ".gif", ".ppm"])
def test_pictures_are_opened_by_what_they_hold(tmp_path, suffix):
    Image.fromarray(RAMP).save(tmp_path / f"a{suffix}")
    (tmp_path / f"a{suffix}").rename(tmp_path / "a.jpg")
    with open_picture(tmp_path / "a.jpg") as file:
        assert file.size == (32, 24)


def test_avif_is_opened(tmp_path):
    if "AVIF" not in decode._readers():
        pytest.skip("this Pillow has no AVIF")
    Image.fromarray(RAMP).save(tmp_path / "a.avif")
    with open_picture(str(tmp_path / "a.avif")) as file:
        assert file.size == (32, 24)


def test_heic_is_opened(tmp_path):
    pytest.importorskip("pillow_heif")
    decode._readers()  # registers
    Image.new("RGB", (64, 48), (200, 90, 30)).save(tmp_path / "a.heic")
    with open_picture(tmp_path / "a.heic") as file:
        assert file.format == "HEIF"
        assert file.size == (64, 48)
        assert np.abs(np.asarray(file.convert("RGB"), dtype=int) - [200, 90, 30]).max() <= 3


@pytest.mark.parametrize(
    ("brand", "package"), [(b"heic", "pillow-heif"), (b"mif1", "pillow-heif"), (b"avif", "--upgrade pillow")]
)
def test_without_its_reader_a_picture_says_what_to_install(tmp_path, monkeypatch, brand, package):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(64))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    monkeypatch.setattr(decode, "_readers", decode._readers.__wrapped__)  # asked anew
    assert refusal(tmp_path / "a.heic").endswith(f"pip install {package}")


def test_a_damaged_heic_is_no_matter_of_packages(tmp_path):
    pytest.importorskip("pillow_heif")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    line = refusal(tmp_path / "a.heic")
    assert "pip" not in line
    assert str(tmp_path / "a.heic") in line


def test_what_is_no_picture_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "film.png").write_bytes(b"\0\0\0\x18ftypisom" + bytes(64))
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    (tmp_path / "head.png").write_bytes((tmp_path / "a.png").read_bytes()[:20])
    for name, reason in (
        ("none.png", "no such file"),
        ("a.png/b.png", "no such file"),
        ("", "is a folder"),
        ("empty.png", "is empty"),
        ("text.png", "is not a picture"),
        ("head.png", "header is damaged|corrupt or cut short"),
        ("film.png", "is a video; arf video paints videos"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            open_picture(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert "NUL" in refusal(f"{tmp_path}/a\0.png")


def test_pipes_sockets_and_devices_are_not_waited_for(tmp_path, deadline, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        for path in ("pipe.png", "socket.png", "/dev/zero"):
            assert "is a pipe, a device or a socket; name a picture" in refusal(path)


def test_opening_runs_no_other_program(tmp_path, monkeypatch):
    """Pillow hands what begins like PostScript to Ghostscript, whatever its name says."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    assert Image.open(tmp_path / "a.png").format == "EPS"
    assert "is not a picture" in refusal(tmp_path / "a.png")


def test_more_pixels_than_memory_are_refused_by_the_header(tmp_path):
    """J29: a header alone asks for 13000 × 13000 pixels, which Pillow warns of in three lines and allocates."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 13000, 13000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "a.png").write_bytes(start + struct.pack(">I", 4) + b"IDAT" + bytes(100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "more pixels than a picture should, 13000×13000" in refusal(tmp_path / "a.png")
        (tmp_path / "b.ppm").write_bytes(b"P6 99999 99999 255\n" + bytes(100))  # beyond Pillow's own limit
        assert "more pixels" in refusal(tmp_path / "b.ppm")
        (tmp_path / "c.ppm").write_bytes(b"P6 12000 9000 255\n" + bytes(100))  # as large as a telephone's
        with open_picture(tmp_path / "c.ppm") as file:
            assert file.size == (12000, 9000)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("first line\nsecond"), r"a\.png is corrupt or cut short \(first line\); replace it"),
        (EOFError(), r"a\.png is corrupt or cut short \(EOFError\)"),
        (MemoryError(), r"^a\.png: out of memory: .* are free$"),
        (OSError(errno.EMFILE, "Too many open files"), "no more files can be opened .*ulimit -n 4096$"),
        (UserError("said already"), "^said already$"),
    ],
)
def test_what_goes_wrong_later_is_one_line_too(error, said):
    with pytest.raises(UserError, match=said), decoding("a.png"):
        raise error


def test_suffixes_are_those_that_folders_are_searched_for():
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in PICTURE_SUFFIXES)
    assert {".webp", ".tif", ".bmp", ".heic"} < set(PICTURE_SUFFIXES)


# Transparency


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "P", "I;16", "1", "LA", "RGBA", "PA"])
def test_transparency_is_known_by_the_mode(mode):
    assert has_alpha(Image.new(mode, (2, 2))) == (mode in ("LA", "RGBA", "PA"))


def test_transparency_is_known_by_a_transparent_colour(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", transparency=(1, 2, 3))
    with open_picture(tmp_path / "a.png") as file:
        assert has_alpha(file)


# Profiles


def saved(tmp_path, image: Image.Image, profile: bytes | None, suffix: str = "png", **options) -> Image.Image:
    path = tmp_path / f"a.{suffix}"
    image.save(path, icc_profile=profile, **options)
    return open_picture(path)


def test_display_p3_becomes_srgb_as_the_matrix_says(tmp_path):
    """C19: what every iPhone writes."""
    with saved(tmp_path, Image.fromarray(RAMP), profiles.rgb_profile(profiles.P3)) as file:
        found = to_srgb(file)
    wanted = by_matrix(RAMP, profiles.P3, linear)
    assert found.mode == "RGB"
    assert off(found, wanted) <= 1.5
    assert off(Image.fromarray(RAMP), wanted) > 30  # it was worth it


def test_adobe_rgb_becomes_srgb_as_the_matrix_says(tmp_path):
    gamma = 563 / 256
    profile = profiles.rgb_profile(profiles.ADOBE, (gamma,))
    with saved(tmp_path, Image.fromarray(RAMP), profile, "tif") as file:
        found = to_srgb(file)
    assert off(found, by_matrix(RAMP, profiles.ADOBE, lambda v: v**gamma)) <= 2


def test_a_jpeg_and_a_heic_bring_their_profiles_along(tmp_path):
    block = np.full((48, 64, 3), (230, 60, 40), np.uint8)
    wanted = by_matrix(block, profiles.P3, linear)
    profile = profiles.rgb_profile(profiles.P3)
    with saved(tmp_path, Image.fromarray(block), profile, "jpg", quality=100) as file:
        assert off(to_srgb(file), wanted) <= 4
    pytest.importorskip("pillow_heif")
    decode._readers()
    with saved(tmp_path, Image.fromarray(block), profile, "heic", quality=100) as file:
        assert off(to_srgb(file), wanted) <= 4


def test_srgb_profiles_cost_nothing(tmp_path):
    """Known by what they do, whatever they are called; and what was converted is not converted again."""
    for profile in (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        profiles.rgb_profile(profiles.SRGB),
    ):
        for image in (Image.fromarray(RAMP), Image.fromarray(RAMP[..., 0])):
            with saved(tmp_path, image, profile) as file:
                assert to_srgb(file) is file
    with saved(tmp_path, Image.fromarray(RAMP), None) as file:
        assert to_srgb(file) is file
    with saved(tmp_path, Image.fromarray(RAMP), profiles.rgb_profile(profiles.P3)) as file:
        once = to_srgb(file)
        assert to_srgb(once) is once


@pytest.mark.parametrize(
    "profile", [b"no profile at all", profiles.rgb_profile(profiles.P3)[:200], profiles.grey_profile((1.0,))]
)
def test_a_profile_that_cannot_be_used_is_ignored_with_a_warning(tmp_path, caplog, profile):
    with saved(tmp_path, Image.fromarray(RAMP), profile) as file, caplog.at_level(logging.WARNING):
        assert to_srgb(file) is file
    (line,) = caplog.messages
    assert str(tmp_path / "a.png") in line
    assert "taken as sRGB" in line
    assert "\n" not in line


def test_transparency_is_kept_and_has_no_colour(tmp_path):
    alpha = np.random.default_rng(1).integers(0, 256, RAMP.shape[:2], dtype=np.uint8)
    image = Image.fromarray(np.dstack([RAMP, alpha]))
    with saved(tmp_path, image, profiles.rgb_profile(profiles.P3)) as file:
        found = to_srgb(file)
    assert found.mode == "RGBA"
    assert np.array_equal(np.asarray(found)[..., 3], alpha)
    assert off(found, by_matrix(RAMP, profiles.P3, linear)) <= 1.5


def test_a_palette_and_a_transparent_colour_are_converted(tmp_path):
    colors = np.array([[230, 60, 40], [10, 200, 30]], np.uint8)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette(colors.flatten().tolist())
    p3, wanted = profiles.rgb_profile(profiles.P3), by_matrix(colors[None], profiles.P3, linear)
    with saved(tmp_path, palette, p3) as file:
        assert off(to_srgb(file), wanted) <= 1.5
    for image, key in ((palette, 1), (Image.fromarray(colors[None]), (10, 200, 30))):
        with saved(tmp_path, image, p3, transparency=key) as file:
            found = to_srgb(file)
        assert found.mode == "RGBA"
        assert np.asarray(found)[0, :, 3].tolist() == [255, 0]
        assert off(found.crop((0, 0, 1, 1)), wanted[:, :1]) <= 1.5


def test_grey_is_converted_by_its_own_curve_or_by_that_of_colours(tmp_path):
    levels = np.arange(256, dtype=np.uint8)[None]
    wanted = np.repeat(encoded((levels / 255) ** 1.8)[..., None], 3, -1)
    opaque = Image.fromarray(levels)
    clear = Image.merge("LA", [opaque, Image.new("L", (256, 1), 51)])
    for profile in (profiles.grey_profile((1.8,)), profiles.rgb_profile(profiles.P3, (1.8,))):
        with saved(tmp_path, opaque, profile) as file:
            assert off(to_srgb(file), wanted) <= 1.5
        with saved(tmp_path, clear, profile) as file:
            found = to_srgb(file)
        assert off(found, wanted) <= 1.5
        assert np.asarray(found)[0, :, 3].tolist() == [51] * 256


def test_16_bits_are_left_alone(tmp_path):
    deep = Image.fromarray(np.array([[0, 100, 65535]], np.uint16))
    with saved(tmp_path, deep, profiles.grey_profile((1.0,))) as file:
        assert to_srgb(file) is file


def test_inks_are_converted_by_the_profile_of_their_press(tmp_path):
    labs = {(1, 0, 0, 0): (55, -37, -50), (0, 1, 0, 0): (48, 74, -3), (0, 0, 1, 0): (89, -5, 93)}
    labs |= dict.fromkeys([(1, 1, 1, 1), (0, 0, 0, 1)], (0, 0, 0))
    inks = [(0, 0, 0, 0), *labs]
    with saved(tmp_path, Image.new("CMYK", (len(inks), 1)), profiles.cmyk_profile(labs), "tif") as file:
        for x, ink in enumerate(inks):
            file.putpixel((x, 0), tuple(255 * i for i in ink))
        found = np.asarray(to_srgb(file))[0]
    lab = np.array([(100, 0, 0), *labs.values()], float)
    f = (lab[:, :1] + 16) / 116 + np.stack([lab[:, 1] / 500, 0 * lab[:, 1], -lab[:, 2] / 200], 1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * profiles.D50
    light = profiles.to_xyz(profiles.SRGB)
    cone = np.diag((profiles.BRADFORD @ light.sum(1)) / (profiles.BRADFORD @ profiles.D50))
    adapted = np.linalg.inv(profiles.BRADFORD) @ cone @ profiles.BRADFORD
    wanted = encoded(xyz @ (np.linalg.inv(light) @ adapted).T)
    assert np.abs(found - wanted).max() <= 4  # 8 bits of Lab
    assert found.min(1)[0] >= 254
    assert found[-1].max() <= 1

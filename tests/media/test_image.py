from __future__ import annotations

import struct
import zlib

import numpy as np
import profiles
import pytest
import torch
from PIL import Image

from arf.errors import UserError
from arf.media import image
from arf.media.decode import _readers


def png(path, values: np.ndarray, color_type: int) -> None:
    """A 16-bit PNG, which Pillow cannot write in colour: color_type 0 grey, 2 RGB, 6 RGBA."""
    height, width = values.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def ramp(height: int = 12, width: int = 20) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([y, x, 1 - x], dim=-1)  # [H, W, 3]


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    return a.shape == b.shape and (a - b).abs().max().item() <= tolerance


def test_png_round_trip_is_exact_to_half_a_step(tmp_path):
    image.write(tmp_path / "a.png", ramp())
    picture = image.read(tmp_path / "a.png")
    assert picture.dtype == torch.float32
    assert close(picture, ramp(), 0.5 / 255 + 1e-6)


def test_jpeg_round_trip(tmp_path):
    image.write(tmp_path / "a.JPG", ramp(64, 64))
    assert Image.open(tmp_path / "a.JPG").format == "JPEG"
    assert close(image.read(tmp_path / "a.JPG"), ramp(64, 64), 0.03)


def test_writing_clamps_and_rounds(tmp_path):
    picture = torch.tensor([[[-1.0, 2.0, 0.5], [0.4 / 255, 0.6 / 255, 254.4 / 255]]])
    image.write(tmp_path / "a.png", picture)
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[[0, 255, 128], [0, 1, 254]]]


def test_grey_becomes_three_equal_channels(tmp_path):
    values = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    Image.fromarray(values).save(tmp_path / "a.png")
    picture = image.read(tmp_path / "a.png")
    assert close(picture, torch.from_numpy(values / np.float32(255))[..., None].expand(3, 4, 3), 1e-6)


def test_one_bit_pictures_are_black_and_white(tmp_path):
    Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8)).convert("1").save(tmp_path / "a.png")
    assert image.read(tmp_path / "a.png")[..., 0].tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_keeps_its_scale(tmp_path, name):
    values = np.array([[0, 100, 32768], [256, 65280, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    picture = image.read(tmp_path / name)
    assert close(picture[..., 1], torch.from_numpy(values.astype(np.float32) / 65535), 1e-6)


def test_16_bit_rgb_keeps_its_scale(tmp_path):
    values = np.array([[[0, 32768, 65535], [65535, 256, 30000]]], dtype=np.uint16)
    png(tmp_path / "a.png", values, 2)
    assert close(image.read(tmp_path / "a.png"), torch.from_numpy(values.astype(np.float32) / 65535), 1 / 255)


def test_16_bit_rgba_is_laid_on_white(tmp_path):
    values = np.array([[[65535, 0, 0, 65535], [65535, 0, 0, 0], [0, 0, 0, 32768]]], dtype=np.uint16)
    png(tmp_path / "a.png", values, 6)
    wanted = torch.tensor([[[1.0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5]]])
    assert close(image.read(tmp_path / "a.png"), wanted, 1 / 255)


def test_transparency_is_laid_on_white(tmp_path):
    values = np.array([[[255, 0, 0, 255], [0, 255, 0, 0], [0, 0, 255, 51]]], dtype=np.uint8)
    wanted = torch.tensor([[[1.0, 0, 0], [1, 1, 1], [0.8, 0.8, 1]]])
    Image.fromarray(values).save(tmp_path / "rgba.png")
    assert close(image.read(tmp_path / "rgba.png"), wanted, 1e-6)

    grey = Image.merge("LA", [Image.new("L", (2, 2), 0), Image.new("L", (2, 2), 51)])
    grey.save(tmp_path / "la.png")
    assert close(image.read(tmp_path / "la.png"), torch.full((2, 2, 3), 0.8), 1e-6)


def test_a_palette_is_looked_up_with_its_transparent_entry_on_white(tmp_path):
    picture = Image.new("P", (3, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata([0, 1, 2])
    picture.save(tmp_path / "a.png")
    assert image.read(tmp_path / "a.png").tolist() == [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]]
    picture.save(tmp_path / "b.png", transparency=1)
    assert image.read(tmp_path / "b.png").tolist() == [[[1, 0, 0], [1, 1, 1], [0, 0, 1]]]


def test_a_transparent_colour_of_an_rgb_picture_is_white(tmp_path):
    Image.fromarray(np.array([[[10, 20, 30], [255, 0, 0]]], dtype=np.uint8)).save(
        tmp_path / "a.png", transparency=(10, 20, 30)
    )
    assert image.read(tmp_path / "a.png").tolist() == [[[1, 1, 1], [1, 0, 0]]]


def test_cmyk_becomes_rgb(tmp_path):
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow: red
    inks.save(tmp_path / "a.jpg", quality=100)
    assert Image.open(tmp_path / "a.jpg").mode == "CMYK"
    assert close(image.read(tmp_path / "a.jpg"), torch.tensor([1.0, 0, 0]).expand(16, 16, 3), 0.02)


def test_a_display_p3_photograph_comes_in_srgb_upright_and_on_white(tmp_path):
    """C19. A half transparent P3 red beside a blue, stored sideways; P3 red is outside sRGB, so it is pure there."""
    values = np.array([[[255, 0, 0, 51]], [[0, 0, 255, 255]]], np.uint8)  # [2, 1, 4]
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = profiles.rgb_profile(profiles.P3)
    Image.fromarray(values).save(tmp_path / "a.png", icc_profile=profile, exif=exif)
    wanted = torch.tensor([[[0.0, 0, 1], [1, 0.8, 0.8]]])
    assert close(image.read(tmp_path / "a.png"), wanted, 1.5 / 255)
    Image.new("RGB", (640, 480), (200, 90, 60)).save(tmp_path / "a.jpg", icc_profile=profile, quality=95)
    matrix = np.linalg.inv(profiles.to_xyz(profiles.SRGB)) @ profiles.to_xyz(profiles.P3)
    light = matrix @ ((np.array([200, 90, 60]) / 255 + 0.055) / 1.055) ** 2.4
    wanted = torch.tensor(1.055 * light ** (1 / 2.4) - 0.055).float().expand(120, 160, 3)
    assert close(image.read(tmp_path / "a.jpg", short_side=100), wanted, 2.5 / 255)


def test_heic_photographs_are_read(tmp_path):
    """C21. Their decoder turns them upright; they are not turned twice."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    values = np.zeros((32, 64, 3), np.uint8)
    values[:, :32] = (220, 40, 30)
    photograph = Image.fromarray(values)
    photograph.getexif()[0x0112] = 6
    photograph.save(tmp_path / "a.heic", quality=95)
    found = image.read(tmp_path / "a.heic")
    assert found.shape == (64, 32, 3)
    assert close(found[4:28, 4:28], torch.tensor([220, 40, 30]).div(255).expand(24, 24, 3), 4 / 255)
    assert found[36:60].max() < 4 / 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_rotation_is_applied(tmp_path, orientation):
    upright = (ramp(16, 24) * 255).round().to(torch.uint8).numpy()
    undo = {  # what a camera that wrote this orientation did to the upright picture
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undo[orientation](upright))).save(tmp_path / "a.png", exif=exif)
    assert close(image.read(tmp_path / "a.png"), torch.from_numpy(upright) / 255, 1e-6)


def test_pictures_without_an_agreed_white_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match="floating-point"):
        image.read(tmp_path / "f.tif")
    Image.fromarray(np.full((4, 4), 70000, dtype=np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(UserError, match="16 bits"):
        image.read(tmp_path / "i.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "bmp", "webp", "avif", "heic"])
def test_files_cut_short_are_refused(tmp_path, suffix):
    readers = _readers()
    if (suffix == "heic" and "HEIF" not in readers) or (suffix == "avif" and "AVIF" not in readers):
        pytest.skip(f"{suffix} cannot be read here")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / f"whole.{suffix}")
    data = (tmp_path / f"whole.{suffix}").read_bytes()
    for part in (0.05, 0.5, 0.9):
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(UserError, match=str(path)) as caught:
            image.read(path)
        assert "\n" not in str(caught.value)


def test_corrupt_pixels_are_refused(tmp_path):
    image.write(tmp_path / "a.png", torch.rand(64, 64, 3))
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[100:400] = bytes(300)
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UserError, match="corrupt"):
        image.read(tmp_path / "a.png")


def test_things_that_are_no_pictures_are_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    for path, reason in (
        (tmp_path / "none.png", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty.png", "is empty"),
        (tmp_path / "text.png", "not a picture"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            image.read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    image.write(tmp_path / "a.png", torch.rand(40, 40, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(UserError, match="more pixels"):
        image.read(tmp_path / "a.png")


def test_a_style_picture_must_have_some_size(tmp_path):
    image.write(tmp_path / "one.png", torch.rand(1, 1, 3))
    image.write(tmp_path / "thin.png", torch.rand(200, 15, 3))
    image.write(tmp_path / "small.png", torch.rand(16, 16, 3))
    assert image.read(tmp_path / "one.png").shape == (1, 1, 3)
    with pytest.raises(UserError, match="1×1 pixels"):
        image.read_style(tmp_path / "one.png")
    with pytest.raises(UserError, match="15×200 pixels"):
        image.read_style(tmp_path / "thin.png", size=(64, 64))
    assert image.read_style(tmp_path / "small.png", size=(20, 30)).shape == (20, 30, 3)


def test_reading_to_a_size(tmp_path):
    image.write(tmp_path / "a.png", ramp(30, 40))
    assert image.read(tmp_path / "a.png", size=(15, 21)).shape == (15, 21, 3)


def test_writing_refuses_other_suffixes_and_other_shapes(tmp_path):
    for name in ("a.webp", "a", "a.png.txt"):
        with pytest.raises(UserError, match=r"must end in \.png"):
            image.write(tmp_path / name, ramp())
    with pytest.raises(ValueError, match=r"\[3, 4, 4\]"):
        image.write(tmp_path / "a.png", torch.rand(3, 4, 4))
    with pytest.raises(ValueError, match="finite"):
        image.write(tmp_path / "a.png", torch.full((4, 4, 3), float("nan")))
    assert list(tmp_path.iterdir()) == []


def test_resizing_keeps_a_constant_and_the_mean():
    flat = torch.full((37, 53, 3), 0.3)
    assert close(image.resize(flat, 11, 90), torch.full((11, 90, 3), 0.3), 1e-6)
    noise = torch.rand(64, 64, 3)
    assert abs(image.resize(noise, 16, 16).mean() - noise.mean()) < 0.01


def test_resizing_is_antialiased_and_stays_in_range():
    stripes = (torch.arange(126) % 2).float()[None, :, None].expand(16, 126, 3)
    small = image.resize(stripes, 16, 42)  # every third pixel, which alternates just as the stripes do
    assert (small[:, 2:-2] - 0.5).abs().max() < 0.05  # without the filter: all 0 or all 1
    step = (torch.arange(64) > 31).float()[None, :, None].expand(8, 64, 3)
    large = image.resize(step, 8, 256)
    assert large.min() >= 0
    assert large.max() <= 1


def test_fitting_the_long_side_keeps_the_aspect():
    assert image.fit_long_side(torch.rand(300, 400, 3), 200).shape == (150, 200, 3)
    assert image.fit_long_side(torch.rand(40, 30, 3), 80).shape == (80, 60, 3)
    assert image.fit_long_side(torch.rand(1, 500, 3), 50).shape == (1, 50, 3)
    same = torch.rand(5, 4, 3)
    assert torch.equal(image.fit_long_side(same, 5), same)


def test_a_contact_sheet_by_hand():
    red, green, blue = (torch.eye(3)[i] for i in range(3))
    rows = [[red.expand(4, 6, 3), green.expand(8, 4, 3)], [blue.expand(2, 2, 3)]]
    sheet = image.contact_sheet(rows, padding=1)
    # row 1: height 4, widths 6 and 2; row 2: height 2, width 2; one pixel of white around and between
    wanted = torch.ones(1 + 4 + 1 + 2 + 1, 1 + 6 + 1 + 2 + 1, 3)
    wanted[1:5, 1:7] = red
    wanted[1:5, 8:10] = green
    wanted[6:8, 1:3] = blue
    assert close(sheet, wanted, 1e-6)


def test_a_contact_sheet_of_given_height():
    sheet = image.contact_sheet([[torch.rand(10, 20, 3), torch.rand(30, 30, 3)]] * 2, height=50, padding=5)
    assert sheet.shape == (5 + 50 + 5 + 50 + 5, 5 + 100 + 5 + 50 + 5, 3)
    for rows in ([], [[]], [[torch.rand(2, 2, 3)], []]):
        with pytest.raises(ValueError, match="at least one picture"):
            image.contact_sheet(rows)


def test_a_mask_is_1_where_it_is_white(tmp_path, caplog):
    values = np.array([[0, 255, 102], [255, 0, 255]], dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(values).convert("1", dither=Image.Dither.NONE).save(tmp_path / "bits.png")
    assert close(image.read_mask(tmp_path / "grey.png", (2, 3)), torch.tensor([[0, 1, 0.4], [1, 0, 1]]), 1e-6)
    assert image.read_mask(tmp_path / "bits.png", (2, 3)).tolist() == [[0, 1, 0], [1, 0, 1]]
    assert not caplog.records


def test_a_mask_of_another_size_is_resized_with_a_warning(tmp_path, caplog):
    half = torch.zeros(20, 40, 3)
    half[:, 20:] = 1
    image.write(tmp_path / "a.png", half)
    mask = image.read_mask(tmp_path / "a.png", (30, 10))
    assert mask.shape == (30, 10)
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask[:, :4].max() < 0.05
    assert mask[:, 6:].min() > 0.95
    assert caplog.messages == [f"{tmp_path / 'a.png'} is 40×20 pixels; resized to 10×30"]
    image.read_mask(tmp_path / "a.png", (10, 20), native=(20, 40))  # the picture that it belongs to was shrunk as well
    assert len(caplog.messages) == 1


def test_masks_that_are_empty_or_no_pictures_are_refused(tmp_path):
    image.write(tmp_path / "black.png", torch.full((8, 8, 3), 0.4))
    for path, message in (
        (tmp_path / "black.png", "black.png is empty as a mask: nothing in it is white"),
        (tmp_path / "none.png", "no picture at"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(UserError, match=message) as refusal:
            image.read_mask(path, (8, 8))
        assert "\n" not in str(refusal.value)


def test_names_of_pictures_that_can_be_written(tmp_path):
    for name in ("a.png", "a.JPG", "b.c.jpeg"):
        assert image.check_name(tmp_path / name) == tmp_path / name
    for name in ("a", "a.bmp", "a.png.tif", "png"):
        with pytest.raises(UserError, match=r"must end in \.png, \.jpg, \.jpeg"):
            image.check_name(tmp_path / name)


def test_real_pictures_are_read(assets):
    for path in sorted((assets / "styles").glob("*.jpg"))[:2]:
        picture = image.read_style(path)
        assert min(picture.shape[:2]) >= 450
        assert 0 <= picture.min() < 0.2
        assert 0.8 < picture.max() <= 1


def test_pictures_are_found_in_folders(tmp_path, caplog):
    """J14: of every kind that can be read; what is a picture of another kind is counted and named."""
    names = ("b.png", "a.JPG", "sub/c.jpeg", "d.webp", "e.TIF", "f.bmp", "g.heic", "h.gif", "i.jp2")
    for name in (*names, "notes.txt", ".hidden.png"):
        path = tmp_path / "all" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "all" / "folder.png").mkdir()
    found = [str(p.relative_to(tmp_path / "all")) for p in image.pictures_in(tmp_path / "all")]
    assert found == ["a.JPG", "b.png", "d.webp", "e.TIF", "f.bmp", "g.heic", "h.gif", "i.jp2", "sub/c.jpeg"]
    assert not caplog.records
    for name in ("1.jxl", "2.CR2", "3.svg", "4.dng"):
        (tmp_path / "all" / name).touch()
    assert len(image.pictures_in(tmp_path / "all")) == 9
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'all'}: 4 pictures are left out (1.jxl, 2.CR2, 3.svg, …)")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no picture \(\.png, "):
        image.pictures_in(tmp_path / "empty")
    with pytest.raises(UserError, match=r"no folder at .*nowhere"):
        image.pictures_in(tmp_path / "nowhere")


def test_a_video_is_told_from_a_broken_picture(tmp_path):
    (tmp_path / "holiday.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(64))
    with pytest.raises(UserError, match=r"holiday\.mp4 is a video; arf video paints videos"):
        image.read(tmp_path / "holiday.mp4")


def test_what_is_no_picture_is_told_at_the_door():
    """J20."""
    image.check_picture(torch.rand(4, 5, 3, dtype=torch.float64), "photo")
    image.check_picture(torch.rand(4, 5, 3) * 1.0005, "photo")  # as after somebody's resizing
    for picture, message in (
        ((torch.rand(4, 5, 3) * 255).byte(), r"the photo is a tensor of floating-point numbers in \[0, 1\], got uint8"),
        (np.zeros((4, 5, 3), np.float32), "got ndarray"),
        (torch.rand(3, 4, 5), r"the photo is \[H, W, 3\], got \[3, 4, 5\]"),
        (torch.rand(1, 4, 5, 3), r"got \[1, 4, 5, 3\]"),
        (torch.rand(0, 5, 3), r"got \[0, 5, 3\]"),
        (torch.tensor([0.5, 250.0])[:, None, None].expand(2, 5, 3), r"in \[0, 1\], got values from 0\.5 to 250"),
        (torch.rand(4, 5, 3) - 1, "got values from -"),
        (torch.full((4, 5, 3), torch.nan), "got values from nan"),
    ):
        with pytest.raises(ValueError, match=message):
            image.check_picture(picture, "photo")


@pytest.mark.parametrize(("size", "long_side", "least", "fitted"), [
    ((40, 60), 120, 16, (80, 120)), ((40, 60), 15, 16, (16, 24)), ((20, 2000), 384, 16, (16, 1600)),
    ((2000, 20), 384, 16, (1600, 16)), ((20, 1000), 64, 1, (1, 64)),
])  # fmt: skip
def test_styles_of_odd_sizes_keep_enough_on_their_short_side(size, long_side, least, fitted):
    """J13."""
    assert image.fit_style(torch.rand(*size, 3), long_side, least).shape == (*fitted, 3)

"""Pictures against their cameras: images_N, EXIF, one common factor, and what fits none."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from captures import FOCAL, HEIGHT, WIDTH, load, names, ring, transforms, write_picture, write_transforms
from PIL import ExifTags, Image

from arf.errors import UserError
from arf.radiance.capture.shots import choose_factor


def write_sideways(path: Path, width: int = WIDTH, height: int = HEIGHT, orientation: int = 6) -> None:
    """A picture of this size upright, whose file holds it turned, as telephones write it."""
    write_picture(path, width=width, height=height)
    with Image.open(path) as upright:
        stored = upright.transpose(Image.Transpose.ROTATE_90)  # orientation 6 turns it back
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored.save(path, exif=exif)


def test_picture_of_another_size(tmp_path):
    root = write_transforms(tmp_path, ring(4))
    write_picture(root / "images/02.png", width=12, height=8)
    with pytest.raises(UserError, match=r"02\.png is 12×8 pixels but its camera 24×16"):
        load(root)


def test_choose_factor():
    assert [choose_factor([1, 2, 4], d) for d in (1, 1.9, 2, 3, 4, 100)] == [1, 1, 2, 2, 4, 4]
    assert choose_factor([8], 1) == 8


@pytest.mark.parametrize("all_of_them", [True, False])
def test_exif_is_applied_where_only_that_fits(tmp_path, all_of_them):
    """C12: stored sideways, the camera upright."""
    root = write_transforms(tmp_path, ring(4))
    for i in range(4 if all_of_them else 1):
        write_sideways(root / f"images/{i:02d}.png")
    capture = load(root)
    for part in (capture.train, capture.held_out):
        for i, name in enumerate(names(part)):
            assert part.sources[i].upright == (all_of_them or name == "00.png")
            image = part.image(i)
            assert image.shape == (HEIGHT, WIDTH, 3)
            assert image[:, : WIDTH // 2, 0].min() == 1  # the left half is red
            assert image[:, WIDTH // 2 :, 0].max() < 0.6


def test_exif_is_not_applied_where_the_stored_pixels_fit(tmp_path):
    """C12: cameras are mostly calibrated on the pixels as stored."""
    meta = transforms(ring(3), w=HEIGHT, h=WIDTH, cx=HEIGHT / 2, cy=WIDTH / 2)
    for i in range(3):
        write_sideways(tmp_path / f"images/{i:02d}.png")
    (tmp_path / "transforms.json").write_text(json.dumps(meta))
    views = load(tmp_path).train
    assert not views.sources[0].upright
    image = views.image(0)
    assert image.shape == (WIDTH, HEIGHT, 3)
    assert image[WIDTH // 2 :, :, 0].min() == 1  # the lower half is red: as stored
    assert image[: WIDTH // 2, :, 0].max() < 0.6


def test_turned_without_exif_fits_nothing(tmp_path):
    root = write_transforms(tmp_path, ring(3))
    write_sideways(root / "images/01.png", orientation=1)
    with pytest.raises(UserError, match=r"01\.png is 16×24 pixels but its camera 24×16"):
        load(root)


@pytest.mark.parametrize(("width", "height"), [(WIDTH // 2, HEIGHT // 2), (2 * WIDTH, 2 * HEIGHT), (9, 6), (7, 5)])
def test_one_common_factor_scales_the_cameras(tmp_path, caplog, width, height):
    """C12: all pictures smaller than their cameras say; with a word."""
    root = write_transforms(tmp_path, ring(4))
    for i in range(4):
        write_picture(root / f"images/{i:02d}.png", i, width, height)
    with caplog.at_level(logging.WARNING):
        views = load(root).train
    assert len(caplog.messages) == 1
    assert "times as large as their cameras say" in caplog.text
    assert views.size(0) == (height, width)
    assert views.cameras[0].fx == pytest.approx(FOCAL * width / WIDTH)
    assert views.cameras[0].fy == pytest.approx(FOCAL * height / HEIGHT)
    assert views.image(0).shape == (height, width, 3)


def test_a_common_factor_of_pictures_stored_sideways(tmp_path):
    """C12, both at once."""
    root = write_transforms(tmp_path, ring(4))
    for i in range(4):
        write_sideways(root / f"images/{i:02d}.png", WIDTH // 2, HEIGHT // 2)
    views = load(root).train
    assert views.sources[0].upright
    assert views.image(0).shape == (HEIGHT // 2, WIDTH // 2, 3)


def test_a_downscale_is_of_the_photographs_that_are_there(tmp_path):
    root = write_transforms(tmp_path, ring(3), w=2400, h=1600, cx=1200, cy=800, fl_x=2000, fl_y=2000)
    assert load(root).train.size(0) == (HEIGHT, WIDTH)  # a hundredth already, and not shrunk again
    assert load(root, downscale=2).train.size(0) == (HEIGHT // 2, WIDTH // 2)


def with_halves(root: Path) -> Path:
    write_transforms(root, ring(4))
    for i in range(4):
        write_picture(root / f"images_2/{i:02d}.png", i, WIDTH // 2, HEIGHT // 2)
    return root


def test_images_n_are_read_where_they_are_large_enough(tmp_path):
    root = with_halves(tmp_path)
    for downscale, folder, size in ((1, "images", (16, 24)), (2, "images_2", (8, 12)), (4, "images_2", (4, 6))):
        views = load(root, downscale=downscale).train
        assert views.files[0].parent.name == folder
        assert views.size(0) == size
    for path in (root / "images").iterdir():
        path.unlink()
    views = load(root).train
    assert views.size(0) == (8, 12)
    assert views.cameras[0].fx == FOCAL / 2


def test_images_n_of_another_suffix(tmp_path):
    """C12."""
    root = with_halves(tmp_path)
    for path in sorted((root / "images_2").iterdir()):
        with Image.open(path) as picture:
            picture.save(path.with_suffix(".JPG"))
        path.unlink()
    assert load(root, downscale=2).train.files[0].name.endswith(".JPG")


@pytest.mark.parametrize("how", ["turned", "cropped"])
def test_images_n_that_do_not_fit_fall_back_to_images(tmp_path, caplog, how):
    """C12."""
    root = with_halves(tmp_path)
    size = (HEIGHT // 2, WIDTH // 2) if how == "turned" else (10, 4)
    for i in range(4):
        write_picture(root / f"images_2/{i:02d}.png", i, *size)
    with caplog.at_level(logging.WARNING):
        views = load(root, downscale=2).train
    assert views.files[0].parent.name == "images"
    assert views.size(0) == (HEIGHT // 2, WIDTH // 2)
    assert "reading images instead" in caplog.text
    for path in (root / "images").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"images_2/00\.png is .* pixels but its camera 12×8"):
        load(root, downscale=2)


def test_incomplete_images_n_are_not_read(tmp_path):
    root = with_halves(tmp_path)
    (root / "images_2/03.png").unlink()
    views = load(root, downscale=2).train
    assert views.files[0].parent.name == "images"
    assert len(views) == 3


def test_size_that_only_images_n_tell(tmp_path):
    """C8: the camera's size is that of the original photographs."""
    root = with_halves(tmp_path)
    meta = {"fl_x": FOCAL, "frames": transforms(ring(4))["frames"]}
    (root / "transforms.json").write_text(json.dumps(meta))
    for path in (root / "images").iterdir():
        path.unlink()
    camera = load(root).train.cameras[0]
    assert (camera.fx, camera.cx, camera.size) == (FOCAL / 2, WIDTH / 4, (HEIGHT // 2, WIDTH // 2))


def test_a_wide_lens_is_capped_aloud(tmp_path, caplog):
    root = write_transforms(tmp_path, ring(4), is_fisheye=True, fl_x=6, fl_y=6, k4=0.001)
    with caplog.at_level(logging.WARNING):
        views = load(root).train
    assert len(caplog.messages) == 1
    assert "field of view capped at 120° in 4 of 4" in caplog.text
    assert views.size(0)[1] == round(2 * 6 * 3**0.5)
    assert views.photograph(0).image.shape == (*views.size(0), 3)

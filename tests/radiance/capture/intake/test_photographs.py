from __future__ import annotations

import numpy as np
import pytest
from PIL import ExifTags, Image
from samples import photo

from arf.errors import UserError
from arf.radiance.capture.intake import photographs
from arf.radiance.capture.intake.photographs import take_photographs
from arf.radiance.capture.intake.pile import gather
from arf.radiance.capture.intake.taken import free_name, is_plain


def picture(seed: int = 0, size=(64, 48)) -> Image.Image:
    return Image.fromarray((photo(size[1], size[0], seed).numpy() * 255).astype(np.uint8))


def take(root, before=(), told=lambda *_: None):
    return take_photographs(gather([root / "in"]), root / "out", before, set(), 2, told)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_upright_pictures_are_copied_as_they_are(root, suffix):
    picture().save(root / "in" / f"a{suffix}")
    (taken,), skipped = take(root)
    assert not skipped
    assert (taken.name, taken.shown, taken.size) == (f"a{suffix}", f"a{suffix}", (64, 48))
    assert (root / "out" / "images" / taken.name).read_bytes() == (root / "in" / f"a{suffix}").read_bytes()


def test_a_sideways_photograph_comes_upright(root):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise
    picture().save(root / "in" / "a.jpg", exif=exif, quality=95)
    (taken,), _ = take(root)
    with Image.open(root / "out" / "images" / "a.jpg") as file:
        assert file.size == taken.size == (48, 64)
        assert file.getexif().get(ExifTags.Base.Orientation, 1) == 1
        expected = np.asarray(picture().transpose(Image.Transpose.ROTATE_270)).astype(int)
        assert np.abs(np.asarray(file).astype(int) - expected).mean() < 8


@pytest.mark.parametrize(("name", "mode"), [("a.tif", "RGB"), ("a.webp", "RGB"), ("a.jpg", "CMYK"), ("a.png", "P")])
def test_others_become_pictures_that_everyone_reads(root, name, mode):
    picture().convert(mode).save(root / "in" / name)
    (taken,), _ = take(root)
    with Image.open(root / "out" / "images" / taken.name) as file:
        assert (file.format, file.mode, file.size) == ("JPEG", "RGB", (64, 48))


def test_heic_is_read(root):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    picture().save(root / "in" / "a.heic", quality=95)
    (taken,), _ = take(root)
    assert (taken.name, taken.shown) == ("a.jpg", "a.heic")


def test_without_a_reader_heic_is_never_skipped_in_silence(root, monkeypatch):
    picture().save(root / "in" / "b.png")
    (root / "in" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    monkeypatch.setattr("arf.media.decode._readers", lambda: ("PNG", "JPEG"))
    with pytest.raises(UserError, match="pip install pillow-heif"):
        take(root)


def test_a_damaged_one_is_skipped_and_said(root):
    picture(0).save(root / "in" / "a.png")
    picture(1, (640, 480)).save(root / "in" / "b.jpg")
    whole = (root / "in" / "b.jpg").read_bytes()
    (root / "in" / "b.jpg").write_bytes(whole[: len(whole) // 2])
    taken, (skipped,) = take(root)
    assert [one.name for one in taken] == ["a.png"]
    assert skipped.shown == "b.jpg"
    assert skipped.why.startswith("corrupt or cut short")
    (root / "in" / "a.png").unlink()
    with pytest.raises(UserError, match=r"none of 1 photographs can be read; b\.jpg: corrupt"):
        take(root)


def test_a_mask_comes_along_at_its_photographs_size_and_way_up(root):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture().save(root / "in" / "a.jpg", exif=exif)
    mask = np.zeros((24, 32), np.uint8)
    mask[:12] = 255  # the upper half as stored: the right half, upright
    (root / "in" / "masks").mkdir()
    Image.fromarray(mask).save(root / "in" / "masks" / "a.png")
    (taken,), _ = take(root)
    assert taken.mask
    for folder in ("masks", "colmap/masks"):
        written = np.asarray(Image.open(root / "out" / folder / "a.jpg.png"))
        assert written.shape == (64, 48)
        assert written[:, 25:].all()
        assert not written[:, :23].any()


def test_features_are_looked_for_where_a_picture_is_opaque(root):
    clear = picture().convert("RGBA")
    clear.putalpha(Image.fromarray(np.repeat([[255] * 32 + [0] * 32], 48, 0).astype(np.uint8)))
    clear.save(root / "in" / "a.png")
    (taken,), _ = take(root)
    assert not taken.mask  # transparent is not unknown
    assert not (root / "out" / "masks").exists()
    used = np.asarray(Image.open(root / "out" / "colmap" / "masks" / "a.png.png"))
    assert used[:, :32].all()
    assert not used[:, 32:].any()


def test_a_mask_of_another_shape_is_told(root):
    picture().save(root / "in" / "a.jpg")
    (root / "in" / "masks").mkdir()
    Image.new("L", (64, 20)).save(root / "in" / "masks" / "a.png")
    with pytest.raises(UserError, match="not of the shape of its photograph"):
        take(root)


def test_what_has_not_changed_is_not_made_again(root, monkeypatch):
    for i in range(3):
        picture(i).save(root / "in" / f"{i}.png")
    before, _ = take(root)
    picture(7).save(root / "in" / "1.png")
    made = []
    taken = photographs._taken
    monkeypatch.setattr(photographs, "_taken", lambda path, *rest: made.append(path.name) or taken(path, *rest))
    now, _ = take(root, before)
    assert made == ["1.png"]
    assert [one.name for one in now] == ["0.png", "1.png", "2.png"]
    assert now[0] == before[0]
    assert now[1] != before[1]


def test_a_blurred_photograph_is_less_sharp(root):
    picture(0, (640, 480)).save(root / "in" / "a.png")
    picture(0, (640, 480)).resize((64, 48)).resize((640, 480)).save(root / "in" / "b.png")
    (sharp, blurred), _ = take(root)
    assert blurred.sharp < 0.3 * sharp.sharp


def test_one_device_has_one_lens(root):
    for name, model in (("a", "One"), ("b", "One"), ("c", "Two")):
        exif = Image.Exif()
        exif[ExifTags.Base.Model] = model
        picture(ord(name)).save(root / "in" / f"{name}.jpg", exif=exif)
    taken, _ = take(root)
    assert [one.device for one in taken] == ["One 64x48", "One 64x48", "Two 64x48"]


def test_names_are_plain_and_differ():
    names: set[str] = set()
    given = ["IMG 1", "IMG_1", "img_1", "día/ü", "a\nb"]
    made = [free_name(name, names) for name in given]
    assert made == ["IMG_1", "IMG_1-2", "img_1-3", "d_a__", "a_b"]
    assert all(is_plain(f"{name}.jpg") for name in made)
    assert not any(map(is_plain, ["../a.jpg", "/a.jpg", ".a.jpg", "", "a\\b.jpg", "a\n"]))


def test_a_mask_that_has_gone_is_gone(root):
    picture().save(root / "in" / "a.jpg")
    (root / "in" / "masks").mkdir()
    Image.new("L", (64, 48)).save(root / "in" / "masks" / "a.png")
    before, _ = take(root)
    (root / "in" / "masks" / "a.png").unlink()
    (now,), _ = take(root, before)
    assert not now.mask
    assert not [*(root / "out").rglob("a.jpg.png")]

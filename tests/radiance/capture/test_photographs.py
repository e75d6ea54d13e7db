"""Photographs: pixels at the camera's size, transparency, masks, and formats."""

from __future__ import annotations

import json
import sys

import numpy as np
import pycolmap
import pytest
import torch
from captures import FOCAL, HEIGHT, WIDTH, load, names, ring, transforms, write_picture, write_transforms
from PIL import Image

from arf.errors import UserError
from arf.media import decode
from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.lens import Lens
from arf.radiance.capture.photographs import Photograph, Source, read_photograph

OPAQUE, HOLED = np.full((HEIGHT, WIDTH, 4), 255, np.uint8), np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
HOLED[:, :6, 3] = 0


def view(capture, name: str) -> Photograph:
    part = capture.train if name in names(capture.train) else capture.held_out
    return part.photograph(names(part).index(name))


def test_downscaling_averages_over_each_new_pixel(tmp_path):
    root = write_transforms(tmp_path, ring(2))
    stripes = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    stripes[:, ::2] = 200  # aliasing would turn these into black or white
    for name in ("00", "01"):
        Image.fromarray(stripes).save(root / f"images/{name}.png")
    np.testing.assert_allclose(load(root, downscale=2).train.image(0), 100 / 255, atol=1e-6)


@pytest.mark.parametrize(("background", "expected"), [((1.0, 1, 1), [0.75, 0.5, 0.5]), ((0.0, 1, 0), [0.25, 0.5, 0])])
def test_transparent_pictures_are_laid_on_the_background(tmp_path, background, expected):
    root = write_transforms(tmp_path, ring(3))
    for i in range(3):
        pixels = np.broadcast_to(np.array([128, 0, 0, 128], dtype=np.uint8), (HEIGHT, WIDTH, 4))
        Image.fromarray(pixels.copy()).save(root / f"images/{i:02d}.png")
    photograph = load(root, background=background).train.photograph(0)
    np.testing.assert_allclose(photograph.image[3, 4], expected, atol=0.006)
    np.testing.assert_allclose(photograph.alpha, 128 / 255, atol=1e-6)
    assert torch.equal(photograph.weight, photograph.alpha)


def test_any_transparent_photograph_makes_a_capture_transparent(tmp_path):
    """C16: not only the first file counts, and statistics are weighted by alpha."""
    root = write_transforms(tmp_path, ring(9))
    assert not load(root).train.transparent
    Image.fromarray(HOLED).save(root / "images/05.png")
    capture = load(root, held_out=0.01, seed=1)
    assert "05.png" in names(capture.train)
    assert capture.train.transparent
    assert view(capture, "03.png").alpha is None
    weight = view(capture, "05.png").weight
    assert weight[:, :6].max() == 0
    assert weight[:, 6:].min() == 1


def write_masks(tmp_path, entries: dict[int, str | None], **extra):
    """A capture in which some frames name a mask whose left quarter is black."""
    root = write_transforms(tmp_path, ring(6))
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, :6] = 0
    (root / "masks").mkdir()
    Image.fromarray(mask).save(root / "masks/black_left.png")
    meta = transforms(ring(6), **extra)
    for i, name in entries.items():
        meta["frames"][i] |= {"mask_path": name}
    meta["frames"][3]["depth_file_path"] = "depths/nowhere.png"
    (root / "transforms.json").write_text(json.dumps(meta))
    return root


def test_masks_are_used_where_they_are(tmp_path):
    """C11: some frames have a mask, some a depth, which is not read."""
    capture = load(write_masks(tmp_path, {1: "masks/black_left.png", 4: "masks\\black_left"}))
    assert view(capture, "00.png").mask is None
    assert view(capture, "00.png").weight is None
    for name in ("01.png", "04.png"):
        photograph = view(capture, name)
        assert not photograph.mask[:, :6].any()
        assert photograph.mask[:, 6:].all()
        assert torch.equal(photograph.weight, photograph.mask.float())


def test_a_missing_mask_and_one_of_another_shape(tmp_path):
    """C11."""
    with pytest.raises(UserError, match=r"frame images/02\.png names the mask 'masks/no\.png', which is missing"):
        load(write_masks(tmp_path / "a", {2: "masks/no.png"}))
    with pytest.raises(UserError, match=r"names the mask 7, which is missing"):
        load(write_masks(tmp_path / "b", {2: 7}))
    root = write_masks(tmp_path / "c", {2: "masks/black_left.png"})
    write_picture(root / "masks/black_left.png", width=HEIGHT, height=WIDTH)
    with pytest.raises(UserError, match=r"black_left\.png is not of the shape of its photograph"):
        load(root)


@pytest.mark.parametrize("name", ["00.png", "00.png.png", "00.jpg"])
def test_a_folder_of_masks_beside_the_images(tmp_path, name):
    """C11: COLMAP's and nerfstudio's names."""
    root = write_transforms(tmp_path, ring(3))
    (root / "masks").mkdir()
    Image.fromarray(np.uint8([[0, 255]])).resize((WIDTH, HEIGHT), 0).save(root / "masks" / name, quality=95)
    capture = load(root)
    mask = view(capture, "00.png").mask
    assert not mask[:, : WIDTH // 2].any()
    assert mask[:, WIDTH // 2 :].all()
    assert view(capture, "01.png").mask is None


def test_a_pixel_counts_where_all_of_the_photograph_under_it_does(tmp_path):
    root = write_masks(tmp_path, {0: "masks/black_left.png"})
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[5, 7] = 0
    Image.fromarray(mask).save(root / "masks/black_left.png")
    capture = load(root, downscale=4)
    found = view(capture, "00.png").mask
    assert found.shape == (4, 6)
    assert not found[1, 1]
    assert found.sum() == 23
    Image.fromarray(mask // 255).save(root / "masks/black_left.png")  # zeros and ones mean the same
    assert torch.equal(view(load(root, downscale=4), "00.png").mask, found)


def test_masks_and_alpha_are_undistorted_like_the_photograph(tmp_path):
    root = write_masks(tmp_path, {0: "masks/black_left.png", 1: "masks/black_left.png"}, k1=-0.3, fl_x=18, fl_y=18)
    for i in (0, 1):
        colors = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        colors[:, 6:] = 255  # white and opaque, where the mask is, too
        Image.fromarray(colors).save(root / f"images/{i:02d}.png")
    capture = load(root, background=(0, 0, 0))
    photograph = view(capture, "00.png")
    assert photograph.image.shape[:2] == photograph.mask.shape == photograph.alpha.shape
    assert photograph.image.shape[1] > WIDTH  # a barrel: straightened, it is wider
    assert 0.5 < photograph.mask.float().mean() < 0.9
    assert photograph.image[photograph.mask].min() > 0.99
    assert photograph.alpha[photograph.mask].min() > 0.99


def test_16_bits_are_refused(tmp_path):
    root = write_transforms(tmp_path, ring(3))
    for i in range(3):
        Image.fromarray(np.full((HEIGHT, WIDTH), 40000, np.uint16)).save(root / f"images/{i:02d}.png")
    with pytest.raises(UserError, match="I;16 pixels; a capture needs 8-bit pictures"):
        load(root).train.image(0)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".tif", ".avif", ".heic"])
def test_every_format_is_read(tmp_path, suffix):
    """C21: HEIC, too, where pillow-heif is installed."""
    if suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif suffix == ".avif" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow writes no AVIF")
    root = write_transforms(tmp_path, ring(3))
    for path in sorted((root / "images").iterdir()):
        with Image.open(path) as picture:
            picture.convert("RGB").resize((4 * WIDTH, 4 * HEIGHT), 0).save(path.with_suffix(suffix.upper()), quality=95)
        path.unlink()
    meta = transforms(ring(3), w=4 * WIDTH, h=4 * HEIGHT, fl_x=4 * FOCAL, fl_y=4 * FOCAL, cx=2 * WIDTH, cy=2 * HEIGHT)
    (root / "transforms.json").write_text(json.dumps(meta))
    image = load(root).train.image(0)
    np.testing.assert_allclose(image[20, 10, 0], 1, atol=0.02)
    assert image[20, -10, 0] < 0.1


def test_heic_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    """C21: never skipped in silence."""
    root = write_transforms(tmp_path, ring(3))
    for path in (root / "images").iterdir():
        path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
        path.rename(path.with_suffix(".heic"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    decode._readers.cache_clear()
    try:
        with pytest.raises(UserError, match=r"00\.heic .*pip install pillow-heif"):
            load(root)
    finally:
        decode._readers.cache_clear()


def test_embedded_profiles_are_converted(tmp_path, monkeypatch):
    """C19, in 3D: by the one converter, which tests/media/test_decode.py holds to right values."""
    root = write_transforms(tmp_path, ring(3))
    before = load(root).train.image(0)
    monkeypatch.setattr("arf.radiance.capture.photographs.to_srgb", lambda p: Image.merge("RGB", p.split()[::-1]))
    assert torch.equal(load(root).train.image(0), before.flip(2))


@pytest.mark.parametrize("shrink", [1, 2, 4])
def test_an_undistorted_photograph_is_as_sharp_as_a_pinholes(tmp_path, shrink):
    """Against the means of an analytic scene over the pinhole's pixels: interpolation at the working size blurs."""
    width, height = 480, 320
    lens = Lens("OPENCV", (375.0, 375.0, 240.0, 160.0, 0.06, -0.08, 0.001, 0.0), width, height)

    def shown(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        waves = [np.sin(60 * x) * np.sin(55 * y), np.sin(110 * x + 40 * y), np.sign(np.sin(23 * x) * np.sin(19 * y))]
        return 0.5 + 0.4 * np.stack(waves, -1)

    def means(values: np.ndarray, k: int) -> np.ndarray:
        h, w = values.shape[:2]
        return values.reshape(h // k, k, w // k, k, 3).mean((1, 3))

    camera = pycolmap.Camera(model="OPENCV", width=width, height=height, params=lens.params)
    u, v = np.meshgrid((np.arange(2 * width) + 0.5) / 2, (np.arange(2 * height) + 0.5) / 2)
    rays = np.asarray(camera.cam_from_img(np.stack([u.ravel(), v.ravel()], 1))).reshape(*u.shape, 2)
    photograph = means(shown(rays[..., 0], rays[..., 1]), 2)
    Image.fromarray((photograph * 255).round().astype(np.uint8)).save(tmp_path / "photograph.png")
    pinhole = lens.pinhole.resized(round(lens.pinhole.width / shrink), round(lens.pinhole.height / shrink))
    x = ((np.arange(4 * pinhole.width) + 0.5) / 4 - pinhole.cx) / pinhole.fx
    y = ((np.arange(4 * pinhole.height) + 0.5) / 4 - pinhole.cy) / pinhole.fy
    truth = means(shown(*np.meshgrid(x, y)), 4)
    view = Camera(torch.eye(4)[:3], *pinhole)
    found = read_photograph(Source(tmp_path / "photograph.png", lens=lens), view, (1.0, 1.0, 1.0))
    counted = np.ones(truth.shape[:2], bool) if found.mask is None else found.mask.numpy()
    error = np.sqrt(((found.image.numpy() - truth) ** 2)[counted].mean())
    assert error < {1: 0.03, 2: 0.02, 4: 0.03}[shrink]  # bilinear at the working size: 0.025, 0.04, 0.06

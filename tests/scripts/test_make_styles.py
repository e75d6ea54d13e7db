"""The bundled style pictures and the code that paints them."""

from __future__ import annotations

import importlib
import importlib.util
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from arf.media.image import read_style

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["geometric", "mosaic", "pointillism", "stained_glass", "strokes", "woodcut"]


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")  # where the script finds its painters when it is run
        spec = importlib.util.spec_from_file_location("make_styles", ROOT / "scripts" / "make_styles.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def pictures():
    return {name: read_style(ROOT / "data" / "styles" / f"{name}.jpg").numpy() for name in NAMES}


def test_every_style_is_bundled_and_nothing_else(script):
    assert sorted(script.NAMES) == NAMES
    assert sorted(path.name for path in (ROOT / "data" / "styles").iterdir()) == [f"{name}.jpg" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_size(name, pictures):
    assert (ROOT / "data" / "styles" / f"{name}.jpg").stat().st_size <= 300_000
    assert min(pictures[name].shape[:2]) >= 384


def palette(picture: np.ndarray) -> np.ndarray:
    """Shares of the 64 colours that two bits per channel tell apart."""
    levels = (picture * 3.999).astype(int) @ [16, 4, 1]
    return np.bincount(levels.ravel(), minlength=64) / levels.size


def marks(picture: np.ndarray) -> np.ndarray:
    """Contrast of the lightness at four sizes of mark: deviations of differences of Gaussians, an octave each."""
    grey = picture.mean(-1)
    levels = [ndimage.gaussian_filter(grey, sigma) for sigma in (0, 1, 2, 4, 8)]
    return np.array([np.std(fine - coarse) for fine, coarse in pairwise(levels)])


@pytest.mark.parametrize(("one", "other"), combinations(NAMES, 2))
def test_styles_differ_in_palette_and_marks(one, other, pictures):
    one, other = pictures[one], pictures[other]
    assert np.minimum(palette(one), palette(other)).sum() < 0.6  # 1: the same palette; 0.25 to 0.55 found
    assert np.abs(np.log(marks(one) / marks(other))).max() > np.log(1.2)  # at one size at least; 1.25 to 3.7 found


@pytest.mark.parametrize("name", NAMES)
def test_marks_are_everywhere(name, pictures):
    # Style features come from patches, so none may be a flat wash: the fine contrast of every 64-pixel square.
    grey = pictures[name].mean(-1)[:384, :512]
    fine = (grey - ndimage.gaussian_filter(grey, 4)).reshape(6, 64, 8, 64)
    assert fine.std((1, 3)).min() > 0.012


def test_same_seed_same_bytes(script, tmp_path, monkeypatch):
    canvas = importlib.import_module("styles.canvas")
    monkeypatch.setattr(canvas, "SHAPE", (canvas.HEIGHT, canvas.WIDTH))  # a ninth of the pixels
    monkeypatch.setattr(canvas, "UNIT", canvas.HEIGHT)
    first = script.make_style("woodcut", tmp_path / "first", seed=0)
    again = script.make_style("woodcut", tmp_path / "again", seed=0)
    other = script.make_style("woodcut", tmp_path / "other", seed=1)
    assert first.read_bytes() == again.read_bytes()
    assert np.abs(read_style(first).numpy() - read_style(other).numpy()).mean() > 0.02


def test_what_is_bundled_is_painted_again(script, tmp_path, pictures):
    made = read_style(script.make_style("woodcut", tmp_path, seed=0)).numpy()
    assert np.abs(made - pictures["woodcut"]).mean() < 0.02  # that much other versions of the libraries may change


def test_strokes_follow_the_field(script):
    canvas = importlib.import_module("styles.canvas")
    angle = np.full(canvas.SHAPE, np.pi / 6)
    (curve,) = canvas.follow(angle, np.array([[0.6, 0.5]]), np.array([0.2]))  # straight, for the angle is constant
    np.testing.assert_allclose(curve[[0, -1]].mean(0), (0.6, 0.5), atol=1e-12)
    np.testing.assert_allclose(curve[-1] - curve[0], 0.2 * np.array([np.cos(np.pi / 6), 0.5]), atol=1e-12)


def test_a_carved_tone_is_the_share_of_ink(script):
    woodcut = importlib.import_module("styles.woodcut")
    phase, along = np.meshgrid(np.linspace(0, 20, 4000, endpoint=False), np.arange(50))
    for tone in (0.1, 0.5, 0.8):
        mark = woodcut.carve(np.random.default_rng(0), phase, along, np.full(phase.shape, tone), rough=0)
        assert mark.mean() == pytest.approx(tone, abs=0.01)


def test_tesserae_do_not_pile_up(script):
    mosaic = importlib.import_module("styles.mosaic")
    shape, size = importlib.import_module("styles.canvas").SHAPE, 0.05
    centres, turns = mosaic.lay(np.random.default_rng(0), np.full(shape, 0.3), np.full(shape, size))
    assert len(centres) == int(512 / 384 / size**2)  # as many as the picture has room for
    assert (turns == 0.3).all()
    gaps = np.linalg.norm(centres[:, None] - centres, axis=-1) + np.eye(len(centres))
    assert gaps.min() > 0.6 * size
    assert np.median(gaps.min(0)) > 0.85 * size


def test_a_picture_is_shrunk_without_shifting(script):
    canvas = importlib.import_module("styles.canvas")
    x, y = canvas.grid()
    picture = canvas.finish(np.stack([x / canvas.ASPECT, y, np.full_like(x, 0.5)], -1))
    assert isinstance(picture, Image.Image)
    across, down = np.meshgrid((np.arange(512) + 0.5) / 512, (np.arange(384) + 0.5) / 384)
    np.testing.assert_allclose(np.asarray(picture)[..., :2] / 255, np.stack([across, down], -1), atol=1.5 / 255)

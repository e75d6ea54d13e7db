"""Lenses: every model undistorted against what it is, OpenCV's maps as oracle, and where a lens ends."""

from __future__ import annotations

import math
import signal
import subprocess
import sys

import cv2
import numpy as np
import pycolmap
import pytest
import torch
from PIL import Image

from arf.errors import UserError
from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.lens import MODELS, Lens, check_lens, sampling
from arf.radiance.capture.photographs import Source, read_photograph

WIDTH, HEIGHT = 161, 121  # odd
COEFFICIENTS = {
    "SIMPLE_PINHOLE": [120.0, 79, 62],
    "PINHOLE": [120.0, 110, 79, 62],
    "SIMPLE_RADIAL": [120.0, 79, 62, -0.15],
    "RADIAL": [120.0, 79, 62, -0.2, 0.03],
    "OPENCV": [120.0, 110, 79, 62, -0.12, 0.02, 0.003, -0.002],
    "OPENCV_FISHEYE": [90.0, 85, 79, 62, 0.04, -0.01, 0.003, -0.002],
    "FULL_OPENCV": [120.0, 110, 79, 62, 0.3, 0.05, 0.001, 0.002, 0.01, 0.4, 0.02, 0.005],
    "FOV": [110.0, 108, 79, 62, 0.9],
    "SIMPLE_RADIAL_FISHEYE": [90.0, 79, 62, 0.03],
    "RADIAL_FISHEYE": [90.0, 79, 62, 0.03, -0.01],
    "THIN_PRISM_FISHEYE": [90.0, 85, 79, 62, 0.03, -0.01, 0.001, 0.002, 0.002, 0.0, 0.001, 0.002],
    "RAD_TAN_THIN_PRISM_FISHEYE": [90.0, 85, 79, 62, 0.02, 0, 0, 0, 0, 0, 0.001, 0.001, 0.001, 0, 0.001, 0],
    "SIMPLE_DIVISION": [120.0, 79, 62, -0.1],
    "DIVISION": [120.0, 110, 79, 62, -0.1],
    "SIMPLE_FISHEYE": [90.0, 79, 62],
    "FISHEYE": [90.0, 85, 79, 62],
    "EUCM": [110.0, 108, 79, 62, 0.6, 1.1],
    "EQUIRECTANGULAR": [161.0, 121],
}


def lens(model: str, width: int = WIDTH, height: int = HEIGHT) -> Lens:
    return Lens(model, tuple(map(float, COEFFICIENTS[model])), width, height)


def scene(directions: np.ndarray) -> np.ndarray:
    """A smooth colour for every direction [..., 3]: [..., 3]."""
    unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    return 0.5 + 0.4 * np.sin(5 * unit @ np.array([[1.0, 0.3, 0.5], [0.2, 1.1, -0.7], [0.4, 0.5, 0.8]]) + [0, 1, 2])


def photograph(tmp_path, model: Lens):
    """What a lens sees of the scene, by pycolmap's inverse, as a file."""
    camera = pycolmap.Camera(model=model.model, width=model.width, height=model.height, params=model.params)
    u, v = np.meshgrid(np.arange(model.width) + 0.5, np.arange(model.height) + 0.5)
    pixels = np.stack([u.ravel(), v.ravel()], 1)
    if model.model == "EQUIRECTANGULAR":
        longitude, latitude = (pixels / [model.width, model.height] - 0.5).T * [[2 * np.pi], [np.pi]]
        c = np.cos(latitude)
        directions = np.stack([np.sin(longitude) * c, np.sin(latitude), np.cos(longitude) * c], 1)
    else:
        plane = np.array([p if (p := camera.cam_from_img(pixel)) is not None else (0, 0) for pixel in pixels])
        directions = np.concatenate([plane, np.ones((len(plane), 1))], 1)
    image = scene(directions).reshape(model.height, model.width, 3)
    Image.fromarray((image * 255).round().astype(np.uint8)).save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


def read(path, model: Lens, shrink: float = 1.0):
    p = model.pinhole
    p = p.resized(round(p.width / shrink), round(p.height / shrink))
    source = Source(path, lens=None if model.is_pinhole else model)
    return read_photograph(source, Camera(torch.eye(4)[:3], *p), (1.0, 1.0, 1.0)), p


@pytest.mark.parametrize("model", list(MODELS))
def test_undistorted_photograph_is_what_a_pinhole_sees(tmp_path, model):
    """C13, C15: every model of COLMAP, odd sizes."""
    assert len(COEFFICIENTS[model]) == MODELS[model]
    ours = lens(model)
    check_lens(ours, "test")
    found, pinhole = read(photograph(tmp_path, ours), ours)
    assert found.image.shape == (pinhole.height, pinhole.width, 3)
    x, y = np.meshgrid(
        (np.arange(pinhole.width) + 0.5 - pinhole.cx) / pinhole.fx,
        (np.arange(pinhole.height) + 0.5 - pinhole.cy) / pinhole.fy,
    )
    expected = scene(np.stack([x, y, np.ones_like(x)], -1))
    mask = np.ones_like(x, bool) if found.mask is None else found.mask.numpy()
    assert mask.mean() > 0.7
    error = np.abs(found.image.numpy() - expected)[mask]
    assert error.max() < 0.02
    assert error.mean() < 0.003


def test_models_are_numbered_as_colmap_numbers_them():
    for number, (name, count) in enumerate(MODELS.items()):
        assert int(getattr(pycolmap.CameraModelId, name)) == number
        assert pycolmap.Camera(model=name, width=9, height=9, params=[1.0] * count).verify_params()


def test_projection_is_opencvs():
    k1, k2, p1, p2 = 0.0578421, -0.0805099, -0.000980296, 0.00015575  # fox
    fx, fy, cx, cy = 687.76, 687.245, 277.279, 482.634
    points = np.concatenate([np.random.default_rng(0).uniform(-0.5, 0.5, (50, 2)), np.ones((50, 1))], 1)
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array([k1, k2, p1, p2]))
    ours = Lens("OPENCV", (fx, fy, cx, cy, k1, k2, p1, p2), 540, 960)
    np.testing.assert_allclose(ours.project(points), expected[:, 0], atol=1e-9)


@pytest.mark.parametrize("model", ["OPENCV", "FULL_OPENCV", "OPENCV_FISHEYE"])
def test_sampling_is_opencvs_map(model):
    """C10: fisheyes with k4; FULL_OPENCV with all eight coefficients."""
    ours = lens(model)
    fx, fy, cx, cy, *k = ours.params
    pinhole = ours.pinhole
    # OpenCV counts pixel centres as whole numbers.
    old = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    new = np.array([[pinhole.fx, 0, pinhole.cx - 0.5], [0, pinhole.fy, pinhole.cy - 0.5], [0, 0, 1]])
    rectify = cv2.fisheye.initUndistortRectifyMap if "FISHEYE" in model else cv2.initUndistortRectifyMap
    expected = np.stack(rectify(old, np.array(k), np.eye(3), new, pinhole[4:], cv2.CV_32FC1), -1)
    places, inside = sampling(ours, pinhole, (WIDTH, HEIGHT))
    np.testing.assert_allclose(places[inside], expected[inside], atol=2e-3)
    border = ((expected >= -0.5) & (expected <= (WIDTH - 0.5, HEIGHT - 0.5))).all(-1)
    assert (inside == border).mean() > 0.999


@pytest.mark.parametrize("model", [m for m in MODELS if m not in ("SIMPLE_PINHOLE", "PINHOLE", "EQUIRECTANGULAR")])
def test_pinhole_spans_the_middles_of_the_edges_and_keeps_the_focal_lengths(model):
    ours = lens(model)
    p = ours.pinhole
    right, bottom = p.width - p.cx, p.height - p.cy
    ends = [[-p.cx / p.fx, 0, 1], [right / p.fx, 0, 1], [0, -p.cy / p.fy, 1], [0, bottom / p.fy, 1]]
    found = ours.project(np.array(ends))[[0, 1, 2, 3], [0, 0, 1, 1]]
    np.testing.assert_allclose(found, [0, WIDTH, 0, HEIGHT], atol=0.7)  # the sides are whole pixels
    step = 1e-4
    slopes = (ours.project(np.array([[step, 0, 1], [0, step, 1]])) - ours.project(np.array([[0.0, 0, 1]]))) / step
    np.testing.assert_allclose([p.fx, p.fy], slopes.diagonal(), rtol=1e-3)
    if model != "FOV":
        assert p.fx == pytest.approx(ours.params[0])
        assert p.fy == pytest.approx(ours.params[1] if ours.params[1] > 80 else ours.params[0])
    else:
        assert p.fx == pytest.approx(110 * 2 * math.tan(0.45) / 0.9, rel=1e-6)


def test_no_lens_leaves_pixels_and_sizes_untouched(tmp_path):
    for model, params in (("PINHOLE", (99, 98, 80, 60)), ("OPENCV", (99, 98, 80, 60, 0, 0, 0, 0))):
        ours = Lens(model, tuple(map(float, params)), WIDTH, HEIGHT)
        assert ours.is_pinhole
        assert ours.pinhole == (99, 98, 80, 60, WIDTH, HEIGHT)
    assert Lens("RADIAL", (99.0, 80.0, 60.0, 0.0, 0.0), WIDTH, HEIGHT).pinhole == (99, 99, 80, 60, WIDTH, HEIGHT)
    assert not Lens("FISHEYE", (99.0, 98.0, 80.0, 60.0), WIDTH, HEIGHT).is_pinhole
    path = photograph(tmp_path, ours)
    found, _ = read(path, ours)
    np.testing.assert_array_equal(found.image * 255, np.asarray(Image.open(path)))
    assert found.mask is None


def test_wide_fisheye_is_capped(tmp_path):
    ours = Lens("OPENCV_FISHEYE", (50.0, 50.0, 100.0, 60.0, 0.0, 0.0, 0.0, 0.0), 200, 120)  # 115° to each side
    assert ours.is_capped
    assert ours.pinhole.width == round(2 * 50 * math.tan(math.radians(60)))
    assert ours.pinhole.cx == pytest.approx(50 * math.tan(math.radians(60)), rel=1e-6)
    assert not lens("OPENCV_FISHEYE").is_capped
    assert not lens("PINHOLE").is_capped


def test_pixels_beyond_the_fold_and_the_border_are_masked(tmp_path):
    # r (1 − 0.3 r²) grows up to r² = 1/0.9; the corners of this photograph lie beyond what the lens reaches.
    ours = Lens("SIMPLE_RADIAL", (60.0, 50.0, 50.0, -0.3), 100, 100)
    assert ours.pinhole.width < 2 * 60 * math.sqrt(1 / 0.9) + 1
    _, inside = sampling(ours, ours.pinhole, (100, 100))
    x = (np.arange(ours.pinhole.width) + 0.5 - ours.pinhole.cx) / 60
    radius = np.hypot(x, x[:, None])
    fold = math.sqrt(1 / 0.9)
    assert inside[radius < fold - 0.01].all()
    assert not inside[radius > fold + 0.01].any()
    # A cushion: what the pinhole's corners ask for is not in the photograph.
    ours = Lens("SIMPLE_RADIAL", (120.0, 79.0, 62.0, 0.2), WIDTH, HEIGHT)
    found, _ = read(photograph(tmp_path, ours), ours)
    assert not found.mask[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert found.image[0, 0].tolist() == [1, 1, 1]
    assert found.mask[60].all()


def test_shrinking_comes_first(tmp_path):
    """At a third of the size it is still what a pinhole sees."""
    ours = lens("OPENCV")
    found, p = read(photograph(tmp_path, ours), ours, shrink=3)
    x, y = np.meshgrid((np.arange(p.width) + 0.5 - p.cx) / p.fx, (np.arange(p.height) + 0.5 - p.cy) / p.fy)
    mask = np.ones_like(x, bool) if found.mask is None else found.mask.numpy()
    error = np.abs(found.image.numpy() - scene(np.stack([x, y, np.ones_like(x)], -1)))[mask]
    assert error.mean() < 0.005


@pytest.mark.parametrize(
    ("model", "params", "message"),
    [
        ("OPENCV", (99, 98, 80, 60, math.nan, 0, 0, 0), "not finite"),
        ("PINHOLE", (1e-9, 98, 80, 60), "focal length is 1e-09"),
        ("PINHOLE", (-99, 98, 80, 60), "focal length is -99"),
        ("SIMPLE_RADIAL", (99, 80, 60, -1e6), "no camera has the SIMPLE_RADIAL lens"),
        ("OPENCV_FISHEYE", (1e-9, 98, 80, 60, 0, 0, 0, 0), "no camera has|focal length"),
        ("FOV", (99, 98, 80, 60, 1e30), "no camera has|focal length"),
    ],
)
def test_lenses_that_no_camera_has(model, params, message):
    """J30."""
    with pytest.raises(UserError, match=message) as error:
        check_lens(Lens(model, tuple(map(float, params)), WIDTH, HEIGHT), "cameras.txt: camera 1")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("cameras.txt: camera 1: ")


def test_a_lens_does_not_change_what_a_signal_to_stop_says():
    code = """
import os, signal
import numpy as np
from arf.radiance.capture.lens import Lens
Lens("PINHOLE", (9.0, 9.0, 4.0, 4.0), 8, 8).project(np.ones((1, 3)))
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "", "")  # pycolmap alone: twenty lines

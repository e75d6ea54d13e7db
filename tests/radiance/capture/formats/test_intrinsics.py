"""Intrinsics in JSON: who wins, what is filled in, and what no camera has."""

from __future__ import annotations

import json
import math

import pytest
from captures import HEIGHT, WIDTH, load, names, ring, transforms, write_transforms

from arf.errors import UserError
from arf.radiance.capture.formats.intrinsics import resolve

SIZE = (640, 480)
FULL = {"fl_x": 500.0, "fl_y": 490.0, "cx": 318.5, "cy": 241.0, "w": 640, "h": 480}


def lens(frame: dict, root: dict | None = None, size=SIZE):
    return resolve(frame, root or {}, size, "transforms.json", "a.png")


def test_the_frames_own_value_wins_over_the_roots():
    """C7: instant-ngp's rule, value by value."""
    root = FULL | {"k1": 0.1, "p2": 0.01}
    assert lens({}, root).params == (500, 490, 318.5, 241, 0.1, 0, 0, 0.01)
    own = {"fl_x": 510.0, "fl_y": 520.0, "cx": 300.0, "k1": 0.2}
    assert lens(own, root).params == (510, 520, 300, 241, 0.2, 0, 0, 0.01)
    assert lens({"fl_x": 510.0}, root).params[:2] == (510, 510)  # not the root's other axis
    assert lens({"w": 320, "h": 240}, root).width == 320


@pytest.mark.parametrize(
    ("values", "focal"),
    [
        ({"fl_x": 500.0}, (500, 500)),
        ({"fl_y": 480.0}, (480, 480)),
        ({"camera_angle_x": 1.0}, (320 / math.tan(0.5),) * 2),
        ({"camera_angle_y": 0.8}, (240 / math.tan(0.4),) * 2),
        ({"camera_angle_x": 1.0, "camera_angle_y": 0.8}, (320 / math.tan(0.5), 240 / math.tan(0.4))),
        ({"camera_angle_x": 1.0, "fl_x": 500}, (500, 500)),
        ({"fl_x": 500, "camera_angle_y": 0.8}, (500, 240 / math.tan(0.4))),
    ],
)
def test_what_is_missing_follows(values, focal):
    """C8: focal length from the angle, fl_y = fl_x, centre and size from the picture."""
    found = lens({}, values)
    assert found.params[:2] == pytest.approx(focal)
    assert found.params[2:4] == (320, 240)
    assert (found.width, found.height) == SIZE
    assert found.is_pinhole
    smaller = lens({}, values | {"w": 320, "h": 240})
    assert smaller.params[2:4] == (160, 120)
    if "camera_angle_x" in values and "fl_x" not in values:
        assert smaller.params[0] == pytest.approx(focal[0] / 2)  # of the calibrated width


@pytest.mark.parametrize(
    ("values", "model", "coefficients"),
    [
        ({}, "OPENCV", (0, 0, 0, 0)),
        ({"camera_model": "PINHOLE"}, "OPENCV", (0, 0, 0, 0)),
        ({"k1": 1.0, "k2": 2.0, "p1": 3.0, "p2": 4.0}, "OPENCV", (1, 2, 3, 4)),
        ({"k1": 1.0, "k3": 0.5, "k6": 7.0}, "FULL_OPENCV", (1, 0, 0, 0, 0.5, 0, 0, 7)),
        ({"k1": 1.0, "k4": 0.5, "is_fisheye": True}, "OPENCV_FISHEYE", (1, 0, 0, 0.5)),
        ({"k4": 0.5, "camera_model": "OPENCV_FISHEYE"}, "OPENCV_FISHEYE", (0, 0, 0, 0.5)),
        ({"k1": 0.5, "camera_model": "SIMPLE_RADIAL_FISHEYE"}, "OPENCV_FISHEYE", (0.5, 0, 0, 0)),
        ({"is_fisheye": False, "camera_model": "OPENCV"}, "OPENCV", (0, 0, 0, 0)),
        ({"distortion_params": [1.0, 2.0, 0.0, 0.0, 3.0, 4.0]}, "OPENCV", (1, 2, 3, 4)),
    ],
)
def test_models(values, model, coefficients):
    """C7, C10, C13: is_fisheye, k4, and all eight coefficients."""
    for frame, root in (({}, FULL | values), (values, FULL)):
        found = lens(frame, root)
        assert found.model == model
        assert found.params == (500, 490, 318.5, 241, *coefficients)


def test_each_frame_may_have_its_own_model():
    assert lens({"camera_model": "OPENCV_FISHEYE"}, FULL | {"camera_model": "OPENCV"}).model == "OPENCV_FISHEYE"
    assert lens({"is_fisheye": False}, FULL | {"is_fisheye": True}).model == "OPENCV"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fl_x": None}, "'fl_x' is None"),
        ({"fl_x": "500"}, "'fl_x' is '500'"),
        ({"fl_x": True}, "'fl_x' is True"),
        ({"fl_x": 1e-9}, "'fl_x' is 1e-09"),
        ({"fl_x": math.inf}, "'fl_x' is inf"),
        ({"fl_x": 10**400}, "'fl_x' is 1000.*…"),
        ({"fl_x": 10**5000}, "'fl_x' is a very long number"),
        ({"fl_y": -3}, "'fl_y' is -3"),
        ({"w": 0}, "'w' is 0"),
        ({"w": 1e30}, r"'w' is 1e\+30"),
        ({"cx": math.nan}, "'cx' is nan"),
        ({"k1": math.nan}, "'k1' is nan"),
        ({"p2": [1]}, r"'p2' is \[1\]"),
        ({"k1": 1e30}, r"'k1' is 1e\+30"),
        ({"camera_angle_x": 4.0}, "camera_angle_x must be an angle in radians, not 4.0"),
        ({"camera_model": "PIGEON"}, "camera_model 'PIGEON' is not one of OPENCV"),
        ({"camera_model": ["OPENCV"]}, "camera_model .* is not one of OPENCV"),
        ({"is_fisheye": "yes"}, "'is_fisheye' is 'yes'"),
        ({"distortion_params": [0, 0]}, "'distortion_params' is not a list of k1"),
    ],
)
def test_values_that_no_camera_has(values, message):
    """J30, J42."""
    for frame, root in (({}, FULL | values), (values, FULL)):
        with pytest.raises(UserError, match=message) as error:
            lens(frame, root)
        assert str(error.value).startswith("transforms.json")
        assert ("frame a.png" in str(error.value)) == bool(frame)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 250
    with pytest.raises(UserError, match="lacks 'fl_x'"):
        lens({}, {"w": 640})


def test_only_an_angle_and_intrinsics_of_frames_through_the_door(tmp_path):
    """C6, C7, C8."""
    root = write_transforms(tmp_path, ring(4))
    meta = {"camera_angle_x": 1.2, "frames": transforms(ring(4))["frames"]}
    meta["frames"][0] |= {"fl_x": 30.0, "fl_y": 25.0, "cx": 11.0}
    (root / "transforms.json").write_text(json.dumps(meta))
    capture = load(root)
    cameras = {
        name: camera
        for part in (capture.train, capture.held_out)
        for name, camera in zip(names(part), part.cameras, strict=True)
    }
    assert cameras["01.png"].fx == cameras["01.png"].fy == pytest.approx(WIDTH / 2 / math.tan(0.6))
    assert (cameras["01.png"].cx, cameras["01.png"].cy) == (WIDTH / 2, HEIGHT / 2)
    first = cameras["00.png"]
    assert (first.fx, first.fy, first.cx, first.cy) == (30, 25, 11, HEIGHT / 2)

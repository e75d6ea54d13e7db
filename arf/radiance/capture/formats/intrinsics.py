"""Intrinsics in JSON, as nerfstudio, instant-ngp and Blender write them: one resolver for all three.

Each value is the frame's own, or else the root's. The focal length is `fl_x` and `fl_y`, or comes from `camera_angle_x`
and `camera_angle_y`; one of the two axes is enough. The centre defaults to the middle, the size to the photograph's.
Coefficients are OpenCV's: `k1` to `k6`, `p1`, `p2`, or `k1` to `k4` of a fisheye.
"""

from __future__ import annotations

import math
from typing import Any

from arf.errors import UserError
from arf.radiance.capture.lens import Lens

PERSPECTIVE = ("OPENCV", "FULL_OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
LISTED = ("k1", "k2", "k3", "k4", "p1", "p2")  # the order of nerfstudio's `distortion_params`
LARGEST = 100_000  # pixels of a side
STEEPEST = 1e5  # a coefficient beyond this describes no lens


def resolve(frame: dict[str, Any], root: dict[str, Any], size: tuple[int, int], path: str, name: str) -> Lens:
    """The lens of one frame.

    Args:
        frame, root: what the frame itself and the whole file say.
        size: (width, height) of the photograph, for what neither says.
        path, name: of the JSON and of the frame, for messages.

    Raises:
        UserError: no focal length, a value that no camera has, or a camera model that JSON does not know.
    """
    layers = [_Layer(frame, f"{path}: frame {name}"), _Layer(root, path)]
    width = _first(layers, "w", 1, LARGEST, "a positive number of pixels") or size[0]
    height = _first(layers, "h", 1, LARGEST, "a positive number of pixels") or size[1]
    width, height = round(width), round(height)
    fx, fy = _focal_lengths(layers, width, height)
    cx = _first(layers, "cx", -10 * width, 11 * width, "a number of pixels")
    cy = _first(layers, "cy", -10 * height, 11 * height, "a number of pixels")
    centre = (width / 2 if cx is None else cx, height / 2 if cy is None else cy)
    k = [_coefficient(layers, f"k{i}") for i in range(1, 7)]
    p = [_coefficient(layers, f"p{i}") for i in (1, 2)]
    if _is_fisheye(layers):
        return Lens("OPENCV_FISHEYE", (fx, fy, *centre, *k[:4]), width, height)
    if any(k[2:]):
        return Lens("FULL_OPENCV", (fx, fy, *centre, *k[:2], *p, *k[2:]), width, height)
    return Lens("OPENCV", (fx, fy, *centre, *k[:2], *p), width, height)


class _Layer(dict):
    """What one object of the JSON says, and where that is."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        super().__init__(values)
        self.where = where
        listed = values.get("distortion_params", [0.0] * len(LISTED))
        if not isinstance(listed, list) or len(listed) != len(LISTED):
            raise UserError(f"{where}: 'distortion_params' is not a list of {', '.join(LISTED)}")
        if "distortion_params" in values:
            self.update({key: value for key, value in zip(LISTED, listed, strict=True) if key not in values})

    def number(self, key: str, low: float, high: float, what: str) -> float | None:
        value = self.get(key)
        if key not in self:
            return None
        if isinstance(value, bool) or not isinstance(value, float | int) or not low <= value <= high:
            raise UserError(f"{self.where}: '{key}' is {short(value)}; it must be {what}")
        return float(value)

    def angle(self, key: str) -> float | None:
        value = self.get(key)
        if key not in self:
            return None
        if isinstance(value, bool) or not isinstance(value, float | int) or not 1e-3 < value < math.pi:
            raise UserError(f"{self.where}: {key} must be an angle in radians, not {short(value)}")
        return float(value)


def _first(layers: list[_Layer], key: str, low: float, high: float, what: str) -> float | None:
    return next((layer.number(key, low, high, what) for layer in layers if key in layer), None)


def _coefficient(layers: list[_Layer], key: str) -> float:
    return _first(layers, key, -STEEPEST, STEEPEST, f"a number between {-STEEPEST:g} and {STEEPEST:g}") or 0.0


def _focal_lengths(layers: list[_Layer], width: int, height: int) -> tuple[float, float]:
    for layer in layers:
        fx, fy = (_focal_length(layer, axis, side) for axis, side in (("x", width), ("y", height)))
        if fx or fy:
            return fx or fy, fy or fx
    keys = "'fl_x' (or 'camera_angle_x')"
    raise UserError(f"{layers[0].where} lacks {keys}; give it at the top level or in every frame")


def _focal_length(layer: _Layer, axis: str, side: int) -> float | None:
    what = f"a positive number of pixels, in proportion to a side of {side}"
    focal = layer.number(f"fl_{axis}", side / 100, side * 1000, what)
    angle = layer.angle(f"camera_angle_{axis}")
    return focal if focal or not angle else side / 2 / math.tan(angle / 2)


def _is_fisheye(layers: list[_Layer]) -> bool:
    model = next((layer for layer in layers if "camera_model" in layer), None)
    if model and model["camera_model"] not in PERSPECTIVE + FISHEYE:
        known = ", ".join(PERSPECTIVE + FISHEYE)
        raise UserError(f"{model.where}: camera_model {short(model['camera_model'])} is not one of {known}")
    flag = next((layer for layer in layers if "is_fisheye" in layer), None)
    if flag and not isinstance(flag["is_fisheye"], bool):
        raise UserError(f"{flag.where}: 'is_fisheye' is {short(flag['is_fisheye'])}; it must be true or false")
    return bool((flag and flag["is_fisheye"]) or (model and model["camera_model"] in FISHEYE))


def short(value: object) -> str:
    """A value of a stranger's file in few characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a very long number"
    return text if len(text) <= 40 else f"{text[:37]}…"

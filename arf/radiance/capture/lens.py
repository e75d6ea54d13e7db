"""Lenses: how a photograph departs from a pinhole's, and the pinhole picture that is made of it.

A lens is one of COLMAP's camera models (https://colmap.github.io/cameras.html), which `pycolmap` projects. Undistortion
needs no inverse: every pixel of the pinhole picture asks where the lens put its direction. That picture keeps the
lens's focal lengths at the axis, and spans what the middles of the photograph's four edges see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32

from arf.errors import UserError
from arf.radiance.capture.library import pycolmap

MODELS = {  # COLMAP's models in the order of their numbers, and how many parameters each has
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
    "FULL_OPENCV": 12,
    "FOV": 5,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL_FISHEYE": 5,
    "THIN_PRISM_FISHEYE": 12,
    "RAD_TAN_THIN_PRISM_FISHEYE": 16,
    "SIMPLE_DIVISION": 4,
    "DIVISION": 5,
    "SIMPLE_FISHEYE": 3,
    "FISHEYE": 4,
    "EUCM": 6,
    "EQUIRECTANGULAR": 2,
}
ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_DIVISION")
PLAIN = (*ONE_FOCAL, "PINHOLE", "OPENCV", "FULL_OPENCV", "DIVISION")  # pinholes where their coefficients are zero
WIDEST = math.tan(math.radians(60))  # of the half angles that a pinhole picture spans on each side of the axis
SAMPLES = 2048  # along each ray that is searched for the photograph's edge
NARROWEST, FARTHEST = 1e-2, 1e3  # focal lengths in sides of the photograph
LEAST = 0.05  # of the photograph's sides that a pinhole picture spans, or its lens is none
BAND = 1 << 18  # pixels that are projected at once


def is_known(model: str) -> bool:
    """Whether this is a camera model of COLMAP's, and the pycolmap that is installed knows it."""
    return model in MODELS and hasattr(pycolmap().CameraModelId, model)  # older ones know fewer


class Pinhole(NamedTuple):
    """Intrinsics in pixels of a picture of this size."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def resized(self, width: int, height: int) -> Pinhole:
        """The same view in a picture of another size, by the true ratio on each axis."""
        x, y = width / self.width, height / self.height
        return Pinhole(self.fx * x, self.fy * y, self.cx * x, self.cy * y, width, height)


@dataclass(frozen=True)
class Lens:
    """A calibrated camera.

    Attributes:
        model: the name of COLMAP's camera model.
        params: its parameters in COLMAP's order.
        width, height: of the photograph in whose pixels they are given.
    """

    model: str
    params: tuple[float, ...]
    width: int
    height: int

    def project(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
        """Where points in the camera's axes (x right, y down, z forwards) appear, in pixels; NaN where it sees none."""
        camera = pycolmap().Camera(model=self.model, width=self.width, height=self.height, params=self.params)
        return camera.img_from_cam(np.ascontiguousarray(points, dtype=np.float64))

    @property
    def is_pinhole(self) -> bool:
        """Whether all its coefficients are zero."""
        return self.model in PLAIN and not any(self.params[3 if self.model in ONE_FOCAL else 4 :])

    @property
    def is_capped(self) -> bool:
        """Whether the photograph shows more than a pinhole picture spans."""
        return not self.is_pinhole and max(_view(self).reach) > 0.999999 * WIDEST

    @property
    def pinhole(self) -> Pinhole:
        """The undistorted picture."""
        if self.is_pinhole:
            one = self.model in ONE_FOCAL
            fx, fy, cx, cy = (self.params[0], *self.params[:3]) if one else self.params[:4]
            return Pinhole(fx, fy, cx, cy, self.width, self.height)
        (fx, fy), (left, right, top, bottom) = _view(self).focal, _view(self).reach
        width, height = (max(1, round(side)) for side in (fx * (left + right), fy * (top + bottom)))
        return Pinhole(fx, fy, fx * left, fy * top, width, height)


def check_lens(lens: Lens, where: str) -> None:
    """Raises UserError where no camera has such a lens."""
    if not all(math.isfinite(value) for value in lens.params):
        raise UserError(f"{where}: a parameter of the lens is not finite; calibrate the camera again")
    pinhole = lens.pinhole if lens.is_pinhole or _view(lens).is_sound else None
    if pinhole is None or min(pinhole.width / lens.width, pinhole.height / lens.height) < LEAST:
        text = ", ".join(f"{value:.4g}" for value in lens.params)
        raise UserError(f"{where}: no camera has the {lens.model} lens {text}; calibrate it again")
    focal, side = (pinhole.fx, pinhole.fy), (lens.width, lens.height)
    if not all(NARROWEST * s <= f <= FARTHEST * s for f, s in zip(focal, side, strict=True)):
        raise UserError(f"{where}: its focal length is {focal[0]:.4g} pixels, of {side[0]}; calibrate the camera again")


class _View(NamedTuple):
    focal: tuple[float, float]  # pixels per unit of tangent at the axis
    reach: tuple[float, float, float, float]  # tangents of the half angles to the left, right, top and bottom edge
    fold: float  # tangent of the angle at which the radial polynomial folds back

    @property
    def is_sound(self) -> bool:
        return all(map(math.isfinite, (*self.focal, *self.reach)))


@lru_cache(maxsize=256)
def _view(lens: Lens) -> _View:
    axis, step = np.array([0.0, 0.0, 1.0]), 1e-5
    nudged = axis + step * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    right, left, down, up = lens.project(nudged)
    fx, fy = float((right - left)[0]) / (2 * step), float((down - up)[1]) / (2 * step)
    u, v = lens.project(axis[None])[0]

    @np.errstate(invalid="ignore")
    def ray(x: float, y: float, widest: float) -> tuple[np.ndarray, np.ndarray]:
        """Tangents along a direction from the axis, and how many pixels out each appears, while that still grows."""
        tangents = np.tan(np.linspace(0, math.atan(widest), SAMPLES))
        pixels = lens.project(axis + tangents[:, None] * np.array([x, y, 0.0])) - (u, v)
        away = np.array([fx * x, fy * y])
        out = pixels @ (away / np.linalg.norm(away))
        grows = np.diff(out) > 0  # false for NaN, too
        count = len(out) if grows.all() else 1 + int(np.argmin(grows))
        return tangents[:count], out[:count]

    def reach(x: int, y: int, pixels: float) -> float:
        if pixels < 0:  # the axis lies beyond this edge
            return -reach(-x, -y, -pixels)
        tangents, out = ray(x, y, WIDEST)
        return float(np.interp(pixels, out, tangents))

    reaches = (reach(-1, 0, u), reach(1, 0, lens.width - u), reach(0, -1, v), reach(0, 1, lens.height - v))
    corner = math.hypot(max(map(abs, reaches[:2])), max(map(abs, reaches[2:]))) + 0.01
    folds = [ray(math.cos(a), math.sin(a), corner)[0] for a in np.linspace(0, 2 * math.pi, 32, endpoint=False)]
    return _View((fx, fy), reaches, min((float(t[-1]) for t in folds if len(t) < SAMPLES), default=math.inf))


@lru_cache(maxsize=3)
def sampling(
    lens: Lens, pinhole: Pinhole, size: tuple[int, int]
) -> tuple[Float32[np.ndarray, "h w 2"], Bool[np.ndarray, "h w"]]:
    """Where each pixel of a pinhole picture lies in the photograph, and whether it lies in it at all.

    Args:
        pinhole: `lens.pinhole`, at the size of the picture that is wanted.
        size: (width, height) of the photograph that is sampled; it may be smaller than the lens says.

    Returns:
        (x, y) as OpenCV counts, pixel centres at whole numbers; false beyond the photograph's border, and beyond the
        radius at which the radial polynomial folds back.
    """
    width, height = size
    fold = _view(lens).fold
    places = np.empty((pinhole.height, pinhole.width, 2), np.float32)
    inside = np.empty((pinhole.height, pinhole.width), bool)
    x = (np.arange(pinhole.width) + 0.5 - pinhole.cx) / pinhole.fx  # [w]
    rows = max(1, BAND // pinhole.width)
    for first in range(0, pinhole.height, rows):
        y = (np.arange(first, min(first + rows, pinhole.height)) + 0.5 - pinhole.cy) / pinhole.fy  # [b]
        grid = np.stack(np.broadcast_arrays(x, y[:, None], 1.0), -1)  # [b, w, 3]
        pixels = lens.project(grid.reshape(-1, 3)).reshape(*grid.shape[:2], 2)
        band = slice(first, first + len(y))
        with np.errstate(invalid="ignore"):
            within = (pixels >= 0).all(-1) & (pixels <= (lens.width, lens.height)).all(-1)
        inside[band] = within & (np.hypot(grid[..., 0], grid[..., 1]) < fold)
        places[band] = np.nan_to_num(pixels * (width / lens.width, height / lens.height) - 0.5, nan=-1.0)
    return places, inside

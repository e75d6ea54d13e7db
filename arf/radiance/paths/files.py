"""Camera paths as JSON: what nerfstudio's viewer and ours save, and `ns-render camera-path` reads."""

from __future__ import annotations

import logging
import math
import reprlib
from pathlib import Path
from typing import Any

import numpy as np

from arf.errors import UserError
from arf.jobs.files import read_json, write_json
from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.poses import check_pose, to_square
from arf.radiance.paths.shapes import FPS, KEY_SPACING, CameraPath, frame_size

KINDS = {"perspective": "pinhole", "fisheye": "fisheye", "equirectangular": "equirectangular"}  # theirs: ours
RATES, FIELDS = (0.01, 1000), (0.01, 179.9)  # frames per second; vertical fields of view in degrees
FARTHEST = 100  # scene units
SAVE_AGAIN = "save the path again from the viewer"

log = logging.getLogger(__name__)


def from_json(path: Path, width: int | None = None, height: int | None = None) -> CameraPath:
    """Read a camera path that the viewer of nerfstudio 1.x saved, or the legacy one. A size given here replaces the
    file's, keyframes are for the viewer alone, and a crop is ignored with a warning.

    Of `fps` and `seconds` either will do; without both it is 30 fps.

    Raises:
        UserError: no such file, not JSON, another version or tool's, keys missing, or values that no camera has.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise UserError(f"{path} is no camera path: it holds no JSON object; {SAVE_AGAIN}")
    if "version" in data:  # nerfstudio 1.x writes none
        raise UserError(f"{path} is of version {data['version']!r}, which is unknown here; {SAVE_AGAIN}")
    frames = data.get("camera_path")
    if not isinstance(frames, list):
        held = ", ".join(map(repr, list(data)[:6])) or "nothing"
        raise UserError(f"{path}: 'camera_path', the list of frames, is missing (it has {held}); {SAVE_AGAIN}")
    if not frames:
        raise UserError(f"{path}: 'camera_path' is empty; add two or more keyframes in the viewer and save it again")
    kind = str(data.get("camera_type") or "perspective").lower()
    if kind not in KINDS:
        raise UserError(f"{path}: camera_type is {kind!r}; only {', '.join(KINDS)} paths can be rendered")
    if data.get("crop"):
        log.warning("%s: its crop is ignored, the whole scene is shown", path)
    size = (_number(data, "render_width", path), _number(data, "render_height", path))
    poses = np.stack([_pose_of(frame, kind, f"{path}: camera {i}")[:3] for i, frame in enumerate(frames)])
    width, height = frame_size(*size, width, height)
    if kind == "equirectangular":
        fx, fy = width / 2, float(height)
    else:  # `fov` is vertical
        fx = fy = [height / 2 / math.tan(math.radians(frame["fov"]) / 2) for frame in frames]
    fps = FPS
    if data.get("fps") is not None:
        fps = _number(data, "fps", path, *RATES)
    elif data.get("seconds") is not None:
        fps = len(frames) / _number(data, "seconds", path, *(len(frames) / rate for rate in reversed(RATES)))
    return CameraPath(Cameras.of(poses, fx, fy, width / 2, height / 2, width, height, KINDS[kind]), fps)


def to_json(path: CameraPath, file: Path) -> None:
    """Write nerfstudio's camera-path JSON, for `ns-render camera-path` and the viewer, atomically.

    The viewer loads keyframes alone and draws its own curve through them: they are every fifth frame.

    Raises:
        UserError: the file cannot be written.
    """
    cameras = path.cameras
    width, height = int(cameras.width[0]), int(cameras.height[0])
    poses = [pose.flatten().tolist() for pose in to_square(cameras.poses)]
    fields = [math.degrees(2 * math.atan(0.5 * height / focal)) for focal in cameras.fy.tolist()]  # vertical
    shared = {"aspect": width / height}
    frames = [{"camera_to_world": c, "fov": f, **shared} for c, f in zip(poses, fields, strict=True)]
    keys = [{"matrix": c, "fov": f, **shared} for c, f in zip(poses, fields, strict=True)][::KEY_SPACING]
    kind = next(theirs for theirs, ours in KINDS.items() if ours == cameras.kind)
    viewer = {"default_fov": fields[0], "default_transition_sec": KEY_SPACING / path.fps, "keyframes": keys}
    sizes = {"camera_type": kind, "render_width": width, "render_height": height}
    timing = {"fps": path.fps, "seconds": path.seconds, "is_cycle": False, "smoothness_value": 0.0}
    write_json(file, {**viewer, **sizes, **timing, "crop": None, "camera_path": frames})


def _pose_of(frame: Any, kind: str, where: str) -> np.ndarray:
    if not isinstance(frame, dict) or not isinstance(frame.get("camera_to_world"), list):
        raise UserError(f"{where} has no 'camera_to_world'; {SAVE_AGAIN}")
    if kind != "equirectangular":
        _number(frame, "fov", where, *FIELDS)
    matrix = np.asarray(frame["camera_to_world"], dtype=object).ravel()
    if len(matrix) != 16:
        raise UserError(f"{where}: 'camera_to_world' has {len(matrix)} numbers, not 16; {SAVE_AGAIN}")
    return check_near(check_pose(matrix.reshape(4, 4), where), where)


def check_near(pose: np.ndarray, where: str) -> np.ndarray:
    """A pose of a film, if it is not so far away that to march past the scene would take for ever.

    Raises:
        UserError: it is.
    """
    away = np.abs(pose[:3, 3]).max()
    if away > FARTHEST:
        raise UserError(
            f"{where} is {away:.3g} units away; the scene's own cameras are about 1: stay within {FARTHEST}"
        )
    return pose


def _number(data: dict[str, Any], key: str, where: object, low: float = 1e-3, high: float = 1e9) -> float:
    value = data.get(key)
    if not isinstance(value, float | int) or not low <= value <= high:
        problem = f"'{key}' is missing" if value is None else f"'{key}' is {reprlib.repr(value)}"
        raise UserError(f"{where}: {problem}; it must be a number from {low:g} to {high:g}: {SAVE_AGAIN}")
    return value

"""Camera paths for films: spiral, orbit, through the training views, and nerfstudio's camera-path JSON.

Paths live in the parser frame of the views that they are made from. Those that are made here use plain pinhole cameras
with square pixels, the training views' median vertical field of view, and their median size unless told otherwise.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.camera_paths import get_path_from_json
from nerfstudio.cameras.camera_utils import auto_orient_and_center_poses
from nerfstudio.cameras.cameras import Cameras, CameraType
from torch import Tensor
from torch.nn.functional import normalize

from arf.errors import UserError
from arf.jobs.files import read_json, write_json
from arf.radiance.capture.capture import Views
from arf.radiance.capture.poses import check_pose, focus_point, look_at, looks_forward, mean_pose, to_square
from arf.radiance.film.splines import nearest_neighbour_order, smooth_poses

FPS = 30.0
SWING = 2 * math.pi / 3  # an orbit does not cross a stretch this long in which no training camera stands
KEY_SPACING = 5  # frames between key views, at least, so that a film through many views does not rush
LARGEST = 16384  # pixels along a side of a frame
CAMERA_TYPES = {  # that the viewer offers
    "perspective": CameraType.PERSPECTIVE,
    "fisheye": CameraType.FISHEYE,
    "equirectangular": CameraType.EQUIRECTANGULAR,
}
SAVE_AGAIN = "save the path again from the render tab of nerfstudio 1.x's viewer"

log = logging.getLogger(__name__)


@dataclass
class CameraPath:
    """The frames of a film, in order. Cameras are float32, on the CPU, all of one size and type."""

    cameras: Cameras
    fps: float = FPS

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def seconds(self) -> float:
        return len(self) / self.fps


def spiral(
    views: Views,
    frames: int = 120,
    *,
    bounds: tuple[float, float] | None = None,
    turns: int = 2,
    fps: float = FPS,
    width: int | None = None,
    height: int | None = None,
) -> CameraPath:
    """A closed spiral about the mean camera, for forward-facing captures, as in LLFF (Mildenhall et al. 2019).

    The radii are the 90th percentiles of the cameras' offsets along the mean camera's axes, and all frames look at one
    point before it: at the mean disparity of `bounds`, or where the training cameras' axes meet.

    Raises:
        UserError: fewer than two views, or cameras that look in different directions.
    """
    poses = _poses(views, frames)
    if not looks_forward(poses, within=60):
        raise UserError("a spiral needs cameras that look the same way; choose the path orbit or interpolate")
    centre = mean_pose(poses)
    if bounds is None:
        depth = float((focus_point(poses) - centre[:, 3]) @ -centre[:, 2])
        if depth <= 1e-3 * _spread(poses):
            raise UserError("the cameras look at no common point, so a spiral has no target; choose interpolate")
    else:
        near, far = 0.9 * bounds[0], 5 * bounds[1]  # LLFF's margins and its 3 to 1 mixture of disparities
        depth = 1 / (0.25 / near + 0.75 / far)
    offsets = (poses[:, :, 3] - centre[:, 3]) @ centre[:, :3]  # [n, 3] along the mean camera's axes
    radii = offsets.abs().quantile(0.9, dim=0)
    angles = torch.arange(frames) * (2 * math.pi * turns / frames)
    local = torch.stack([angles.cos(), -angles.sin(), -(angles / turns).sin()], dim=1) * radii  # [frames, 3]
    positions = local @ centre[:, :3].T + centre[:, 3]
    target = centre[:, 3] - depth * centre[:, 2]
    return CameraPath(_pinholes(views, look_at(positions, target, centre[:, 1]), width, height), fps)


def orbit(
    views: Views, frames: int = 120, *, fps: float = FPS, width: int | None = None, height: int | None = None
) -> CameraPath:
    """A closed circle about the point that the training cameras look at, at their median distance and elevation.

    Where no training camera stands for a third of the circle or more, the path swings to and fro over the rest instead,
    since nobody knows what that stretch looks like, or whether there is a wall.

    Raises:
        UserError: fewer than two views, or cameras that do not look at a common point.
    """
    poses = _poses(views, frames)
    centre = focus_point(poses)
    offsets = poses[:, :, 3] - centre  # [n, 3]
    distances = offsets.norm(dim=1)
    if ((-poses[:, :, 2] * offsets).sum(1) >= -0.5 * distances).float().mean() > 0.5 or distances.median() < 1e-6:
        raise UserError("the cameras look at no common point to circle; choose the path spiral or interpolate")
    # nerfstudio's `vertical`: the direction to which the cameras' x axes are most orthogonal. Row 2 maps it to z.
    up = auto_orient_and_center_poses(to_square(poses), method="vertical", center_method="none")[1][2, :3]
    level = offsets - (offsets @ up)[:, None] * up  # [n, 3]
    east = normalize(level[level.norm(dim=1).argmax()], dim=0)
    north = torch.linalg.cross(up, east)
    angles = _sweep(torch.atan2(offsets @ north, offsets @ east), frames)
    elevation = torch.asin((offsets @ up / distances).clamp(-1, 1)).median()
    circle = angles.cos()[:, None] * east + angles.sin()[:, None] * north  # [frames, 3]
    positions = centre + distances.median() * (elevation.cos() * circle + elevation.sin() * up)
    return CameraPath(_pinholes(views, look_at(positions, centre, up), width, height), fps)


def interpolate(
    views: Views, frames: int = 120, *, fps: float = FPS, width: int | None = None, height: int | None = None
) -> CameraPath:
    """A smooth walk at constant speed through the training views, in file order, or nearest first if that jumps about.

    Key views are thinned to one in five frames; between them runs a centripetal Catmull–Rom spline of the positions,
    and its counterpart on the sphere for the rotations.

    Raises:
        UserError: fewer than two views.
    """
    poses = _poses(views, frames)
    order = nearest_neighbour_order(poses)
    count = min(len(poses), max(2, frames // KEY_SPACING))
    keys = [order[i] for i in torch.linspace(0, len(order) - 1, count).round().int().tolist()]
    return CameraPath(_pinholes(views, smooth_poses(poses[keys], frames), width, height), fps)


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
    if kind not in CAMERA_TYPES:
        raise UserError(f"{path}: camera_type is {kind!r}; only {', '.join(CAMERA_TYPES)} paths can be rendered")
    if data.get("crop"):
        log.warning("%s: its crop is ignored, the whole scene is shown", path)
    size = (_number(data, "render_width", path), _number(data, "render_height", path))
    for i, frame in enumerate(frames):
        _check_frame(frame, kind, f"{path}: camera {i}")
    width, height = _resize(*size, width, height)
    cameras = get_path_from_json({**data, "camera_type": kind, "render_width": width, "render_height": height})
    fps = FPS
    if data.get("fps") is not None:
        fps = _number(data, "fps", path)
    elif data.get("seconds") is not None:
        fps = len(frames) / _number(data, "seconds", path)
    focal = (cameras.fx, cameras.fy)
    return CameraPath(_cameras(cameras.camera_to_worlds, *focal, width, height, CAMERA_TYPES[kind]), fps)


def to_json(path: CameraPath, file: Path) -> None:
    """Write nerfstudio's camera-path JSON, for `ns-render camera-path` and the viewer, atomically.

    The viewer loads keyframes alone and draws its own curve through them: they are every fifth frame.

    Raises:
        UserError: the file cannot be written.
    """
    cameras = path.cameras
    width, height = int(cameras.width[0]), int(cameras.height[0])
    poses = [pose.flatten().tolist() for pose in to_square(cameras.camera_to_worlds)]
    fields = [math.degrees(2 * math.atan(0.5 * height / focal)) for focal in cameras.fy[:, 0].tolist()]  # vertical
    shared = {"aspect": width / height}
    frames = [{"camera_to_world": c, "fov": f, **shared} for c, f in zip(poses, fields, strict=True)]
    keys = [{"matrix": c, "fov": f, **shared} for c, f in zip(poses, fields, strict=True)][::KEY_SPACING]
    kind = next(name for name, number in CAMERA_TYPES.items() if number.value == int(cameras.camera_type[0]))
    viewer = {"default_fov": fields[0], "default_transition_sec": KEY_SPACING / path.fps, "keyframes": keys}
    sizes = {"camera_type": kind, "render_width": width, "render_height": height}
    timing = {"fps": path.fps, "seconds": path.seconds, "is_cycle": False, "smoothness_value": 0.0}
    write_json(file, {**viewer, **sizes, **timing, "crop": None, "camera_path": frames})


def _check_frame(frame: Any, kind: str, where: str) -> None:
    if not isinstance(frame, dict) or not isinstance(frame.get("camera_to_world"), list):
        raise UserError(f"{where} has no 'camera_to_world'; {SAVE_AGAIN}")
    if kind != "equirectangular" and not 0 < _number(frame, "fov", where) < 180:
        raise UserError(f"{where}: 'fov' is {frame['fov']}; it must lie between 0 and 180 degrees")
    matrix = np.asarray(frame["camera_to_world"], dtype=object).ravel()
    if len(matrix) != 16:
        raise UserError(f"{where}: 'camera_to_world' has {len(matrix)} numbers, not 16; {SAVE_AGAIN}")
    check_pose(matrix.reshape(4, 4), where)


def _poses(views: Views, frames: int) -> Float[Tensor, "n 3 4"]:
    if frames < 1:
        raise UserError(f"a camera path of {frames} frames is empty; ask for 1 or more")
    if len(views) < 2:
        raise UserError("a camera path needs at least two training views; give the capture more photographs")
    return views.cameras.camera_to_worlds


def _spread(poses: Float[Tensor, "n 3 4"]) -> float:
    """Root mean square distance of the cameras from their mean."""
    return float((poses[:, :, 3] - poses[:, :, 3].mean(0)).square().sum(1).mean().sqrt())


def _sweep(azimuths: Float[Tensor, " n"], frames: int) -> Float[Tensor, " frames"]:
    """Angles of a closed path: once round, or to and fro over what the given angles cover, from 0 on either way."""
    sorted_ = azimuths.sort().values
    gaps = torch.cat([sorted_[1:], sorted_[:1] + 2 * math.pi]) - sorted_
    phase = torch.arange(frames) * (2 * math.pi / frames)
    if gaps.max() < SWING:
        return phase
    arc = 2 * math.pi - gaps.max()
    begin = sorted_[(gaps.argmax() + 1) % len(sorted_)]  # the covered arc starts where the widest gap ends
    return begin + arc / 2 * (1 + phase.sin())


def _pinholes(views: Views, poses: Float[Tensor, "frames 3 4"], width: int | None, height: int | None) -> Cameras:
    cameras = views.cameras
    median = [int(side.flatten().median()) for side in (cameras.width, cameras.height)]
    width, height = _resize(*median, width, height)
    focal = ((cameras.fy / cameras.height).median() * height).expand(len(poses), 1)
    return _cameras(poses, focal, focal, width, height, CameraType.PERSPECTIVE)


def _cameras(
    poses: Float[Tensor, "n 3 4"],
    fx: Float[Tensor, "n 1"],
    fy: Float[Tensor, "n 1"],
    width: int,
    height: int,
    kind: CameraType,
) -> Cameras:
    return Cameras(
        camera_to_worlds=poses.float(),
        fx=fx.float(),
        fy=fy.float(),
        cx=width / 2,
        cy=height / 2,
        width=width,
        height=height,
        camera_type=kind,
    )


def _resize(old_width: float, old_height: float, width: int | None, height: int | None) -> tuple[int, int]:
    """The size asked for; a side left open follows the old aspect."""
    if (width is not None and width < 1) or (height is not None and height < 1):
        raise UserError(f"frames of {width}×{height} pixels are empty; give sides of 1 or more")
    if width is None and height is None:
        width, height = round(old_width), round(old_height)
    width = width or max(1, round(old_width * height / old_height))
    height = height or max(1, round(old_height * width / old_width))
    if max(width, height) > LARGEST:
        raise UserError(f"frames of {width}×{height} pixels are too large; give sides of at most {LARGEST}")
    return width, height


def _number(data: dict[str, Any], key: str, where: object) -> float:
    value = data.get(key)
    if not isinstance(value, float | int) or not math.isfinite(value) or value <= 0:
        problem = f"'{key}' is missing" if value is None else f"'{key}' is {value!r}"
        raise UserError(f"{where}: {problem}; it must be a positive number: {SAVE_AGAIN}")
    return value

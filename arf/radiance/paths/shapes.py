"""Camera paths for films: spiral, orbit, and through the training views.

Paths live in the scene frame of the views that they are made from. Those that are made here use plain pinhole cameras
with square pixels, the training views' median vertical field of view, and their median size unless told otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from arf.errors import UserError
from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.poses import focus_point, look_at, looks_forward, mean_pose, vertical
from arf.radiance.capture.views import Views
from arf.radiance.paths.splines import nearest_neighbour_order, smooth_poses

FPS = 30.0
SWING = 2 * math.pi / 3  # an orbit does not cross a stretch this long in which no training camera stands
KEY_SPACING = 5  # frames between key views, at least, so that a film through many views does not rush
LARGEST = 16384  # pixels along a side of a frame


@dataclass
class CameraPath:
    """The frames of a film, in order. Cameras are on the CPU, all of one size."""

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
    up = vertical(poses)
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


def _poses(views: Views, frames: int) -> Float[Tensor, "n 3 4"]:
    if frames < 1:
        raise UserError(f"a camera path of {frames} frames is empty; ask for 1 or more")
    if len(views) < 2:
        raise UserError("a camera path needs at least two training views; give the capture more photographs")
    return views.cameras.poses


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
    width, height = frame_size(int(cameras.width.median()), int(cameras.height.median()), width, height)
    focal = (cameras.fy / cameras.height).median() * height
    return Cameras.of(poses, focal, focal, width / 2, height / 2, width, height)


def frame_size(old_width: float, old_height: float, width: int | None, height: int | None) -> tuple[int, int]:
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

"""The camera path as the page plays it, and what its cameras tell about the size and the middle of the scene."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.poses import focus_point
from arf.radiance.fields.splats.splats import Splats, quaternion

DIGITS = 7
SAMPLE = 4096  # splats, and of cameras:
FEW = 24
MEETING = 0.25  # of the distance: how far axes may pass by a point that their cameras look at
BEYOND = 4.0  # times the reach: a point farther off is not what they look at


def frames(ride: Cameras) -> list[list[float]]:
    """Each camera's position, quaternion w, x, y, z (camera to world, OpenGL), fx, fy, cx, cy, width and height."""
    rows = []
    for camera in ride:
        turn = quaternion(camera.pose[:, :3].double()).tolist()
        inner = (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
        rows.append([float(f"{value:.{DIGITS}g}") for value in (*camera.pose[:, 3].tolist(), *turn, *inner)])
    return rows


def reach(splats: Splats, ride: Cameras) -> float:
    """How far away from the cameras things are: the median depth of splats in some pictures of the ride."""
    some = splats.select(torch.linspace(0, len(splats) - 1, min(len(splats), SAMPLE)).long())
    depths = []
    for camera in ride[torch.linspace(0, len(ride) - 1, min(len(ride), FEW)).long().tolist()]:
        x, y, z = ((some.means - camera.pose[:, 3]) @ camera.pose[:, :3]).unbind(1)
        inside = (x.abs() < -z * camera.width / (2 * camera.fx)) & (y.abs() < -z * camera.height / (2 * camera.fy))
        depths.append(-z[inside])
    seen = torch.cat(depths)
    return float(seen.median()) if len(seen) else 1.0


def pivot(ride: Cameras, reach: float) -> Float[Tensor, "3"] | None:
    """The point that the cameras look at together, from outside or from before it; None where there is none, as in a
    walk through rooms."""
    point = focus_point(ride.poses.double())
    away, axes = point - ride.poses[:, :, 3].double(), -ride.poses[:, :, 2].double()
    depths = (away * axes).sum(1)
    if depths.min() <= 0 or depths.median() > BEYOND * reach:
        return None
    misses = (away - depths[:, None] * axes).norm(dim=1)
    return point if (misses / depths).median() < MEETING else None

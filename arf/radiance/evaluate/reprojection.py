"""What one camera sees of what another one saw: places, and whether they are hidden."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from arf.metrics import look_up
from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.seen import Seen

AGREE = 0.01  # of a distance: two that differ by more are of different things


def project(
    points: Float[Tensor, "*n 3"], camera: Camera
) -> tuple[Float[Tensor, "*n 2"], Float[Tensor, "*n"], Bool[Tensor, "*n"]]:
    """Column and row at which a pinhole camera sees points (the first pixel's centre is (0.5, 0.5)), their distances
    from it, and whether they are in front of it."""
    pose = camera.pose.to(points)
    local = (points - pose[:, 3]) @ pose[:, :3]  # x right, y up, z backwards
    ahead = -local[..., 2]
    over = ahead.clamp_min(1e-9)
    places = [camera.fx * local[..., 0] / over + camera.cx, camera.cy - camera.fy * local[..., 1] / over]
    return torch.stack(places, -1), local.norm(dim=-1), ahead > 0


def found_in(here: Seen, there: Seen) -> tuple[Float[Tensor, "h w 2"], Bool[Tensor, "h w"]]:
    """Where the pixels of one picture are in another, and which of them are seen there: those whose distance from the
    other camera is, within a hundredth, the one that it sees at that place, bilinear between pixels."""
    places, distance, ahead = project(here.points, there.camera)
    depth, inside = look_up(there.depth[..., None], places)
    agree = (depth[..., 0] - distance).abs() <= AGREE * distance
    return places, agree & inside & ahead & here.covered

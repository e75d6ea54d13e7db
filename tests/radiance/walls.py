"""Walls whose depth and paint are known: for consistency, worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.seen import Seen

FOCAL, WIDTH, HEIGHT = 40.0, 48, 32
FAR, NEAR = 4.0, 2.0  # from the cameras, which look along -z
EDGE = 0.0  # the near wall reaches from x = -inf to here
BAND = 0.35  # and from y = -this to this


def camera(right: float) -> Camera:
    """One that stands so many pixels, as the far wall has them, to the right."""
    pose = torch.eye(4)[:3]
    pose[0, 3] = right * FAR / FOCAL
    return Camera(pose, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)


def wall(camera: Camera, near: bool = False) -> tuple[Seen, Tensor]:
    """What a camera sees of a far wall, and of a near one in front of a part of it; and a smooth paint on both."""
    origins, directions = camera.rays()
    distance = FAR / -directions[:, 2]
    if near:
        closer = NEAR / -directions[:, 2]
        at = origins + closer[:, None] * directions
        hit = (at[:, 0] < EDGE) & (at[:, 1].abs() < BAND)
        distance = torch.where(hit, closer, distance)
    at = origins + distance[:, None] * directions
    paint = torch.stack([0.5 + 0.4 * (4 * at[:, 0]).sin(), 0.5 + 0.4 * (5 * at[:, 1]).cos(), at[:, 2] / -5], 1)
    return Seen(camera, distance.view(camera.size)), paint.view(*camera.size, 3)

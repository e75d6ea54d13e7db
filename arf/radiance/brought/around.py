"""Cameras around an object, which fills their pictures."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.brought.mass import Mass
from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.poses import look_at

UP = torch.tensor([0.0, 0.0, 1.0])
FIELD = math.radians(40)  # of view, along the picture's longer side
LOWEST, HIGHEST = math.radians(2), math.radians(48)  # elevation at the ends of the helix
TURNS = 3
FILL = 0.9  # of the picture, along the side that is tightest
ASPECTS = (0.25, 4.0)  # width to height, least and most
LONGEST = 4 / 3  # of a side, in sides of the square that has as many pixels
STEP = 8  # pixels that sides are multiples of


def directions(count: int) -> Float[Tensor, "n 3"]:
    """From the object to the cameras, along a rising helix, so that the next one is never far."""
    along = (torch.arange(count) + 0.5) / count
    azimuth, elevation = 2 * math.pi * TURNS * along, LOWEST + (HIGHEST - LOWEST) * along
    level = elevation.cos()
    return torch.stack([level * azimuth.sin(), -level * azimuth.cos(), elevation.sin()], 1).double()


def around(mass: Mass, count: int, size: int, farthest: Float[Tensor, " n"] | None = None) -> Cameras:
    """`count` cameras that see all of the mass.

    Args:
        size: their pictures have as many pixels as a square of this side, in the proportion that the object asks for;
            fewer where they would become too long.
        farthest: distance at which each stands at most, where something is in between.
    """
    sides = directions(count)
    poses = look_at(mass.centre + sides, mass.centre, UP.double())  # [n, 3, 4]
    local = torch.einsum("mi,nij->nmj", mass.points - mass.centre, poses[:, :, :3])  # x, y, towards the camera
    reach = local[..., :2].abs().flatten(0, 1).amax(0).clamp_min(1e-9)
    aspect = min(max(float(reach[0] / reach[1]), ASPECTS[0]), ASPECTS[1])
    longer = min(max(aspect, 1 / aspect) ** 0.5, LONGEST)
    share = (longer, longer / aspect) if aspect > 1 else (longer * aspect, longer)
    width, height = (max(STEP, round(size * side / STEP) * STEP) for side in share)
    focal = max(width, height) / 2 / math.tan(FIELD / 2)
    slopes = local.new_tensor([width, height]) / 2 / focal * FILL
    distances = (local[..., :2].abs() / slopes + local[..., 2:]).flatten(1).amax(1)  # [n]
    if farthest is not None:
        distances = distances.minimum(farthest)
    poses = look_at(mass.centre + distances[:, None] * sides, mass.centre, UP.double())
    return Cameras.of(poses, focal, focal, width / 2, height / 2, width, height)

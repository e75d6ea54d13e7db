"""Cameras inside a place, which look where there is something to be seen."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.brought.mass import Mass
from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.poses import look_at
from arf.radiance.fields.field import Field

UP = torch.tensor([0.0, 0.0, 1.0])
FIELD = math.radians(70)  # of view, across
ASPECT = 4 / 3
PROBE = 24  # pixels of a face of the cube that is looked around with
CLEAR = 0.6  # of the mass's spread: in three of four level directions a place is free that far from its middle
WIDE = 1.3  # times as wide as high is a place
LEVEL = 0.35  # slope of a direction that is still level
COVERED = 0.85  # share of the directions in which there is something, in a place
STEPS = (0.0, -0.5, 0.5)  # of the spread, from the middle: where there may be room to stand
NEAR = 0.02  # share of the mass within half of that distance: so much of it, and there is no room
ROOM = 0.5  # of the free distance around: how far cameras stand from the middle
TILTS = (-0.25, 0.0, 0.25)  # slopes up and down
FACES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))


def standpoint(field: Field, mass: Mass) -> tuple[Float[Tensor, " 3"], float] | None:
    """Where there is most room amid the mass, and how much; None where the mass is not around an empty middle.

    A closed hull of a thing is empty amid it as well. Places are wider than they are high: what is not is a thing.
    """
    across, along, high = (mass.box[1] - mass.box[0]).tolist()
    if (across + along) / 2 < WIDE * high:
        return None
    best = None
    for step_x in STEPS:
        for step_y in STEPS:
            at = mass.centre + mass.spread * torch.tensor([step_x, step_y, 0.0], dtype=torch.float64)
            if ((mass.points - at).norm(dim=1) < CLEAR / 2 * mass.spread).double().mean() > NEAR:
                continue
            free, covered = look_round(field, at)
            if covered >= COVERED and (best is None or free > best[1]):
                best = at, free
    return best if best is not None and best[1] >= CLEAR * mass.spread else None


def look_round(field: Field, at: Float[Tensor, " 3"]) -> tuple[float, float]:
    """How far it is, at least, in three of four level directions; and in what share of all there is something."""
    depths, opacities, slopes = [], [], []
    for face in FACES:
        towards = torch.tensor(face, dtype=torch.float64)
        up = torch.tensor([0.0, 1.0, 0.0]).double() if face[2] else UP.double()
        pose = look_at(at, at + towards, up).float()
        half = PROBE / 2
        camera = Camera(pose, half, half, half, half, PROBE, PROBE)
        surface = field.surface(camera)
        slopes.append(camera.rays()[1][:, 2].abs())
        depths.append(surface.depth)
        opacities.append(surface.opacity)
    depth, seen = torch.cat(depths).cpu(), torch.cat(opacities).cpu() > 0.5
    level = torch.cat(slopes) < LEVEL
    return float(depth[level].quantile(0.25)), float(seen.float().mean())


def inside(field: Field, at: Float[Tensor, " 3"], free: float, count: int, size: int) -> Cameras:
    """`count` cameras on a circle around a standpoint, looking outwards over it, a little up and down in turns; those
    that would see least are left out."""
    tried = math.ceil(count * 1.5 / len(TILTS)) * len(TILTS)
    azimuth = 2 * math.pi * torch.arange(tried, dtype=torch.float64) / tried
    level = torch.stack([azimuth.sin(), azimuth.cos(), torch.zeros_like(azimuth)], 1)  # [n, 3]
    slope = torch.tensor(TILTS, dtype=torch.float64).repeat(tried // len(TILTS))
    positions = at - ROOM * free * level
    poses = look_at(positions, positions + level + slope[:, None] * UP, UP.double())
    width, height = (max(8, round(size * side / 8) * 8) for side in (ASPECT**0.5, ASPECT**-0.5))
    focal = width / 2 / math.tan(FIELD / 2)
    cameras = Cameras.of(poses, focal, focal, width / 2, height / 2, width, height)
    small = cameras.resized(torch.tensor([[32, 24]]).expand(tried, 2))
    seen = torch.tensor([float(field.shoot(camera).opacity.mean()) for camera in small])
    return cameras[seen.argsort(descending=True, stable=True)[:count].sort().values.tolist()]

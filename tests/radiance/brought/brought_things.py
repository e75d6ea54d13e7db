"""A scene of splats and its cameras, for tests."""

from __future__ import annotations

import torch
from gaussians import join, sphere

from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.poses import look_at
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.splats import Splats

SIDE = 96


def thing() -> Splats:
    """A coloured ball with a smaller one beside and a smaller one on top: like itself from nowhere else. z is up."""
    beside, top = sphere(800, 0.4), sphere(600, 0.3)
    beside.means[:, 0] += 1.3
    top.means[:, 2] += 1.2
    top.colors[:] = torch.tensor([0.9, 0.1, 0.1])
    return join(sphere(3000, 1.0), beside, top)


def cameras() -> Cameras:
    """Ten around it, z up."""
    angles = torch.linspace(0, 6, 10)
    positions = torch.stack([5 * angles.sin(), -5 * angles.cos(), torch.linspace(0.5, 2, 10)], 1)
    poses = look_at(positions, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    return Cameras.of(poses, 120.0, 120.0, SIDE / 2, SIDE / 2, SIDE, SIDE)


def photograph(camera: Camera) -> torch.Tensor:
    field = SplatField(thing(), torch.full((3,), 0.3), torch.device("cpu"))
    return field.shoot(camera).color.view(SIDE, SIDE, 3).clamp(0, 1)


def downwards() -> torch.Tensor:
    """From z up to y down, as files of 3D Gaussian Splatting have it."""
    return torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])

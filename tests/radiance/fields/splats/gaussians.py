"""Splats for tests: seeded, and odd where it is asked for."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.poses import look_at
from arf.radiance.fields.splats.splats import Splats

UP = torch.tensor([0.0, 0.0, 1.0])


def random_splats(count: int = 500, degree: int = 0, seed: int = 0, size: float = 0.05) -> Splats:
    """A ball of radius 1 of splats of all shapes, some opaque."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    means = 0.5 * normal(count, 3)
    scales = size * (0.8 * normal(count, 3)).exp()
    rest = 0.1 * normal(count, (degree + 1) ** 2 - 1, 3)
    colors = torch.rand(count, 3, generator=g)
    return Splats(means, scales, normalize(normal(count, 4), dim=1), torch.rand(count, generator=g), colors, rest)


def camera(width: int = 64, height: int = 64, distance: float = 2.5, angle: float = 0.3, focal: float = 1.1) -> Camera:
    """One that looks at the origin from aside and above; its principal point is not quite in the middle."""
    away = torch.tensor([torch.tensor(angle).sin(), -torch.tensor(angle).cos(), 0.4])
    pose = look_at(distance * normalize(away, dim=0), torch.zeros(3), UP)
    return Camera(pose, focal * height, 1.05 * focal * height, 0.48 * width, 0.53 * height, width, height)

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


def surface(points: torch.Tensor, size: float) -> Splats:
    """Round opaque splats at given places, coloured by where they are."""
    count = len(points)
    quats = torch.tensor([1.0, 0, 0, 0]).expand(count, 4).clone()
    colors = 0.5 + 0.5 * torch.sin(3 * points + torch.tensor([0.0, 1, 2]))
    scales = torch.full((count, 3), size)
    return Splats(points.float(), scales, quats, torch.full((count,), 0.95), colors.float(), torch.zeros(count, 0, 3))


def sphere(count: int, radius: float = 1.0) -> Splats:
    """Evenly over a sphere."""
    turns, height = torch.arange(count) * 2.399963, torch.linspace(-1, 1, count)
    level = (1 - height**2).sqrt()
    points = radius * torch.stack([level * turns.cos(), level * turns.sin(), height], 1)
    return surface(points, 2.5 * radius / max(count, 4) ** 0.5)


def box(count: int, half: tuple[float, float, float], centre: tuple[float, float, float] = (0, 0, 0)) -> Splats:
    """Over the walls of a box."""
    g = torch.Generator().manual_seed(0)
    sides = torch.tensor(half)
    areas = torch.stack([sides[1] * sides[2], sides[0] * sides[2], sides[0] * sides[1]])
    axis = torch.multinomial(areas, count, replacement=True, generator=g)
    points = 2 * torch.rand(count, 3, generator=g) - 1
    points[torch.arange(count), axis] = points[torch.arange(count), axis].sign()
    return surface(points * sides + torch.tensor(centre), 1.5 * float((8 * areas.sum() / count) ** 0.5))


def scattered(count: int, reach: float, centre: tuple[float, float, float] = (0, 0, 0)) -> Splats:
    """Small ones at random places."""
    points = reach * (2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(1)) - 1)
    return surface(points + torch.tensor(centre), 0.02 * reach)


def join(*parts: Splats) -> Splats:
    """All of them."""
    tensors = [part.tensors() for part in parts]
    return Splats(**{name: torch.cat([t[name] for t in tensors]) for name in tensors[0]})

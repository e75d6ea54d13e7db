"""A few hundred splats in three paints, and cameras around them that differ in all that cameras can differ in."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from dense import render
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.poses import look_at
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.share.page.page import Paint, write_page

WIDTH, HEIGHT, FPS = 160, 120, 10.0
MIDDLE = torch.tensor([0.1, -0.2, 0.3])


def some_splats(count: int = 200, seed: int = 0) -> Splats:
    """Needles, discs and balls, faint and opaque, around MIDDLE."""
    g = torch.Generator().manual_seed(seed)
    low, high = -6.0, -1.4  # ln
    return Splats(
        MIDDLE + 0.5 * torch.randn(count, 3, generator=g),
        (low + (high - low) * torch.rand(count, 3, generator=g)).exp(),
        normalize(torch.randn(count, 4, generator=g), dim=1),
        torch.rand(count, generator=g) ** 2,
        torch.rand(count, 3, generator=g),
        torch.zeros(count, 0, 3),
    )


def some_paints(splats: Splats) -> list[Paint]:
    """The splats' own colours and two others, of which one leaves [0, 1]."""
    red, green, blue = splats.colors.unbind(1)
    return [
        Paint("photographs", splats.colors, torch.tensor([0.1, 0.2, 0.3])),
        Paint("waves", torch.stack([0.3 * red, green, 1.4 * blue - 0.2], 1), torch.tensor([0.7, 0.6, 0.5])),
        Paint("night", torch.stack([blue, 0.2 * red, 1 - green], 1), torch.tensor([0.0, 0.0, 0.2])),
    ]


def some_ride(frames: int = 12) -> Cameras:
    """Around MIDDLE, nearly once, at several heights; lenses are neither square nor centred, and zoom."""
    turn = torch.arange(frames) / frames * 5.0
    positions = MIDDLE + torch.stack([2.4 * turn.sin(), -2.4 * turn.cos(), 0.8 * (2 * turn).sin()], 1)
    zoom = 110 + 4 * torch.arange(frames)
    return Cameras.of(
        look_at(positions, MIDDLE, torch.tensor([0.0, 0.0, 1.0])), zoom, zoom * 1.1, 84, 55, WIDTH, HEIGHT
    )


def write_some(path: Path, antialiased: bool = False, paints: int = 3, title: str = "Some splats") -> int:
    """The page of all this."""
    splats = some_splats()
    ride = some_ride()
    poster = reference(0, mix=0)
    return write_page(path, splats, some_paints(splats)[:paints], ride, FPS, poster, title, antialiased)


@cache
def reference(frame: float, mix: float = 1, paint: int = 1, antialiased: bool = False) -> Tensor:
    """What the page shows in a window of the cameras' size."""
    return seen(some_ride()[frame], mix, paint, antialiased)


def seen(camera: Camera, mix: float = 1, paint: int = 1, antialiased: bool = False) -> Tensor:
    """What the page shows from any camera."""
    splats = some_splats()
    own, other = some_paints(splats)[0], some_paints(splats)[paint]
    colors, background = own.colors.lerp(other.colors, mix), own.background.lerp(other.background, mix)
    return render(splats, camera, background, colors, antialiased).clamp(0, 1).float()


def moved(camera: Camera, turn: Tensor, by: Tensor) -> Camera:
    """The camera, its pose turned about the scene's origin and then shifted."""
    return replace(camera, pose=torch.cat([turn @ camera.pose[:, :3], (turn @ camera.pose[:, 3] + by)[:, None]], 1))


def psnr(a: Tensor, b: Tensor) -> float:
    """In decibels, of pictures in [0, 1]."""
    return -10 * math.log10((a - b).square().mean().item() + 1e-12)

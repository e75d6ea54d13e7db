"""A place to photograph that no file is needed for: a floor and some blocks, each with a texture of its own, seen by
exact cameras."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

BLOCKS = (
    (0.0, 0.0, 0.5, 0.8),
    (1.1, 0.5, 0.3, 0.5),
    (-0.9, 0.8, 0.35, 0.6),
    (0.5, -1.1, 0.3, 0.35),
    (-0.9, -0.7, 0.4, 0.4),
)
"""Middle x and y, half a side, and height."""
TEXELS = 512
FLOOR = 6.0  # a side


@cache
def texture(seed: int) -> UInt8[np.ndarray, "t t 3"]:
    """Blotches of all sizes."""
    rng, picture = np.random.default_rng(seed), np.zeros((TEXELS, TEXELS, 3))
    for size in (8, 16, 32, 64, 128, 256):
        noise = Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
        picture += np.asarray(noise.resize((TEXELS, TEXELS), Image.Resampling.BICUBIC), float) / size**0.5
    low, high = picture.min(), picture.max()
    return ((picture - low) / (high - low) * 255).astype(np.uint8)


def orbit(
    count: int, radius: float = 3.2, height: float = 1.7, first: float = 0.0, last: float = 2 * math.pi
) -> list[Float[np.ndarray, "3 4"]]:
    """Camera-to-world poses (OpenGL, z up) that look at the middle."""
    return [
        look_at(radius * np.array([math.cos(a), math.sin(a), 0]) + [0, 0, height])
        for a in np.linspace(first, last, count, endpoint=False)
    ]


def look_at(place: np.ndarray, target: Iterable[float] = (0.0, 0.0, 0.3)) -> Float[np.ndarray, "3 4"]:
    z = place - np.array(target)
    z /= np.linalg.norm(z)
    x = np.cross([0, 0, 1], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z, place], 1)


def photograph(
    pose: Float[np.ndarray, "3 4"], width: int = 320, height: int = 240, focal: float = 300.0, seed: int = 0
) -> UInt8[np.ndarray, "h w 3"]:
    """What a pinhole camera sees, twice as fine and averaged; another seed is another place."""
    u, v = np.meshgrid((np.arange(2 * width) + 0.5) / 2 - width / 2, (np.arange(2 * height) + 0.5) / 2 - height / 2)
    rays = np.stack([u / focal, -v / focal, -np.ones_like(u)], -1) @ pose[:, :3].T  # [2h, 2w, 3]
    start, depth = pose[:, 3], np.full(u.shape, np.inf)
    color = np.full((*u.shape, 3), 200.0)
    with np.errstate(all="ignore"):
        for number, (axis, at, low, high, across) in enumerate(_faces()):
            t = (at - start[axis]) / rays[..., axis]
            hit = start + t[..., None] * rays
            a, b = hit[..., across[0]], hit[..., across[1]]
            inside = (t > 0) & (t < depth) & (a >= low[0]) & (a <= high[0]) & (b >= low[1]) & (b <= high[1])
            fine = max(high[0] - low[0], high[1] - low[1]) / TEXELS
            rows, columns = ((a - low[0]) / fine).astype(int) % TEXELS, ((b - low[1]) / fine).astype(int) % TEXELS
            color[inside] = texture(100 * seed + number)[rows[inside], columns[inside]]
            depth = np.where(inside, t, depth)
    return color.reshape(height, 2, width, 2, 3).mean((1, 3)).round().astype(np.uint8)


def photographs(folder: Path, poses: Iterable[Float[np.ndarray, "3 4"]], **options) -> list[Path]:
    """Written as JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, pose in enumerate(poses):
        paths.append(folder / f"{i:02d}.jpg")
        Image.fromarray(photograph(pose, **options)).save(paths[-1], quality=95)
    return paths


def _faces():
    """Planes: axis, where on it, and bounds on the two others."""
    half = FLOOR / 2
    yield 2, 0.0, (-half, -half), (half, half), (0, 1)
    for x, y, side, top in BLOCKS:
        yield 2, top, (x - side, y - side), (x + side, y + side), (0, 1)
        for sign in (-1, 1):
            yield 0, x + sign * side, (y - side, 0.0), (y + side, top), (1, 2)
            yield 1, y + sign * side, (x - side, 0.0), (x + side, top), (0, 2)

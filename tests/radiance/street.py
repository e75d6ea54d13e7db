"""A place to photograph that needs no file: a floor and some blocks, each face with a texture of its own, seen by exact
pinhole cameras."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from arf.radiance.capture.poses import frame

BLOCKS = (  # middle x and y, half a side, and height
    (0.0, 0.0, 0.5, 0.8), (1.1, 0.5, 0.3, 0.5), (-0.9, 0.8, 0.35, 0.6), (0.5, -1.1, 0.3, 0.35), (-0.9, -0.7, 0.4, 0.4),
)  # fmt: skip
TEXELS = 512  # of a face's side
FLOOR = 3.0  # half a side
FOCAL = 300.0
Pose = Float[np.ndarray, "3 4"]


def look_from(*place: float) -> Pose:
    """The camera-to-world pose (OpenGL, z up) at a place that looks at the middle."""
    import torch

    position, target = torch.tensor(place, dtype=torch.float64), torch.tensor([0, 0, 0.3], dtype=torch.float64)
    return frame(position, position - target, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)).numpy()


def around(count: int, angle: float = 1.5) -> list[Pose]:
    """So many poses on a way around the middle of so many radians, up and down a little."""
    return [
        look_from(3 * math.cos(a), 3 * math.sin(a), 1.5 + 0.4 * math.sin(3 * a)) for a in np.linspace(0, angle, count)
    ]


def see(pose: Pose, width: int = 320, height: int = 240, seed: int = 0) -> UInt8[np.ndarray, "h w 3"]:
    """What a camera at a pose sees, twice as fine and averaged; another seed is another place."""
    u = (np.arange(2 * width) + 0.5) / 2 - width / 2
    v = (np.arange(2 * height) + 0.5) / 2 - height / 2
    x, y = np.meshgrid(u / FOCAL, -v / FOCAL)
    rays = np.stack([x, y, -np.ones_like(x)], -1) @ pose[:, :3].T  # [2h, 2w, 3]
    start, depth, color = pose[:, 3], np.full(x.shape, np.inf), np.full((*x.shape, 3), 200.0)
    for number, (axis, at, low, high) in enumerate(_faces()):
        across = [i for i in range(3) if i != axis]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (at - start[axis]) / rays[..., axis]
            place = (start[across] + t[..., None] * rays[..., across] - low) / np.subtract(high, low)  # [2h, 2w, 2]
        hit = (t > 0) & (t < depth) & (place >= 0).all(-1) & (place < 1).all(-1)
        row, column = (place[hit] * TEXELS).astype(int).T
        color[hit], depth[hit] = _texture(100 * seed + number)[row, column], t[hit]
    return color.reshape(height, 2, width, 2, 3).mean((1, 3)).round().astype(np.uint8)


def photograph(folder: Path, poses: Iterable[Pose], **options: int) -> list[Path]:
    """Photographs of the place as JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, pose in enumerate(poses):
        paths.append(folder / f"{i:02d}.jpg")
        Image.fromarray(see(pose, **options)).save(paths[-1], quality=95)
    return paths


@cache
def _texture(seed: int) -> UInt8[np.ndarray, "t t 3"]:
    """Blotches of all sizes."""
    rng, picture = np.random.default_rng(seed), np.zeros((TEXELS, TEXELS, 3))
    for size in (8, 16, 32, 64, 128, 256):
        noise = Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
        picture += np.asarray(noise.resize((TEXELS, TEXELS), Image.Resampling.BICUBIC), float) / size**0.5
    return np.interp(picture, (picture.min(), picture.max()), (0, 255)).astype(np.uint8)


def _faces() -> Iterator[tuple[int, float, tuple[float, float], tuple[float, float]]]:
    """Axis, where on it, and lower and upper bounds on the two others."""
    yield 2, 0.0, (-FLOOR, -FLOOR), (FLOOR, FLOOR)
    for x, y, side, top in BLOCKS:
        yield 2, top, (x - side, y - side), (x + side, y + side)
        for sign in (-1, 1):
            yield 0, x + sign * side, (y - side, 0.0), (y + side, top)
            yield 1, y + sign * side, (x - side, 0.0), (x + side, top)

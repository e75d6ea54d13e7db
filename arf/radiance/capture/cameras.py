"""Cameras: where a picture was taken from, and which ray belongs to each of its pixels.

Poses are camera-to-world in OpenGL's axes: x right, y up, the camera looks along −z. Pixel (column u, row v) has its
centre at (u + 0.5, v + 0.5). Behind the capture's door all cameras are pinholes; the two other kinds are for films.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

CameraKind = Literal["pinhole", "fisheye", "equirectangular"]
Rays = tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"]]  # origins, unit directions


@dataclass(frozen=True)
class Camera:
    """One camera.

    Attributes:
        pose: [3, 4] camera-to-world.
        fx, fy, cx, cy: focal lengths and principal point in pixels.
        width, height: of its picture in pixels.
        kind: "pinhole"; "fisheye" (equidistant: the angle from the axis is proportional to the radius);
            "equirectangular" (longitude and latitude; fx is half the width, fy the height).
        above, below: rows of the whole picture over and under this one, where it is a band of it.
    """

    pose: Float[Tensor, "3 4"]
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    kind: CameraKind = "pinhole"
    above: int = 0
    below: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def rows(self) -> int:
        """Of the whole picture."""
        return self.above + self.height + self.below

    def band(self, first: int, rows: int) -> Camera:
        """The camera of some rows of the picture."""
        rest = self.height - first - rows
        return replace(self, cy=self.cy - first, height=rows, above=self.above + first, below=self.below + rest)

    def bands(self, pixels: int) -> Iterator[Camera]:
        """Cameras of successive rows, of at most so many pixels each but of one row at least."""
        rows = min(self.height, max(1, pixels // self.width))
        for first in range(0, self.height, rows):
            yield self.band(first, min(rows, self.height - first))

    def resized(self, width: int, height: int) -> Camera:
        """The same view in a picture of another size."""
        x, y = width / self.width, height / self.height
        return replace(self, fx=self.fx * x, cx=self.cx * x, fy=self.fy * y, cy=self.cy * y, width=width, height=height)

    def finer(self, times: int) -> Camera:
        """The same view with so many pixels along each side for one."""
        return self if times == 1 else self.resized(times * self.width, times * self.height)

    def rays(self) -> Rays:
        """Origins and unit directions through the pixel centres, row by row, on the pose's device."""
        device = self.pose.device
        u = (torch.arange(self.width, device=device) + 0.5 - self.cx) / self.fx  # [w]
        v = -(torch.arange(self.height, device=device) + 0.5 - self.cy) / self.fy  # [h] upwards
        y, x = (part.flatten() for part in torch.meshgrid(v, u, indexing="ij"))  # [r]
        if self.kind == "pinhole":
            local = torch.stack([x, y, -torch.ones_like(x)], -1)
        elif self.kind == "fisheye":
            radius = torch.hypot(x, y)
            angle = radius.clamp_max(math.pi)
            side = torch.where(radius > 1e-9, angle.sin() / radius.clamp_min(1e-9), 1.0)  # sin θ / θ
            local = torch.stack([x * side, y * side, -angle.cos()], -1)
        else:
            longitude, polar = math.pi * x, math.pi * (0.5 - y)
            local = torch.stack([longitude.sin() * polar.sin(), polar.cos(), -longitude.cos() * polar.sin()], -1)
        directions = normalize(local @ self.pose[:, :3].T, dim=-1)
        return self.pose[:, 3].expand_as(directions), directions


@dataclass(frozen=True)
class Cameras:
    """N cameras of one kind; `cameras[i]` is a `Camera`, a slice or a list of indices are `Cameras`.

    Attributes:
        poses: float32 [N, 3, 4] camera-to-world.
        fx, fy, cx, cy: float32 [N] in pixels.
        width, height: int64 [N] in pixels.
    """

    poses: Float[Tensor, "n 3 4"]
    fx: Float[Tensor, " n"]
    fy: Float[Tensor, " n"]
    cx: Float[Tensor, " n"]
    cy: Float[Tensor, " n"]
    width: Int[Tensor, " n"]
    height: Int[Tensor, " n"]
    kind: CameraKind = "pinhole"

    @classmethod
    def of(cls, poses, fx, fy, cx, cy, width, height, kind: CameraKind = "pinhole") -> Cameras:
        """From poses [N, 3, 4] and intrinsics that are numbers, the same for all, or N values each."""
        count = len(poses)

        def column(value: object, dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(value, dtype=dtype).reshape(-1).expand(count).clone()

        inner = [column(value, torch.float32) for value in (fx, fy, cx, cy)]
        return cls(
            torch.as_tensor(poses).float(), *inner, *(column(side, torch.int64) for side in (width, height)), kind
        )

    def __len__(self) -> int:
        return len(self.poses)

    def __iter__(self) -> Iterator[Camera]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | Sequence[int]) -> Camera | Cameras:
        if isinstance(index, int):
            inner = (float(part[index]) for part in (self.fx, self.fy, self.cx, self.cy))
            return Camera(self.poses[index], *inner, int(self.width[index]), int(self.height[index]), self.kind)
        chosen = index if isinstance(index, slice) else torch.as_tensor(index, dtype=torch.long)
        parts = (self.poses, self.fx, self.fy, self.cx, self.cy, self.width, self.height)
        return Cameras(*(part[chosen] for part in parts), self.kind)

    def size(self, i: int) -> tuple[int, int]:
        """(height, width) of camera i's picture."""
        return int(self.height[i]), int(self.width[i])

    def resized(self, sizes: Int[Tensor, "n 2"]) -> Cameras:
        """The same views in pictures of other sizes (width, height); intrinsics follow the true ratio on each axis."""
        x, y = sizes[:, 0] / self.width, sizes[:, 1] / self.height  # [n]
        inner = (self.fx * x, self.fy * y, self.cx * x, self.cy * y)
        return Cameras(self.poses, *inner, sizes[:, 0].clone(), sizes[:, 1].clone(), self.kind)

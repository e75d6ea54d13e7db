"""From where splats that came as a file are looked at, as arf.json keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.poses import check_pose, to_square

MOST = 10_000  # views
LARGEST = 16_384  # pixels of a side
FIELDS = (1e-3, 1e6)  # focal lengths in sides of the picture
REMEDY = "make the run again"


@dataclass
class Sight:
    """Cameras in the scene's frame, and where that lies in the file's, x_scene = scale · (transform x_file).

    Attributes:
        poses: twelve numbers each, row by row, camera-to-world.
        lenses: fx, fy, cx and cy of each, in pixels.
        sizes: width and height of each, in pixels.
        kind: "bounded" for an object, "unbounded" for a place.
        cut_out: whether there is nothing but a background around it.
        box: low and high corner of what is there, as `Capture.scene_box`.
        transform: twelve numbers, row by row: a rotation and a translation.
        background: RGB behind it.
    """

    poses: list[list[float]]
    lenses: list[list[float]]
    sizes: list[list[int]]
    kind: Literal["bounded", "unbounded"]
    cut_out: bool
    box: list[list[float]]
    transform: list[list[float]]
    scale: float
    background: list[float]

    @classmethod
    def of(
        cls,
        cameras: Cameras,
        kind: Literal["bounded", "unbounded"],
        cut_out: bool,
        box: Float[Tensor, "2 3"],
        transform: Float[Tensor, "3 4"],
        scale: float,
        background: tuple[float, float, float],
    ) -> Sight:
        lenses = torch.stack([cameras.fx, cameras.fy, cameras.cx, cameras.cy], 1)
        sizes = torch.stack([cameras.width, cameras.height], 1)
        poses = cameras.poses.flatten(1)
        frame = box.tolist(), transform.tolist(), scale
        return cls(poses.tolist(), lenses.tolist(), sizes.tolist(), kind, cut_out, *frame, list(background))

    def check(self, where: str) -> None:
        """
        Raises:
            UserError: it is none that `of` makes.
        """
        count = len(self.poses)
        if not 2 <= count <= MOST:
            raise UserError(f"{where}: it has {count} poses, not 2 to {MOST}; {REMEDY}")
        shapes = {"poses": (count, 12), "lenses": (count, 4), "sizes": (count, 2), "box": (2, 3), "transform": (3, 4)}
        for name, (rows, columns) in shapes.items():
            values = getattr(self, name)
            if len(values) != rows or any(len(row) != columns for row in values):
                raise UserError(f"{where}: {name} are not {rows} times {columns} numbers; {REMEDY}")
            if not all(abs(value) < 1e12 for row in values for value in row):  # nor NaN
                raise UserError(f"{where}: {name} are not all finite; {REMEDY}")
        for k, (pose, lens, size) in enumerate(zip(self.poses, self.lenses, self.sizes, strict=True)):
            check_pose(torch.tensor(pose).view(3, 4).numpy(), f"{where}: pose {k}")
            if not all(1 <= side <= LARGEST for side in size):
                raise UserError(f"{where}: view {k} is of {size[0]}×{size[1]} pixels; {REMEDY}")
            if not all(FIELDS[0] <= focal / side <= FIELDS[1] for focal, side in zip(lens, size, strict=False)):
                raise UserError(f"{where}: lens {k} has focal lengths {lens[:2]}; {REMEDY}")
        check_pose(to_square(torch.tensor(self.transform, dtype=torch.float64)).numpy(), f"{where}: transform")
        if len(self.background) != 3 or not all(0 <= value <= 1 for value in self.background):
            raise UserError(f"{where}: background is {self.background[:4]}, not three numbers in 0..1; {REMEDY}")
        if not (1e-12 < self.scale < 1e12):
            raise UserError(f"{where}: scale is {self.scale:g}; {REMEDY}")

    def cameras(self) -> Cameras:
        poses, lenses = torch.tensor(self.poses).view(-1, 3, 4), torch.tensor(self.lenses)
        return Cameras.of(poses, *lenses.unbind(1), *torch.tensor(self.sizes).unbind(1))

"""COLMAP models, written by nerfstudio's own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from captures import HEIGHT, WIDTH, write_picture
from nerfstudio.data.utils import colmap_parsing_utils as colmap
from torch import Tensor

PINHOLE = colmap.Camera(1, "PINHOLE", WIDTH, HEIGHT, np.array([20.0, 21.0, 12.0, 8.0]))


def write_model(
    folder: Path, poses: Tensor, names: list[str], cameras: list[colmap.Camera], numbers: list[int] | None = None
) -> None:
    """A binary COLMAP model of OpenGL poses; pictures take the cameras in turn. Numbers are 1, 2, … unless given."""
    folder.mkdir(parents=True)
    images = {}
    for i, (pose, name) in enumerate(zip(poses.double().numpy(), names, strict=True)):
        rotation = (pose[:, :3] * [1, -1, -1]).T  # world to camera, y down and z forwards
        number = numbers[i] if numbers else i + 1
        images[number] = colmap.Image(
            number, colmap.rotmat2qvec(rotation), -rotation @ pose[:, 3], cameras[i % len(cameras)].id, name,
            np.zeros((1, 2)), np.array([-1]),
        )  # fmt: skip
    point = colmap.Point3D(1, np.array([0.1, 0.2, 0.3]), np.array([9, 8, 7]), 0.1, np.array([1]), np.array([0]))
    colmap.write_cameras_binary({c.id: c for c in cameras}, folder / "cameras.bin")
    colmap.write_images_binary(images, folder / "images.bin")
    colmap.write_points3D_binary({1: point}, folder / "points3D.bin")


def write_colmap(root: Path, poses: Tensor, numbers: list[int]) -> Path:
    """A capture with such a model, of pinhole cameras; `numbers` are those of its images."""
    names = [f"{i:02d}.png" for i in range(len(poses))]
    write_model(root / "colmap/sparse/0", poses, names, [PINHOLE], numbers)
    for i, name in enumerate(names):
        write_picture(root / "images" / name, i)
    return root

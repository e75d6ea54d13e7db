"""Run folders of 3D Gaussian Splatting (INRIA): point_cloud/iteration_N/point_cloud.ply and cameras.json.

cfg_args, which lies beside them, is a line of Python and is not opened.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import read_json
from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.formats.intrinsics import LARGEST, short
from arf.radiance.capture.poses import Placement, check_pose

POINTS, CAMERAS = "point_cloud.ply", "cameras.json"
ITERATION = re.compile(r"iteration_([0-9]{1,12})")


@dataclass(frozen=True)
class FileCameras:
    """Pinhole cameras in the frame of a file, their axes in the middle of their pictures.

    Attributes:
        names: of their photographs.
        poses: float64 [N, 3, 4] OpenGL camera-to-world, not centred.
        fx, fy: float64 [N] in pixels.
        width, height: int64 [N] in pixels.
    """

    names: tuple[str, ...]
    poses: Float[Tensor, "n 3 4"]
    fx: Float[Tensor, " n"]
    fy: Float[Tensor, " n"]
    width: Int[Tensor, " n"]
    height: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.names)

    def placed(self, placement: Placement) -> Cameras:
        """In a scene, moved there before they become float32."""
        middle = self.width / 2, self.height / 2
        return Cameras.of(placement(self.poses), self.fx, self.fy, *middle, self.width, self.height)


def find_splats(path: Path) -> Path:
    """The file of a run's last iteration where `path` is a folder, else `path`.

    Raises:
        UserError: the folder is no run.
    """
    if not os.path.isdir(path):  # which, unlike Path.is_dir, never raises
        return path
    folders = [(int(match[1]), folder) for folder in path.glob("point_cloud/*") if (match := _iteration(folder))]
    files = [(number, folder / POINTS) for number, folder in folders if os.path.isfile(folder / POINTS)]
    if not files:
        held = f"point_cloud/iteration_N/{POINTS}, as runs of 3D Gaussian Splatting do"
        raise UserError(f"{path} holds no {held}; name a file of splats")
    return max(files)[1]


def find_run(file: Path) -> Path | None:
    """The run folder that a file of splats belongs to, by its name."""
    folder = file.absolute().parent
    inside = file.name == POINTS and _iteration(folder) and folder.parent.name == "point_cloud"
    return folder.parents[1] if inside else None


def find_cameras(file: Path) -> Path | None:
    """The cameras.json of the run that a file of splats belongs to, if it has one."""
    run = find_run(file)
    return run / CAMERAS if run and os.path.isfile(run / CAMERAS) else None


def read_cameras(path: Path) -> FileCameras:
    """The cameras of a cameras.json.

    Raises:
        UserError: as `read_json`; a camera lacks a key, or has a value that no camera has.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} is no cameras.json of 3D Gaussian Splatting: it holds no list of cameras")
    poses, inner = [], []
    for i, entry in enumerate(entries):
        where = f"{path}: camera {i}"
        if not isinstance(entry, dict):
            raise UserError(f"{where} is {short(entry)}, not an object; export the cameras again")
        poses.append(_pose(entry, where))
        width, height = (_number(entry, key, where, 1, LARGEST) for key in ("width", "height"))
        focal = [_number(entry, f"f{a}", where, s / 100, s * 1000) for a, s in (("x", width), ("y", height))]
        inner.append((*focal, round(width), round(height)))
    fx, fy, width, height = (torch.tensor(column, dtype=torch.float64) for column in zip(*inner, strict=True))
    names = tuple(_photograph(entry, i) for i, entry in enumerate(entries))
    return FileCameras(names, torch.from_numpy(np.stack(poses)), fx, fy, width.long(), height.long())


def _iteration(folder: Path) -> re.Match[str] | None:
    return ITERATION.fullmatch(folder.name)


def _photograph(entry: dict[str, Any], number: int) -> str:
    name = entry.get("img_name")
    return name if isinstance(name, str) else str(number)


def _pose(entry: dict[str, Any], where: str) -> np.ndarray:
    """OpenGL's: the file has the camera's axes x right, y down, z forward as the columns of its rotation."""
    try:
        rotation, position = (np.asarray(entry.get(key), dtype=np.float64) for key in ("rotation", "position"))
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: position or rotation are no numbers; export the cameras again") from error
    if rotation.shape != (3, 3) or position.shape != (3,):
        said = f"rotation has shape {list(rotation.shape)}, position {list(position.shape)}"
        raise UserError(f"{where}: {said}, not [3, 3] and [3]; export the cameras again")
    return check_pose(np.concatenate([rotation * [1, -1, -1], position[:, None]], 1), where)


def _number(entry: dict[str, Any], key: str, where: str, low: float, high: float) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UserError(f"{where}: '{key}' is {short(value)}, no number of pixels that a camera has; export it again")
    return float(value)

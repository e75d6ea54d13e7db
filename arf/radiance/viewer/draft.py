"""A camera path while it is made: keyframes, what the film is to be like, and its files.

Files are nerfstudio's camera-path JSON: all frames for whoever films it, and the keyframes for whoever goes on with it.
"""

from __future__ import annotations

import math
import re
import reprlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import atomic_path, read_json, write_json
from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.poses import check_pose, to_square
from arf.radiance.paths.files import check_near, to_json
from arf.radiance.paths.shapes import CameraPath
from arf.radiance.paths.splines import smooth_poses

LONGEST_NAME = 48  # characters; file systems allow 255 bytes, and a character may take four
RANGES = {"fov": (5.0, 150.0), "width": (16, 8192), "height": (16, 8192), "fps": (1.0, 120.0), "seconds": (0.1, 600.0)}
MAKE_AGAIN = "save the path again in the viewer"


@dataclass
class Draft:
    """
    Attributes:
        keys: poses [3, 4] that the camera passes, in order.
        fov: of the film, vertical, degrees.
        width, height: of the film in pixels.
        loop: whether it goes on from the last keyframe to the first.
    """

    fov: float
    width: int
    height: int
    keys: list[Float[Tensor, "3 4"]] = field(default_factory=list)
    fps: float = 30.0
    seconds: float = 8.0
    loop: bool = False

    def poses(self) -> Float[Tensor, "frames 3 4"]:
        """The camera in every frame of the film, at constant speed.

        Raises:
            UserError: fewer than two keyframes.
        """
        if len(self.keys) < 2:
            raise UserError("a camera path needs two keyframes or more; look somewhere else and add another")
        frames = max(round(self.fps * self.seconds), 2)
        return smooth_poses(torch.stack(self.keys), frames, closed=self.loop)

    def cameras(self, poses: Sequence[Float[Tensor, "3 4"]]) -> Cameras:
        """The film's camera at some poses."""
        focal = self.height / 2 / math.tan(math.radians(self.fov) / 2)
        stacked = torch.stack(list(poses)) if len(poses) else torch.empty(0, 3, 4)
        return Cameras.of(stacked, focal, focal, self.width / 2, self.height / 2, self.width, self.height)

    def save(self, folder: Path, name: str) -> Path:
        """Write it under a name, or under that name and a number where there is such a file already.

        Raises:
            UserError: fewer than two keyframes, or the file cannot be written.
        """
        poses, keys = self.poses(), to_square(torch.stack(self.keys))
        path = CameraPath(self.cameras(poses), self.fps)
        shared = {"fov": self.fov, "aspect": self.width / self.height}
        own = [{"matrix": key.flatten().tolist(), **shared} for key in keys]
        pause = self.seconds / (len(keys) if self.loop else len(keys) - 1)
        file = free_file(folder, name)
        with atomic_path(file) as temporary:
            to_json(path, temporary)
            written = read_json(temporary)
            written |= {"keyframes": own, "is_cycle": self.loop, "default_transition_sec": pause}
            write_json(temporary, written)
        return file

    @classmethod
    def load(cls, file: Path) -> Draft:
        """Read what `save` wrote, or nerfstudio's viewer. What is out of range is brought back into it.

        Raises:
            UserError: no such file, not JSON, no keyframes, or values that no camera has.
        """
        data = read_json(file)
        keys = data.get("keyframes") if isinstance(data, dict) else None
        if not isinstance(keys, list) or not keys:
            raise UserError(f"{file} has no 'keyframes'; {MAKE_AGAIN}")
        poses = [_pose(key, f"{file}: keyframe {i}") for i, key in enumerate(keys, 1)]
        first = keys[0].get("fov", data.get("default_fov"))
        sizes = [int(_number(data.get(f"render_{side}"), side, file)) for side in ("width", "height")]
        timing = [_number(data.get(name), name, file) for name in ("fps", "seconds")]
        return cls(_number(first, "fov", file), *sizes, poses, *timing, data.get("is_cycle") is True)


def file_name(name: str) -> str:
    """A name as a file may have it, without a suffix: of letters, digits, spaces, _ and - alone, never a path."""
    kept = re.sub(r"[^\w \-]", "", unicodedata.normalize("NFC", name))
    return " ".join(kept.split())[:LONGEST_NAME].strip(" -") or "path"


def free_file(folder: Path, name: str) -> Path:
    """The file of a name; where it exists already, with the first free number behind the name."""
    stem = file_name(name)
    names = (f"{stem}.json" if i == 1 else f"{stem}-{i}.json" for i in count(1))
    return next(file for file in map(folder.joinpath, names) if not file.exists() and not file.is_symlink())


def saved_names(folder: Path) -> list[str]:
    """Names of the paths in a folder."""
    return sorted(file.stem for file in folder.glob("*.json") if not file.name.startswith("."))


def within(name: str, value: float) -> float:
    """A number of a draft in its range."""
    low, high = RANGES[name]
    return type(low)(min(max(value, low), high)) if math.isfinite(value) else low


def _pose(key: Any, where: str) -> Float[Tensor, "3 4"]:
    matrix = key.get("matrix") if isinstance(key, dict) else None
    if not isinstance(matrix, list) or len(matrix) != 16:
        raise UserError(f"{where} has no 'matrix' of 16 numbers; {MAKE_AGAIN}")
    pose = check_near(check_pose([matrix[i : i + 4] for i in range(0, 16, 4)], where), where)
    return torch.from_numpy(pose[:3]).float()


def _number(value: Any, name: str, file: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise UserError(f"{file}: '{name}' is {reprlib.repr(value)}, not a number; {MAKE_AGAIN}")
    return within(name, value)

"""What is compared: the pictures of paintings, of the field without paint, and of other programs along one path."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.media import image
from arf.media.decode import PICTURE_SUFFIXES
from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.views import Capture
from arf.radiance.evaluate.consistency import GAPS
from arf.radiance.evaluate.settings import EvaluateSettings
from arf.radiance.fields.field import Field
from arf.radiance.fields.seen import Seen, seen
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_model
from arf.radiance.paths.choice import camera_path
from arf.radiance.paths.shapes import CameraPath
from arf.radiance.records import paint_record

UNSTYLISED = "unstylised"
Picture = Float[Tensor, "h w 3"]
LONGEST = max(GAPS.values())


@dataclass
class Scene:
    """A run along a path.

    Attributes:
        look: None for a fit.
        frames: of another program, one for each camera of the path.
    """

    run: Run
    field: Field
    look: Look | None
    capture: Capture
    path: CameraPath
    frames: list[Path]

    @property
    def painting(self) -> str:
        """What a row calls the painting: its name, and the run."""
        return f"{paint_record(self.run).name} ({self.run.name})"

    def seen_from(self, camera: Camera) -> dict[str, Picture]:
        """What a camera sees, without paint and, of a painting, painted."""
        plain, *painted = picture(self.field, self.look, camera).split(3, dim=2)
        return {UNSTYLISED: plain, **({self.painting: painted[-1]} if painted else {})}

    def pictures(self, k: int) -> dict[str, Picture]:
        """What is seen in a frame of the path, and what the other program shows there."""
        camera = self.path.cameras[k]
        theirs = {self.other: _fitted(self.frames[k], camera.size)} if self.frames else {}
        return {**self.seen_from(camera), **theirs}

    @property
    def other(self) -> str:
        """What a row calls the frames of the other program."""
        return str(self.frames[0].parent)

    def surfaces(self, k: int) -> Seen:
        """What the field without paint shows there."""
        return seen(self.field, self.path.cameras[k])


def open_scene(
    run: Run,
    settings: EvaluateSettings,
    device: torch.device,
    frames: Path | None = None,
    allow_outside: bool = False,
    like: Scene | None = None,
) -> Scene:
    """A run along the path that is asked for.

    Args:
        frames: a folder of another program's pictures, in the order of their names.
        like: another run, whose path this one is to take.

    Raises:
        UserError: as `open_model` and `camera_path`; the path is shorter than the pairs that are compared; the folder
            has another number of pictures than the path has frames; or `like` lies in another frame.
    """
    field, painted, capture = open_model(run, device, allow_outside)
    if painted:  # of a fit they are refined already
        capture.train.cameras = field.refined(capture.train.cameras)
    if like is None:
        path = _within(camera_path(capture, settings.path, settings.length, 30.0), settings.size)
    elif _same_place(capture, like.capture):
        path = like.path
    else:
        said = f"{run.path} and {like.run.path} are of other captures, or read them otherwise"
        raise UserError(f"{said}: no path is the same in both; evaluate each alone")
    if len(path) <= LONGEST:
        raise UserError(f"the path has {len(path)} frames, and pairs are up to {LONGEST} apart: it needs one more")
    files = _files(frames, len(path)) if frames else []
    return Scene(run, field, painted.look if painted else None, capture, path, files)


def _within(path: CameraPath, side: int) -> CameraPath:
    """The same path in pictures whose longer sides have at most `side` pixels."""
    size = torch.tensor(path.cameras.size(0)).flip(0)  # width, height
    smaller = (size * min(1.0, side / int(size.max()))).round().long().clamp_min(1)
    return replace(path, cameras=path.cameras.resized(smaller.expand(len(path), 2)))


def _same_place(one: Capture, other: Capture) -> bool:
    """Whether two captures are one, in one frame."""
    alike = torch.allclose(one.transform, other.transform) and math.isclose(one.scale, other.scale)
    return alike and one.fingerprint == other.fingerprint


def _files(folder: Path, count: int) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; name the one that holds the frames")
    files = [
        path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
    ]
    if len(files) != count:
        raise UserError(
            f"{folder} holds {len(files)} pictures, and the path has {count} frames; render the path that "
            "arf render --save-path writes, and name it by --path"
        )
    return sorted(files, key=lambda path: [int(n) if n.isdecimal() else n for n in re.split(r"(\d+)", path.name)])


def _fitted(file: Path, size: tuple[int, int]) -> Picture:
    """A picture in a camera's size; its aspect must be the camera's to a pixel."""
    frame, (height, width) = image.read(file), size
    if abs(frame.shape[1] * height / frame.shape[0] - width) > 1.5:
        found = f"{frame.shape[1]}×{frame.shape[0]}"
        raise UserError(f"{file} is {found} pixels, and the path's frames are of another shape: {width}×{height}")
    return image.resize(frame, *size)

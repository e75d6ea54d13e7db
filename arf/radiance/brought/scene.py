"""A file of splats as a fit: a run that lies in no folder, whose photographs are its own renderings."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.radiance.brought.given import cameras_of_capture, cameras_of_file
from arf.radiance.brought.views import Renderings
from arf.radiance.capture.poses import to_square
from arf.radiance.capture.views import Capture
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.files.folders import CAMERAS, find_splats
from arf.radiance.fields.splats.files.reading import SplatFile, read_splats
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.records import Source
from arf.radiance.settings import SplatSettings, parse_color
from arf.radiance.sight import Sight

log = logging.getLogger(__name__)

VIEWS, MOST = 40, 100  # views that are made up; that are taken of those given
CUT_OUT = 0.9  # mean opacity of the views, below which there is nothing around what they show
BLOCK = 1 << 20  # bytes that are hashed at once
CPU = torch.device("cpu")


class Brought(Run):
    """Splats from a file, as a finished fit. `path` is the file, or the folder of 3D Gaussian Splatting's run."""

    def __init__(self, path: Path, info: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        super().__init__(path, info)
        self._tensors = tensors

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return self._tensors, {}


def is_splats(path: Path) -> bool:
    """Whether a path is a file of splats, or a run folder of 3D Gaussian Splatting."""
    return path.suffix.lower() in (".ply", ".splat", ".spz") or (path / "point_cloud").is_dir()


def bring(path: Path, settings: SplatSettings, sight: Sight | None = None) -> Brought:
    """Read splats and choose from where to look at them.

    Args:
        sight: an earlier choice for the same file.

    Raises:
        UserError: no splats there, a damaged file, cameras that cannot be had, or that see nothing.
    """
    settings.check()
    file = find_splats(path)
    found = read_splats(file)
    if sight is None:
        sight = _sight(found, path, settings)
    transform = torch.tensor(sight.transform, dtype=torch.float64)
    splats = in_scene(found.splats, transform, sight.scale)
    color = settings.backdrop if settings.backdrop != "auto" else "1,1,1" if sight.cut_out else "0,0,0"
    tensors = {**splats.tensors(), "background": torch.tensor(parse_color(color))}
    info = {
        "kind": "fit", "method": "splats", "scene": found.name, "finished": True, "settings": None,
        "data": path.resolve(), "capture": fingerprint(file), "sight": sight,
        "model": {"backbone": "splat", "antialiased": False},
    }  # fmt: skip
    return Brought(path, info, tensors)


def capture_of_sight(source: Source, name: str) -> Capture:
    """What stands for a capture: its views' photographs are still to be rendered."""
    sight = source.sight
    views = Renderings.of(sight.cameras(), sight.cut_out)
    box, transform = torch.tensor(sight.box), torch.tensor(sight.transform, dtype=torch.float64)
    parts = {"name": name, "root": source.data.parent, "train": views, "held_out": views.select([])}
    frame = {"transform": transform, "scale": sight.scale, "fingerprint": source.capture or ""}
    return Capture(**parts, kind=sight.kind, scene_box=box, space_box=box, bounds=None, **frame)


def in_scene(splats: Splats, transform: Float[Tensor, "3 4"], scale: float) -> Splats:
    """Splats of the file in the scene's frame."""
    turn = transform[:, :3]
    return splats.moved(turn, -(turn.T @ transform[:, 3]), scale)


def in_file(splats: Splats, transform: Float[Tensor, "3 4"], scale: float) -> Splats:
    """The inverse of `in_scene`."""
    back = torch.linalg.inv(to_square(transform))
    return splats.moved(back[:3, :3], scale * transform[:, 3], 1 / scale)


def fingerprint(file: Path) -> str:
    """Sixteen hexadecimal digits of a file's content."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()[:16]


def _sight(found: SplatFile, path: Path, settings: SplatSettings) -> Sight:
    given = settings.cameras or (path / CAMERAS if path.is_dir() and (path / CAMERAS).is_file() else None)
    if settings.capture:
        cameras, transform, scale, kind = cameras_of_capture(found.splats, settings)
    elif given:
        cameras, transform, scale, kind = cameras_of_file(given, found, settings)
    else:
        cameras, transform, scale, kind = _made_up(found, settings)
    if settings.capture or given:
        count = min(settings.views or MOST, len(cameras))
        cameras = cameras[torch.linspace(0, len(cameras) - 1, count).round().long().tolist()]
    field = SplatField(in_scene(found.splats, transform, scale), torch.zeros(3), CPU)
    opacity = float(torch.stack([field.shoot(camera).opacity.mean() for camera in _small(cameras)]).mean())
    if opacity < 0.01:
        raise UserError(f"{path}: the cameras see nothing of the splats; other --cameras, or --stand around, may")
    cut_out = opacity < CUT_OUT
    box = field.splats.means.quantile if False else None
    return Sight.of(cameras, "bounded" if kind == "around" and cut_out else "unbounded", cut_out, _box(field, cameras), transform, scale)

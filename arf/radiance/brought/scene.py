"""A file of splats as a fit: a run that lies in no folder, whose photographs are its own renderings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import plain
from arf.jobs.runs import Run
from arf.radiance.brought.frames import in_scene, placed, placement_of, upright
from arf.radiance.brought.given import aligned, chosen, listed_cameras, path_cameras
from arf.radiance.brought.looking import look
from arf.radiance.brought.mass import mass_of
from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.poses import Placement
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.files.reading import SplatFile, read_splats
from arf.radiance.fields.splats.files.runs import find_cameras, find_splats, read_cameras
from arf.radiance.records import Source
from arf.radiance.settings import SplatSettings, parse_color
from arf.radiance.sight import Sight

VIEWS = 40  # that are made up unless told otherwise
EMPTY, CUT_OUT = 0.005, 0.9  # mean opacity of the views: they see nothing; there is nothing around what they show
SMALL = 96  # pixels of the longer side of a picture that this is measured on
BLOCK = 1 << 20  # bytes that are hashed at once
CPU = torch.device("cpu")


class Brought(Run):
    """Splats from a file, as a finished fit. `path` is the file, or the folder of 3D Gaussian Splatting's run."""

    def __init__(self, path: Path, info: dict[str, Any], tensors: dict[str, Tensor], files: list[Path]) -> None:
        super().__init__(path, plain(info))
        self._tensors, self._files = tensors, files

    @property
    def folder(self) -> Path:
        """Its own, or for a file one of its name below outputs/."""
        return self.path if self.path.is_dir() else Path("outputs") / self.info["scene"]

    @property
    def files(self) -> list[Path]:
        return self._files

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return self._tensors, {}


def bring(path: Path, settings: SplatSettings, earlier: Source | None = None, allow_outside: bool = False) -> Brought:
    """Read splats and choose from where to look at them.

    Args:
        earlier: what was chosen before, for the same file.
        allow_outside: see `CaptureConfig`.

    Raises:
        UserError: no splats there, a damaged file, cameras that cannot be had or see nothing, or another file than
            earlier.
    """
    settings.check()
    file = find_splats(path)
    found, digest = read_splats(file), fingerprint(file)
    if earlier and earlier.capture != digest:
        raise UserError(f"{path} has changed since it was painted; restore it, or stylize it again")
    sight = earlier.sight if earlier else _sight(found, file, settings, allow_outside)
    splats = in_scene(found.splats, placement_of(torch.tensor(sight.transform, dtype=torch.float64), sight.scale))
    info = {
        "kind": "fit", "method": "splats", "scene": found.name, "finished": True, "settings": None,
        "data": path.resolve(), "capture": digest, "sight": sight, "model": {"backbone": "splat"},
    }  # fmt: skip
    tensors = {**splats.tensors(), "background": torch.tensor(sight.background)}
    return Brought(path, info, tensors, [file, *filter(None, [find_cameras(file)])])


def fingerprint(file: Path) -> str:
    """Sixteen hexadecimal digits of a file's content."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()[:16]


def _sight(found: SplatFile, file: Path, settings: SplatSettings, allow_outside: bool) -> Sight:
    placement, cameras = _given(found, file, settings, allow_outside)
    field = SplatField(in_scene(found.splats, placement), torch.zeros(3), CPU)
    if cameras is None:
        cameras = look(field, field.splats, settings.stand, settings.views or VIEWS, settings.view_size)
    shown = [float(field.shoot(_small(camera)).opacity.mean()) for camera in cameras]
    opacity = sum(shown) / len(shown)
    if opacity < EMPTY:
        raise UserError(f"{file}: the cameras see nothing of the splats; give other --cameras, or try --stand around")
    cut_out = opacity < CUT_OUT
    box = _box(field, cameras, cut_out)
    color = settings.backdrop if settings.backdrop != "auto" else "1,1,1" if cut_out else "0,0,0"
    frame = box, placement.transform, placement.scale
    return Sight.of(cameras, "bounded" if cut_out else "unbounded", cut_out, *frame, parse_color(color))


def _given(
    found: SplatFile, file: Path, settings: SplatSettings, allow_outside: bool
) -> tuple[Placement, Cameras | None]:
    """Where the scene lies, and the cameras that the settings or the file's own run folder name, if they do."""
    if settings.capture:
        return aligned(found.splats, settings, allow_outside)
    own = find_cameras(file)
    if settings.cameras is None and own is None:
        return upright(found, settings.up), None
    if listed := listed_cameras(settings.cameras) if settings.cameras else read_cameras(own):
        placement = placed(listed)
        return placement, chosen(listed.placed(placement), settings, settings.cameras or own)
    return upright(found, settings.up), chosen(path_cameras(settings.cameras), settings, settings.cameras)


def _box(field: SplatField, cameras: Cameras, cut_out: bool) -> Float[Tensor, "2 3"]:
    """Of an object what holds it, of a place the cube around the cameras."""
    if cut_out:
        box = mass_of(field.splats).box.float()
        return box + 0.05 * (box[1] - box[0]) * torch.tensor([[-1.0], [1.0]])
    reach = cameras.poses[:, :, 3].abs().amax().clamp_min(1.0)
    return torch.stack([-reach.expand(3), reach.expand(3)])


def _small(camera: Camera) -> Camera:
    scale = SMALL / max(camera.size)
    return camera.resized(max(2, round(camera.width * scale)), max(2, round(camera.height * scale)))

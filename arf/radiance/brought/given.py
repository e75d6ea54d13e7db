"""Cameras that somebody gives to splats: a file of them, or a capture."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from arf.errors import UserError
from arf.jobs.files import read_json
from arf.radiance.brought.frames import in_scene, placement_of
from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.capture.poses import Placement
from arf.radiance.capture.views import Views
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.files.runs import FileCameras, read_cameras
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.paths.files import from_json
from arf.radiance.settings import SplatSettings

MOST = 100  # views that are taken unless told otherwise
TRIED, TRIAL = 5, 64  # photographs that frames are tried on, and their longer side in pixels
ALIKE = 0.5  # correlation of the renderings with the photographs, below which the splats are of another place


def listed_cameras(path: Path) -> FileCameras | None:
    """Those of a cameras.json, None where the file is of another kind.

    Raises:
        UserError: it cannot be read.
    """
    return read_cameras(path) if isinstance(read_json(path), list) else None


def path_cameras(path: Path) -> Cameras:
    """Those of a camera path that was saved in `arf view`, in the scene's frame.

    Raises:
        UserError: no such file, or no pinholes.
    """
    cameras = from_json(path).cameras
    if cameras.kind != "pinhole":
        raise UserError(f"{path}: its cameras are {cameras.kind}; views of splats are seen by perspective ones")
    return cameras


def chosen(cameras: Cameras, settings: SplatSettings, where: Path) -> Cameras:
    """As many of given cameras as are wanted, spread over all, their pictures as small.

    Args:
        where: what gives them.

    Raises:
        UserError: there is one alone.
    """
    if len(cameras) < 2:
        raise UserError(f"{where} has one camera; a painting needs two views or more")
    count = min(settings.views or MOST, len(cameras))
    cameras = cameras[torch.linspace(0, len(cameras) - 1, count).round().long().tolist()]
    sizes = torch.stack([cameras.width, cameras.height], 1).double()
    factor = (settings.view_size / sizes.prod(1).sqrt()).clamp_max(1)  # [n]
    return cameras.resized((sizes * factor[:, None]).round().long().clamp_min(2))


def aligned(splats: Splats, settings: SplatSettings, allow_outside: bool = False) -> tuple[Placement, Cameras]:
    """The cameras of a capture, and where its scene lies in the splats' frame.

    Programs turn axes and scale as they like. Of all turns by right angles, in the capture's own frame and in
    nerfstudio's, that one is taken in which the splats look most like some of the photographs.

    Raises:
        UserError: in none do they.
    """
    capture = load_capture(CaptureConfig(settings.capture, allow_outside=allow_outside))
    own = placement_of(capture.transform, capture.scale)
    frames = [own, Placement(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))]
    some = sorted({round(k) for k in torch.linspace(0, len(capture.train) - 1, TRIED).tolist()})
    trials = [_trial(capture.train, i) for i in some]
    tried = [Placement(f.rotation @ turn, turn.T @ f.centre, f.scale) for f in frames for turn in right_turns()]
    scores = [_likeness(in_scene(splats, frame), trials) for frame in tried]
    best = max(range(len(tried)), key=scores.__getitem__)
    if scores[best] < ALIKE:
        raise UserError(
            f"{settings.capture}: its photographs do not show these splats, in whatever frame (likeness "
            f"{max(scores[best], 0):.2f} of 1); give the capture that they were made of, or --cameras"
        )
    return tried[best], chosen(capture.train.cameras, settings, settings.capture)


def right_turns() -> Iterator[Float[Tensor, "3 3"]]:
    """The 24 rotations that take axes to axes."""
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            turn = torch.eye(3, dtype=torch.float64)[list(order)] * torch.tensor(signs, dtype=torch.float64)[:, None]
            if torch.linalg.det(turn) > 0:
                yield turn


Trial = tuple[Camera, Float[Tensor, "h w 3"], Float[Tensor, "h w"]]


def _trial(views: Views, i: int) -> Trial:
    """A small camera, its photograph, and how much each of its pixels counts."""
    camera, photograph = views.cameras[i], views.photograph(i)
    scale = TRIAL / max(camera.width, camera.height)
    small = camera.resized(max(2, round(camera.width * scale)), max(2, round(camera.height * scale)))
    weight = photograph.weight if photograph.weight is not None else torch.ones(camera.size)
    whole = torch.cat([photograph.image, weight[..., None]], 2).permute(2, 0, 1)[None]
    shrunk = interpolate(whole, small.size, mode="area")[0]
    return small, shrunk[:3].permute(1, 2, 0), shrunk[3]


def _likeness(splats: Splats, trials: list[Trial]) -> float:
    """Correlation of renderings with photographs, over all pixels and channels of all trials."""
    field = SplatField(splats, torch.full((3,), 0.5), torch.device("cpu"))
    pairs, weights = [], []
    for camera, photograph, weight in trials:
        seen = field.render(camera, field.own(camera), field.background)
        pairs.append(torch.stack([seen, photograph], -1).flatten(0, 2))  # [h w 3, 2]
        weights.append(weight[..., None].expand_as(seen).flatten())
    pair, weight = torch.cat(pairs).double(), torch.cat(weights).double()[:, None]
    centred = pair - (weight * pair).sum(0) / weight.sum().clamp_min(1e-9)
    moments = (weight * centred).T @ centred
    return float(moments[0, 1] / (moments[0, 0] * moments[1, 1]).sqrt().clamp_min(1e-12))

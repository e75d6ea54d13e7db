"""Fisheye and panorama cameras: splats project into pinholes alone, so a cube of those is rendered and looked up."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from arf.radiance.capture.cameras import Camera

FINER = 1.25  # pixels of a face to one of the picture: looking up blurs
EDGE = 2  # pixels of each face beyond 45°, so that there is something on either side of its border
LARGEST = 4096  # pixels along a face
TURNS = (  # from a face's axes, x right, y up, looking along -z, to the camera's
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)), ((0, 0, -1), (0, 1, 0), (1, 0, 0)), ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    ((0, 0, 1), (0, 1, 0), (-1, 0, 0)), ((1, 0, 0), (0, 0, 1), (0, -1, 0)), ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
)  # fmt: skip

Picture = Float[Tensor, "h w c"]


def through_faces(camera: Camera, render: Callable[[Camera], Picture]) -> Picture:
    """The picture of a camera of any kind from those of up to six pinholes at its place."""
    _, directions = camera.rays()
    local = directions.cpu() @ camera.pose[:, :3].cpu()  # [p, 3] in the camera's axes
    side = min(LARGEST, 2 * math.ceil(FINER * _per_radian(camera)))  # a face's 45° are as long as its focal length
    picture = None
    faces = torch.stack([local @ torch.tensor(turn, dtype=local.dtype)[:, 2] for turn in TURNS], 1).argmin(1)  # [p]
    for k, turn in enumerate(TURNS):
        here = (faces == k).nonzero().squeeze(1)
        if not len(here):
            continue
        axes = torch.tensor(turn, dtype=local.dtype)
        pose = torch.cat([camera.pose[:, :3].cpu() @ axes, camera.pose[:, 3:].cpu()], 1)
        whole = side + 2 * EDGE
        face = render(Camera(pose, side / 2, side / 2, whole / 2, whole / 2, whole, whole))  # [s, s, c]
        x, y, z = (local[here] @ axes).unbind(1)
        at = torch.stack([-x / z, y / z], 1) * (side / whole)  # [m, 2] within -1..1
        found = grid_sample(face.cpu().permute(2, 0, 1)[None], at[None, None], align_corners=False)[0, :, 0].T
        if picture is None:
            picture = found.new_zeros(camera.pixels, found.shape[1])
        picture[here] = found
    return picture.view(*camera.size, -1)


def _per_radian(camera: Camera) -> float:
    """Pixels of the picture to a radian, where they are densest."""
    return max(camera.fx, camera.fy) / (1 if camera.kind == "fisheye" else math.pi)

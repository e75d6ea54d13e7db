"""Where a reconstruction comes to lie: upright, its middle in the origin, of a size that others expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.capture.formats.colmap import GRAVITY
from arf.radiance.capture.library import pycolmap
from arf.radiance.capture.poses import place, turn_up, vertical

REACH = 4.0  # mean distance of the cameras from the middle, as instant-ngp's own scripts have it
ENOUGH = 0.5  # of the photographs must say which way was up
AGREED = 0.9  # mean cosine of what they say with its mean

Up = tuple[float, float, float]


def stand_up(piece: Any, ups: Mapping[str, Up]) -> None:
    """Turn, move and scale a reconstruction in place, so that −y, COLMAP's way up, is up.

    Args:
        ups: of photographs by name, from EXIF; where too few say so, the direction that is upright in most pictures.
    """
    poses = torch.from_numpy(np.stack([camera_to_world(image) for image in registered(piece)]))  # [n, 3, 4], z up
    said = _said(poses, [ups.get(image.name) for image in registered(piece)])
    rotation = turn_up(vertical(poses) if said is None else said)
    centre = place(poses, "none", "focus").centre
    distance = (poses[:, :, 3] - centre).norm(dim=1).mean().item()
    axes = GRAVITY[:, :3]
    turn, scale = axes.T @ rotation.numpy() @ axes, REACH / distance
    moved = -scale * turn @ axes.T @ centre.numpy()
    colmap = pycolmap()
    piece.transform(colmap.Sim3d(np.concatenate([scale * turn, moved[:, None]], axis=1)))


def registered(piece: Any) -> list[Any]:
    """The pictures that were placed, by name."""
    return sorted((piece.images[number] for number in piece.reg_image_ids()), key=lambda image: image.name)


def camera_to_world(image: Any) -> Float[np.ndarray, "3 4"]:
    """OpenGL's pose in a world whose z is up."""
    moved = image.cam_from_world()
    turn = moved.rotation.matrix()
    return GRAVITY[:, :3] @ np.concatenate([turn.T * [1, -1, -1], -turn.T @ moved.translation[:, None]], axis=1)


def _said(poses: Float[Tensor, "n 3 4"], ups: list[Up | None]) -> Float[Tensor, " 3"] | None:
    """What the photographs say is up, in the world; None where they are few, or don't agree."""
    known = [i for i, up in enumerate(ups) if up is not None]
    if len(known) < ENOUGH * len(poses):
        return None
    own = torch.tensor([ups[i] for i in known], dtype=poses.dtype)
    world = (poses[known, :, :3] @ own[:, :, None])[:, :, 0]  # [k, 3]
    world = world * torch.where(own[:, 1:2] < 0, -1.0, 1.0)  # makers differ in the sign; cameras are held upright
    mean = world.mean(0)
    return normalize(mean, dim=0) if mean.norm() > AGREED else None

"""Where the scene's frame, z up and about as large as 1, lies in a file's."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.brought.mass import mass_of
from arf.radiance.capture.poses import Placement, place, turn_up
from arf.radiance.fields.splats.files.reading import SplatFile
from arf.radiance.fields.splats.files.runs import FileCameras
from arf.radiance.fields.splats.splats import Splats

USUAL = (0.0, -1.0, 0.0)  # up, in files of 3D Gaussian Splatting
SPREAD = 0.5  # of the mass in the scene's frame: half of it is nearer to its middle


def axis(name: str) -> Float[Tensor, " 3"]:
    """The unit vector of an axis such as "-y"."""
    unit = torch.zeros(3, dtype=torch.float64)
    unit["xyz".index(name[-1])] = -1.0 if name.startswith("-") else 1.0
    return unit


def upright(found: SplatFile, up: str) -> Placement:
    """Of a file that brings no cameras: by its up axis and its mass.

    Args:
        up: an axis, or "auto" for what the file says.
    """
    towards = axis(up) if up != "auto" else torch.tensor(found.up or USUAL, dtype=torch.float64)
    rotation = turn_up(normalize(towards, dim=0))
    mass = mass_of(found.splats)
    return Placement(rotation, mass.centre, SPREAD / mass.spread)


def placed(cameras: FileCameras) -> Placement:
    """Of a file that brings cameras: by them."""
    return place(cameras.poses, "vertical", "poses")


def placement_of(transform: Float[Tensor, "3 4"], scale: float) -> Placement:
    """What `Placement.transform` and `scale` were of."""
    rotation = transform[:, :3].double()
    return Placement(rotation, -(rotation.T @ transform[:, 3].double()), scale)


def in_scene(splats: Splats, placement: Placement) -> Splats:
    """Splats of the file in the scene."""
    return splats.moved(placement.rotation, placement.centre, placement.scale)


def in_file(splats: Splats, placement: Placement) -> Splats:
    """The inverse."""
    turn, scale = placement.rotation, placement.scale
    return splats.moved(turn.T, -scale * (turn @ placement.centre), 1 / scale)

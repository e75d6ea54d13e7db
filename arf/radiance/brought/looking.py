"""From where splats that bring no cameras are looked at: around an object, or inside a place."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.brought.around import around, directions
from arf.radiance.brought.inside import inside, look_round, standpoint
from arf.radiance.brought.mass import Mass, mass_of
from arf.radiance.capture.cameras import Cameras
from arf.radiance.fields.field import Field
from arf.radiance.fields.splats.splats import Splats

ALONE = 0.02  # share of the splats around an object that is alone
SHRINK = 0.8  # of the distance, as long as something stands in between
SHORTEST = 0.25  # of the framing distance
HIDDEN = 0.5  # share of a small picture's middle in which something stands in between
NEARER = 1.3  # times the object's radius in front of its middle: it is not the object
SMALL = 24  # pixels of a side of that picture


def look(field: Field, splats: Splats, stand: str, count: int, size: int) -> Cameras:
    """`count` cameras.

    Args:
        stand: "auto", "around" or "inside".
        size: the pictures have as many pixels as a square of this side.
    """
    mass = mass_of(splats)
    place = standpoint(field, mass) if stand != "around" else None
    if stand == "inside" and place is None:
        place = mass.centre, look_round(field, mass.centre)[0]
    if place is not None:
        return inside(field, *place, count, size)
    framed = around(mass, count, size)
    if mass.around > ALONE:
        framed = around(mass, count, size, farthest=_unhidden(field, mass, framed))
    return framed


def _unhidden(field: Field, mass: Mass, cameras: Cameras) -> Float[Tensor, " n"]:
    """How far away cameras can stand at most before something comes between them and the middle of the mass."""
    radius = float((mass.points - mass.centre).norm(dim=1).median())
    full = (cameras.poses[:, :, 3].double() - mass.centre).norm(dim=1)
    found, sides = full.clone(), directions(len(cameras))
    for i in range(len(cameras)):
        while found[i] > max(SHORTEST * full[i], NEARER * radius):
            position = (mass.centre + found[i] * sides[i]).float()
            pose = torch.cat([cameras.poses[i, :, :3], position[:, None]], 1)
            camera = replace(cameras[i].resized(SMALL, SMALL), pose=pose)
            surface = field.surface(camera)
            middle = torch.zeros(SMALL, SMALL, dtype=torch.bool)
            middle[SMALL // 3 : -SMALL // 3, SMALL // 3 : -SMALL // 3] = True
            between = (surface.opacity > 0.5) & (surface.depth < found[i] - NEARER * radius - mass.spread)
            if between[middle.flatten().to(between.device)].float().mean() < HIDDEN:
                break
            found[i] *= SHRINK
    return found

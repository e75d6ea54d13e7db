"""What a camera sees of a field: where its surfaces are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.field import NOWHERE, Field

COVERED = 0.5  # opacity from which on a pixel shows something, and not the background


@dataclass
class Seen:
    """What a camera sees.

    Attributes:
        depth: distance along the ray; 1e6 where there is nothing.
    """

    camera: Camera
    depth: Float[Tensor, "h w"]

    @property
    def points(self) -> Float[Tensor, "h w 3"]:
        """Where the surfaces are; far away where there is nothing."""
        origins, directions = self.camera.rays()
        return (origins.cpu() + directions.cpu() * self.depth.view(-1, 1)).view(*self.camera.size, 3)

    @property
    def covered(self) -> Bool[Tensor, "h w"]:
        """Where it sees something, and not the background."""
        return self.depth < NOWHERE


@torch.no_grad()
def seen(field: Field, camera: Camera) -> Seen:
    """The surfaces of a field as a camera sees them."""
    surfaces = [field.surface(band) for band in camera.bands(field.band)]
    depth = torch.cat([s.depth.where(s.opacity >= COVERED, NOWHERE).cpu() for s in surfaces])
    return Seen(camera, depth.view(camera.size))

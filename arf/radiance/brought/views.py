"""Views whose photographs are a field's own renderings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.photographs import Photograph
from arf.radiance.capture.views import Capture, Views
from arf.radiance.fields.field import Field
from arf.radiance.records import Source

OPAQUE = 0.995  # from here on a pixel counts in full


@dataclass
class Renderings(Views):
    """Views without files.

    Attributes:
        cut_out: whether there is nothing but the background around what they show.
        field: what renders them; None until it is opened.
    """

    cut_out: bool = False
    field: Field | None = None

    @classmethod
    def of(cls, cameras: Cameras, cut_out: bool) -> Renderings:
        return cls(cameras, [], cut_out=cut_out)

    @property
    def transparent(self) -> bool:
        return self.cut_out

    @torch.no_grad()
    def photograph(self, i: int) -> Photograph:
        """The rendering of view i; transparent where it shows the background."""
        camera, colors, opacities = self.cameras[i], [], []
        for band in camera.bands(self.field.band):
            shot = self.field.shoot(band)
            colors.append(shot.color.clamp(0, 1).cpu())
            opacities.append(shot.opacity.cpu())
        opacity = torch.cat(opacities).view(camera.size).clamp(0, 1)
        image: Float[Tensor, "h w 3"] = torch.cat(colors).view(*camera.size, 3)
        return Photograph(image, alpha=None if (opacity >= OPAQUE).all() else opacity)

    def select(self, indices: Sequence[int]) -> Renderings:
        return replace(self, cameras=self.cameras[list(indices)])


def capture_of_sight(source: Source, name: str) -> Capture:
    """What stands for a capture: its views' photographs are still to be rendered."""
    sight = source.sight
    views = Renderings.of(sight.cameras(), sight.cut_out)
    box, transform = torch.tensor(sight.box), torch.tensor(sight.transform, dtype=torch.float64)
    parts = {"name": name, "root": source.data.parent, "train": views, "held_out": views.select([])}
    frame = {"transform": transform, "scale": sight.scale, "fingerprint": source.capture or ""}
    return Capture(**parts, kind=sight.kind, scene_box=box, space_box=box, bounds=None, **frame)

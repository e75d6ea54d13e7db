"""Views whose photographs are a field's own renderings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

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
        rays: per pixel, along each side; a pixel is their mean.
    """

    cut_out: bool = False
    field: Field | None = None
    rays: int = 1

    @classmethod
    def of(cls, cameras: Cameras, cut_out: bool) -> Renderings:
        return cls(cameras, [], cut_out=cut_out)

    @property
    def transparent(self) -> bool:
        return self.cut_out

    @torch.no_grad()
    def photograph(self, i: int) -> Photograph:
        """The rendering of view i; transparent where it shows the background."""
        camera, colors, opacities = self.cameras[i].finer(self.rays), [], []
        for band in camera.bands(self.field.band):
            shot = self.field.shoot(band)
            colors.append(shot.color.clamp(0, 1).cpu())
            opacities.append(shot.opacity.cpu())
        seen = torch.cat([torch.cat(colors), torch.cat(opacities)[:, None].clamp(0, 1)], 1).view(*camera.size, 4)
        seen = avg_pool2d(seen.permute(2, 0, 1)[None], self.rays)[0].permute(1, 2, 0)
        image: Float[Tensor, "h w 3"] = seen[..., :3].contiguous()
        opacity = seen[..., 3]
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

"""How closely the style loss looks at the views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from arf.media import image
from arf.radiance.settings import StylizeSettings
from arf.style.encoder import Encoder
from arf.style.objective import Features, StyleObjective

SMALLEST = 32  # pixels of a style picture's longer side


@dataclass
class Scale:
    """The style objective of pictures at a part of their size.

    Attributes:
        smaller: how many times smaller the objective sees views and styles.
    """

    smaller: int
    objective: StyleObjective

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        styles: Sequence[Float[Tensor, "h w 3"]],
        side: float,
        s: StylizeSettings,
        smaller: int = 1,
    ) -> Scale:
        """
        Args:
            side: pixels of the views' longer sides.

        Raises:
            UserError: as `StyleObjective`.
        """
        device, side = encoder.mean.device, max(SMALLEST, side / smaller * s.style_scale)
        shrunk = [image.fit_style(style, side).to(device) for style in styles]
        how = s.style_weights, s.loss, s.neighbours, s.exact_matches
        return cls(smaller, StyleObjective(encoder, s.layers, shrunk, *how))

    def features(self, picture: Float[Tensor, "h w 3"]) -> Features:
        """What the objective sees of a picture."""
        if self.smaller > 1:
            size = [max(1, round(side / self.smaller)) for side in picture.shape[:2]]
            picture = interpolate(picture.permute(2, 0, 1)[None], size, mode="area")[0].permute(1, 2, 0)
        return self.objective.features(picture)

    @torch.no_grad()
    def content(self, picture: Float[Tensor, "h w 3"]) -> dict[str, Tensor]:
        """The same to be kept, in half precision: features are about 1, and none overflows."""
        return {f"{k:02d}": f.half() for k, f in enumerate(self.features(picture))}

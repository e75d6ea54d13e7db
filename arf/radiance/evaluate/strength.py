"""How much of its styles a painting shows."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor

from arf.media import image
from arf.metrics import NNFM, Color, Gram
from arf.style.encoder import Encoder

Picture = Float[Tensor, "h w 3"]


class Strength:
    """Distances of pictures to one or more styles, the mean of those to each by its weight.

    Args:
        long_side: of the pictures; styles are looked at in the size that a painting of that size looks at them.
        scale: of the styles, as `arf stylize --style-scale` has it.
    """

    def __init__(
        self, styles: Sequence[Picture], weights: Sequence[float], encoder: Encoder, long_side: int, scale: float = 1.0
    ) -> None:
        self.shares = [w / sum(weights) for w in weights] if weights else [1 / len(styles)] * len(styles)
        fitted = [image.fit_style(style, max(32, long_side * scale)) for style in styles]
        self._metrics = {
            "nnfm": [NNFM(style, encoder) for style in fitted],
            "gram": [Gram(style, encoder) for style in fitted],
            "color": [Color(style) for style in fitted],
        }

    def update(self, picture: Picture, mask: Bool[Tensor, "h w"] | None = None) -> None:
        """Take a picture in, or what the mask shows of it."""
        for metrics in self._metrics.values():
            for metric in metrics:
                metric.update(picture, mask)

    def compute(self) -> dict[str, float]:
        """The means over the pictures so far, by the distances' names: the nearer to 0, the more style."""
        return {
            name: sum(share * metric.compute() for share, metric in zip(self.shares, metrics, strict=True))
            for name, metrics in self._metrics.items()
        }

"""The same figures over many pictures, as torchmetrics has them: `update` with each, `compute` the mean, `reset`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor

from arf.metrics import likeness, perceptual, pictures
from arf.style.encoder import Encoder

Picture = Float[Tensor, "h w 3"]


class Mean:
    """What they share. Calling one is `update`, and returns the value of that picture alone."""

    def __init__(self) -> None:
        self.reset()

    def measure(self, picture: Picture, *more: Tensor | None) -> float:
        raise NotImplementedError

    def __call__(self, picture: Picture, *more: Tensor | None) -> float:
        value = self.measure(picture, *more)
        if not math.isnan(value):  # of no pixel at all
            self._total, self.count = self._total + value, self.count + 1
        return value

    def update(self, picture: Picture, *more: Tensor | None) -> None:
        """Take a picture in."""
        self(picture, *more)

    def compute(self) -> float:
        """The mean over the pictures so far, NaN of none."""
        return self._total / self.count if self.count else math.nan

    def reset(self) -> None:
        """Forget all pictures."""
        self._total, self.count = 0.0, 0


class PSNR(Mean):
    """`psnr(picture, truth, mask)`."""

    def measure(self, picture: Picture, truth: Picture, mask: Bool[Tensor, "h w"] | None = None) -> float:
        return pictures.psnr(picture, truth, mask)


class SSIM(Mean):
    """`ssim(picture, truth, mask)`."""

    def measure(self, picture: Picture, truth: Picture, mask: Bool[Tensor, "h w"] | None = None) -> float:
        return pictures.ssim(picture, truth, mask)


class RMSE(Mean):
    """`rmse(picture, truth, mask)`: the root is taken of each pair of pictures, not of all of them together."""

    def measure(self, picture: Picture, truth: Picture, mask: Bool[Tensor, "h w"] | None = None) -> float:
        return pictures.rmse(picture, truth, mask)


class LPIPS(Mean):
    """`lpips(picture, truth, mask, net)`.

    Raises:
        UserError: something is missing (see `arf.metrics.perceptual.missing`).
    """

    def __init__(self, net: perceptual.Net = "alex") -> None:
        super().__init__()
        self.net = net
        perceptual.network(net)

    def measure(self, picture: Picture, truth: Picture, mask: Bool[Tensor, "h w"] | None = None) -> float:
        return perceptual.lpips(picture, truth, mask, self.net)


class NNFM(Mean):
    """`nnfm_distance(picture, mask)` to one style, whose features are computed once."""

    def __init__(self, style: Picture, encoder: Encoder, layers: Sequence[str] = likeness.NNFM_LAYERS) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, layers
        self.bank = likeness.nnfm_bank(style, encoder, layers)

    def measure(self, picture: Picture, mask: Bool[Tensor, "h w"] | None = None) -> float:
        return likeness.nnfm_distance(picture, self.bank, self.encoder, self.layers, mask)


class Gram(Mean):
    """`gram_distance(picture, mask)` to one style, whose matrices are computed once."""

    def __init__(self, style: Picture, encoder: Encoder, layers: Sequence[str] = likeness.GRAM_LAYERS) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, layers
        self.matrices = likeness.gram_matrices(style, encoder, layers)

    def measure(self, picture: Picture, mask: Bool[Tensor, "h w"] | None = None) -> float:
        return likeness.gram_distance(picture, self.matrices, self.encoder, self.layers, mask)


class Color(Mean):
    """`color_distance` of a picture's pixels, those of a mask, to one style."""

    def __init__(self, style: Picture) -> None:
        super().__init__()
        self.shares = likeness.color_shares(style)

    def measure(self, picture: Picture, mask: Bool[Tensor, "h w"] | None = None) -> float:
        counted = picture if mask is None else picture[mask]
        return likeness.shares_distance(likeness.color_shares(counted), self.shares) if len(counted) else math.nan


class Structure(Mean):
    """`structure_distance(picture, photograph, mask)`."""

    def __init__(self, encoder: Encoder, layer: str = likeness.STRUCTURE_LAYER) -> None:
        super().__init__()
        self.encoder, self.layer = encoder, layer

    def measure(self, picture: Picture, photograph: Picture, mask: Bool[Tensor, "h w"] | None = None) -> float:
        return likeness.structure_distance(picture, photograph, self.encoder, self.layer, mask)

"""Any style by its statistics: adaptive instance normalisation (Huang & Belongie, ICCV 2017).

AdaIN(x, y) = σ(y) (x − μ(x)) / σ(x) + μ(y) on the features of a frozen encoder at relu4_1, and a decoder that was
trained to turn features into pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from arf.networks.layers import Convolution, Pictures, at_any_size, double
from arf.style.encoder import Encoder, block_of
from arf.style.losses import moments

TAP = "relu4_1"
Features = Float[Tensor, "b c h w"]


@dataclass(frozen=True)
class Style:
    """What AdaIN knows of a style picture: mean and standard deviation of every channel.

    Attributes:
        mean, deviation: [B, C]; of one picture, or one for each content picture.
    """

    mean: Float[Tensor, "b c"]
    deviation: Float[Tensor, "b c"]

    @classmethod
    def of(cls, features: Features) -> Style:
        return cls(*moments(features))


def adain(content: Features, style: Style, region: Float[Tensor, "1 1 h w"] | None = None) -> Features:
    """Content features with the style's mean and deviation, channel by channel (eq. 8).

    Args:
        region: weights in [0, 1] of the positions whose statistics count as the content's; all alike when left out.
    """
    mean, deviation = moments(content, weight=region)
    scale = style.deviation / deviation  # [B, C]
    shift = style.mean - mean * scale
    return content * scale[..., None, None] + shift[..., None, None]


def stylized(
    content: Features,
    styles: Sequence[Style],
    weights: Sequence[float] = (),
    masks: Sequence[Float[Tensor, "h w"]] = (),
    alpha: float = 1.0,
) -> Features:
    """t = α Σ wₖ AdaIN(f, sₖ) + (1 − α) f.

    Args:
        weights: one for each style; they are normalised. Equal when left out.
        masks: one for each style in [0, 1] at the features' size, in place of one place for all: AdaIN then takes the
            content's statistics from that region (sec. 7.2 of the paper). Where they overlap the weights decide, and
            where there is none the content stays.
    """
    weights = list(weights) or [1.0] * len(styles)
    if not masks:
        mixed = sum(w / sum(weights) * adain(content, style) for w, style in zip(weights, styles, strict=True))
        return content + alpha * (mixed - content)
    target, total, covered = torch.zeros_like(content), 0.0, 0.0
    for weight, style, mask in zip(weights, styles, masks, strict=True):
        region = mask.to(content)[None, None]  # [1, 1, H, W]
        share = weight / sum(weights) * region
        target += share * adain(content, style, region)
        total = total + share
        covered = covered + (region if weight else 0)
    covered = covered.clamp(max=1)
    mixed = covered * target / total.clamp_min(1e-6) + (1 - covered) * content
    return content + alpha * (mixed - content)


class Decoder(nn.Module):
    """Features at a tap to pictures: the encoder's convolutions in reverse, with nearest upsampling in place of
    pooling, reflection padding, and no normalisation, for that would bring all pictures to one style.

    Args:
        widths: channels of every tap of the encoder, shallow to deep, up to the one that is decoded.
    """

    def __init__(self, widths: dict[str, int]) -> None:
        super().__init__()
        self.widths = dict(widths)
        taps = list(widths)
        self.convolutions = nn.ModuleDict()
        for index, tap in enumerate(taps):
            self.convolutions[tap] = Convolution(widths[tap], widths[taps[index - 1]] if index else 3)
        self.to(memory_format=torch.channels_last)

    @classmethod
    def mirroring(cls, encoder: Encoder, tap: str = TAP) -> Decoder:
        """A new decoder for an encoder's tap."""
        return cls({t: encoder.width(t) for t in encoder.taps[: encoder.taps.index(tap) + 1]})

    def forward(self, features: Features) -> Pictures:
        """Pictures, about in [0, 1]; not clamped."""
        x, block = features, block_of(list(self.widths)[-1])
        for tap, convolution in reversed(self.convolutions.items()):
            if block_of(tap) != block:
                x, block = double(x), block_of(tap)  # [B, C, 2H, 2W]
            x = convolution(x)
            if x.shape[1] != 3:
                x = functional.relu(x)
        return x


class AdainNetwork(nn.Module):
    """Encoder and decoder.

    Args:
        scaled: whether the decoder was trained on the encoder's common scale; published ones were not.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, scaled: bool = True) -> None:
        super().__init__()
        self.encoder, self.decoder, self.scaled = encoder, decoder, scaled
        self.tap = list(decoder.widths)[-1]

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that painting takes for each pixel: some copies of the widest features. Measured on a CPU: 368 bytes
        for the compact encoder, where this says 384, and 1026 for VGG-19, where it says 1536."""
        return 24 * self.decoder.widths["relu1_1"]

    def encode(self, pictures: Pictures) -> Features:
        """Features that the decoder understands."""
        return self.encoder(pictures, [self.tap], self.scaled)[self.tap]

    def style(self, pictures: Pictures) -> Style:
        """What `forward` needs of style pictures."""
        return Style.of(self.encode(pictures))

    def forward(
        self,
        pictures: Pictures,
        styles: Sequence[Style],
        weights: Sequence[float] = (),
        masks: Sequence[Float[Tensor, "h w"]] = (),
        alpha: float = 1.0,
    ) -> Pictures:
        """Pictures of any size in one or more styles; see `stylized`. Masks have the pictures' size."""
        stride = self.encoder.stride(self.tap)

        def paint(x: Pictures) -> Pictures:
            features = self.encode(x)
            places = [_shrink(mask, features.shape[2:], stride) for mask in masks]
            return self.decoder(stylized(features, styles, weights, places, alpha))

        return at_any_size(paint, pictures, stride)


def _shrink(mask: Float[Tensor, "h w"], size: Sequence[int], stride: int) -> Float[Tensor, "hs ws"]:
    """A mask of a picture's size at the size of its features: the mean over each position's pixels."""
    more = [s * stride - m for s, m in zip(size, mask.shape, strict=True)]
    grown = functional.pad(mask[None, None], (0, more[1], 0, more[0]), "replicate")
    return functional.avg_pool2d(grown, stride)[0, 0]

"""What the networks are made of, and how they take pictures of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Padding = Literal["reflect", "zeros"]
Pictures = Float[Tensor, "b 3 h w"]
Stylizer = Callable[[Pictures], Pictures]  # in [0, 1] and of any size, which stays


class Convolution(nn.Module):
    """A convolution that keeps the size (or halves it, rounding up), its input padded by reflection.

    Args:
        padding: "zeros" pads as TensorFlow's "SAME": of an uneven number of pixels the larger half comes last.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int = 3, stride: int = 1, padding: Padding = "reflect", bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, bias=bias)
        first = size // 2 if padding == "reflect" or stride == 1 else (size - stride) // 2
        last = size // 2 if padding == "reflect" or stride == 1 else size - stride - first
        self.pads = (first, last, first, last)
        self.mode = "reflect" if padding == "reflect" else "constant"

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o hs ws"]:
        return self.conv(functional.pad(x, self.pads, self.mode))


class InstanceNorm(nn.Module):
    """Instance normalisation, each style with its own rows γ and β (Dumoulin et al., ICLR 2017, eq. 5). With one style
    it is that of Ulyanov et al. (2016).

    Attributes:
        scale, shift: γ and β [styles, C].
    """

    def __init__(self, channels: int, styles: int = 1, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(styles, channels))
        self.shift = nn.Parameter(torch.zeros(styles, channels))
        self.eps = eps

    def forward(self, x: Float[Tensor, "b c h w"], mix: Float[Tensor, "b s"]) -> Float[Tensor, "b c h w"]:
        """Normalise each picture and give it the mean of the styles' rows, weighted by `mix`."""
        variance, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0, keepdim=True)  # [B, C, 1, 1]
        scale = (mix @ self.scale)[..., None, None] * (variance + self.eps).rsqrt()  # [B, C, 1, 1]
        return (x * scale + ((mix @ self.shift)[..., None, None] - mean * scale)).to(x.dtype)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation, for a network of one style."""

    def forward(self, x: Float[Tensor, "b c h w"], mix: Float[Tensor, "b 1"]) -> Float[Tensor, "b c h w"]:
        return super().forward(x)


def double(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2h 2w"]:
    """Twice the size by repeating pixels, which leaves no checkerboard where a transposed convolution does."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def at_any_size(network: Stylizer, pictures: Pictures, multiple: int) -> Pictures:
    """Pictures through a network whose sides must be multiples of a number, and at least twice it: grown by
    reflection, and cropped after.

    Raises:
        ValueError: not [B, 3, H, W].
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"pictures are [B, 3, H, W], got {list(pictures.shape)}")
    height, width = pictures.shape[2:]
    return network(grow(pictures, multiple))[..., :height, :width]


def grow(pictures: Pictures, multiple: int) -> Pictures:
    """Pictures with reflected rows and columns behind the last ones, so that the sides are multiples of a number, two
    times or more."""
    height, width = pictures.shape[2:]
    more = max(-height % multiple, 2 * multiple - height), max(-width % multiple, 2 * multiple - width)
    mode = "reflect" if more[0] < height and more[1] < width else "replicate"
    return functional.pad(pictures, (0, more[1], 0, more[0]), mode) if any(more) else pictures

"""A feed-forward network that paints in one style, or in many (Johnson et al., ECCV 2016; Ulyanov et al., 2016;
Dumoulin et al., ICLR 2017).

c9s1-32, d64, d128, R128 × 5, u64, u32, c9s1-3. `norm` is all that tells Johnson's network from Ulyanov's, and with more
than one style the instance norm is Dumoulin's conditional one. Where we deviate: a sigmoid ends the network also with
one style (as in Dumoulin's), so that it cannot leave the range of colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from arf.jobs.checks import within
from arf.networks.layers import BatchNorm, Convolution, InstanceNorm, Padding, Pictures, at_any_size, double

Norm = Literal["instance", "batch"]
STRIDE = 4  # pixels between positions of the middle layers


@dataclass(frozen=True)
class Architecture:
    """The shape of a fast network.

    Attributes:
        norm: of every layer but the last.
        styles: how many it can paint; more than one needs instance norm.
        width: channels at full size; two and four times as many at a half and a quarter.
        residuals: blocks at a quarter of the size.
        padding, upsampling, output, eps: ours, or those of published models (`arf.networks.published`). `output` is
            what ends the network: a sigmoid, nothing ("linear"), or a norm and tanh with a range that exceeds that of
            colours.
    """

    norm: Norm = "instance"
    styles: int = 1
    width: int = 32
    residuals: int = 5
    padding: Padding = "reflect"
    upsampling: Literal["nearest", "transposed"] = "nearest"
    output: Literal["sigmoid", "linear", "tanh"] = "sigmoid"
    eps: float = 1e-5

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        within(self, 1, 1024, "width")
        within(self, 0, 64, "residuals")
        within(self, 1, 10_000 if self.norm == "instance" else 1, "styles")
        within(self, 1e-12, 1, "eps")

    def normalisation(self, channels: int) -> nn.Module:
        if self.norm == "batch":
            return BatchNorm(channels, eps=self.eps)
        return InstanceNorm(channels, self.styles, self.eps)


class Layer(nn.Module):
    """Convolution, norm and, except at the end of a residual block, ReLU."""

    def __init__(self, like: Architecture, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.convolution = Convolution(inputs, outputs, size, stride, like.padding, bias=False)  # the norm has one
        self.norm = like.normalisation(outputs)

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        return functional.relu(self.norm(self.convolution(x), mix))


class Upsampling(nn.Module):
    """Twice the size: pixels repeated before a convolution, or a transposed one that loses its last row and column."""

    def __init__(self, like: Architecture, inputs: int, outputs: int) -> None:
        super().__init__()
        self.transposed = like.upsampling == "transposed"
        if self.transposed:
            self.convolution = nn.ConvTranspose2d(inputs, outputs, 3, 2, bias=False)
        else:
            self.convolution = Convolution(inputs, outputs, padding=like.padding, bias=False)
        self.norm = like.normalisation(outputs)

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        x = self.convolution(x)[..., :-1, :-1] if self.transposed else self.convolution(double(x))  # [B, C, 2H, 2W]
        return functional.relu(self.norm(x, mix))


class Residual(nn.Module):
    """Two convolutions whose result is added."""

    def __init__(self, like: Architecture, channels: int) -> None:
        super().__init__()
        self.first = Layer(like, channels, channels)
        self.second = Convolution(channels, channels, padding=like.padding, bias=False)
        self.norm = like.normalisation(channels)

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        return x + self.norm(self.second(self.first(x, mix)), mix)


class FastNetwork(nn.Module):
    """Pictures [B, 3, H, W] in [0, 1] of any size to pictures of that size in a style.

    Args:
        architecture: its shape.
        names: of its styles, in the order of their rows.

    Raises:
        ValueError: several styles with batch norm, or another number of names.
    """

    def __init__(self, architecture: Architecture, names: Sequence[str] = ("style",)) -> None:
        super().__init__()
        a = architecture
        if len(names) != a.styles or (a.norm == "batch" and a.styles > 1):
            raise ValueError(f"{a.styles} styles, {len(names)} names, {a.norm} norm: several styles need instance norm")
        self.architecture, self.names = architecture, list(names)
        w = a.width
        self.down = nn.ModuleList([Layer(a, 3, w, 9), Layer(a, w, 2 * w, stride=2), Layer(a, 2 * w, 4 * w, stride=2)])
        self.residuals = nn.ModuleList([Residual(a, 4 * w) for _ in range(a.residuals)])
        self.up = nn.ModuleList([Upsampling(a, 4 * w, 2 * w), Upsampling(a, 2 * w, w)])
        ported = a.output == "tanh"
        self.last = Convolution(w, 3, 9, padding=a.padding, bias=not ported)
        self.last_norm = a.normalisation(3) if ported else None
        self.to(memory_format=torch.channels_last)

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that painting takes for each pixel. Measured on a CPU: 536 bytes for width 16, 856 for 32."""
        return 220 + 20 * self.architecture.width

    def forward(self, pictures: Pictures, mix: Float[Tensor, "b s"] | None = None) -> Pictures:
        """Paint.

        Args:
            mix: weights of the styles for each picture; they sum to 1. May be left out where there is one style.

        Returns:
            Pictures, within [0, 1] only if the architecture ends in a sigmoid.
        """
        if mix is None:
            mix = pictures.new_ones(len(pictures), 1)
        return at_any_size(lambda x: self.paint(x, mix), pictures, STRIDE)

    def paint(self, x: Tensor, mix: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in (*self.down, *self.residuals, *self.up):
            x = layer(x, mix)
        x = self.last(x)  # [B, 3, H, W]
        if self.last_norm is not None:
            return (150 * torch.tanh(self.last_norm(x, mix)) + 127.5) / 255
        return torch.sigmoid(x) if self.architecture.output == "sigmoid" else x

    @torch.no_grad()
    def with_more(self, names: Sequence[str]) -> FastNetwork:
        """This network with rows for more styles, which begin as the mean of those that it has.

        Raises:
            ValueError: batch norm, which has no rows.
        """
        shape = replace(self.architecture, styles=self.architecture.styles + len(names))
        larger = FastNetwork(shape, [*self.names, *names])
        state = self.state_dict()
        for name, tensor in larger.state_dict().items():
            if tensor.shape != state[name].shape:  # [styles, C]
                mean = state[name].mean(0, keepdim=True).expand(len(names), -1)
                state[name] = torch.cat([state[name], mean])
        larger.load_state_dict(state)
        return larger

    def mix(self, weights: dict[str, float]) -> Float[Tensor, "1 s"]:
        """Normalised weights of named styles as `forward` takes them.

        Raises:
            ValueError: an unknown style, a weight below 0, or no weight above it.
        """
        unknown = [name for name in weights if name not in self.names]
        if unknown or not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise ValueError(f"weights of {', '.join(self.names)} that are 0 or more, not {weights}")
        row = torch.tensor([[weights.get(name, 0.0) for name in self.names]])
        return (row / row.sum()).to(self.last.conv.weight)

"""Pictures made by code that excite an encoder about as photographs do, to measure it where there are none."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

# Mean colour, and the principal axes of its variation: brightness, blue against yellow, green against magenta. These
# and the numbers below were fitted to photographs' mean activations in VGG-19, relu1_1 to relu5_1, max and average
# pooling: those of these pictures are 0.8 to 1.4 times as large (scripts/measure_encoder_scales.py prints the ratios).
MEAN = (0.48, 0.46, 0.41)
AXES = ((0.26, 0.26, 0.26), (0.036, 0.0, -0.036), (0.005, -0.011, 0.005))
LEAVES = 400
TEXTURE = 0.78
SLOPE = 1.35


def pictures(count: int = 4, size: int = 160, seed: int = 0) -> Float[Tensor, "b 3 size size"]:
    """Deterministic natural-like pictures in [0, 1].

    Dead leaves: opaque discs of radius density r^-3 that hide one another (Lee, Mumford & Huang, IJCV 2001), which have
    the edges and flat regions of photographs. Each carries noise of amplitude spectrum 1/f^1.35, some more than others.
    """
    generator = torch.Generator().manual_seed(seed)
    large = torch.stack([_dead_leaves(2 * size, generator) for _ in range(count)])
    return functional.avg_pool2d(large, 2)  # smooths the discs' edges


def _dead_leaves(size: int, generator: torch.Generator) -> Float[Tensor, "3 size size"]:
    leaf = torch.zeros(size, size, dtype=torch.long)
    axis = torch.arange(size)
    for number, (u, y, x) in enumerate(torch.rand(LEAVES, 3, generator=generator).tolist()):  # painted back to front
        radius = 1 / math.sqrt(u / 2**2 + (1 - u) / (size / 2) ** 2)  # inverse CDF of r^-3 on [2, size / 2]
        y, x = y * size, x * size
        box = slice(max(0, int(y - radius)), int(y + radius) + 2), slice(max(0, int(x - radius)), int(x + radius) + 2)
        inside = (axis[box[0], None] - y) ** 2 + (axis[None, box[1]] - x) ** 2 < radius**2
        leaf[box][inside] = number
    shade = torch.randn(3, LEAVES, generator=generator)[:, leaf]  # [3, H, W], along the colour axes
    roughness = torch.rand(LEAVES, generator=generator)[leaf]  # [H, W]
    along = shade + TEXTURE * roughness * _noise(size, generator)  # [3, H, W]
    color = torch.einsum("ac,ahw->chw", torch.tensor(AXES), along) + torch.tensor(MEAN)[:, None, None]
    return color.clamp(0, 1)


def _noise(size: int, generator: torch.Generator) -> Float[Tensor, "3 size size"]:
    """Noise of unit variance and amplitude spectrum 1/f^SLOPE."""
    frequency = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = math.inf
    spectrum = torch.fft.rfft2(torch.randn(3, size, size, generator=generator)) / frequency**SLOPE
    noise = torch.fft.irfft2(spectrum, s=(size, size))  # [3, H, W]
    return noise / noise.std(dim=(1, 2), keepdim=True)

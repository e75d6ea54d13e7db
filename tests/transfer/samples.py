"""Small pictures made by code, and how to measure what becomes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from arf.style import natural
from arf.style.encoder import Encoder
from arf.transfer.engine.terms import gram_targets


@cache
def photo(height: int = 64, width: int = 80, number: int = 0) -> Tensor:
    """A natural-like picture, [height, width, 3]."""
    side = max(height, width)
    return natural.pictures(number + 1, side)[number, :, :height, :width].permute(1, 2, 0).contiguous()


@cache
def blobs(height: int = 64, width: int = 80, seed: int = 0) -> Tensor:
    """A texture without large structures: soft spots of two colours, [height, width, 3]."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, 1, height + 24, width + 24, generator=generator)
    offsets = torch.arange(-12.0, 13.0)
    bell = torch.exp(-offsets.square() / 18)
    smooth = functional.conv2d(functional.conv2d(noise, bell.view(1, 1, 25, 1)), bell.view(1, 1, 1, 25))[0, 0]
    share = torch.sigmoid(4 * smooth / smooth.std())[..., None]  # [height, width, 1]
    dark, light = torch.tensor([0.1, 0.25, 0.5]), torch.tensor([0.9, 0.75, 0.3])
    return dark + share * (light - dark)


def planes(picture: Tensor) -> Tensor:
    return picture.permute(2, 0, 1)[None].contiguous()  # [1, 3, H, W]


def gram_errors(encoder: Encoder, picture: Tensor, of: Tensor, layers: Sequence[str]) -> list[float]:
    """‖G - Ĝ‖ / ‖Ĝ‖ at every layer."""
    found, wanted = (gram_targets(encoder, planes(p), layers) for p in (picture, of))
    return [float((found[layer] - wanted[layer]).norm() / wanted[layer].norm()) for layer in layers]


def psnr(picture: Tensor, of: Tensor) -> float:
    return -10 * math.log10(float((picture - of).square().mean()))

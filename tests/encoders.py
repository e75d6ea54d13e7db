"""An encoder small enough for any test, with VGG's names."""

from __future__ import annotations

import torch

from arf.style import natural, pretrained
from arf.style.encoder import Encoder, Padding, Pooling

WIDTHS = {"relu1_1": 8, "relu1_2": 8, "relu2_1": 12, "relu2_2": 12, "relu3_1": 16, "relu3_2": 16, "relu3_3": 16}


def tiny_encoder(pooling: Pooling = "max", seed: int = 0, padding: Padding = "zeros") -> Encoder:
    """Random convolutions under the names of VGG's first three blocks, scaled like the real ones."""
    generator = torch.Generator().manual_seed(seed)
    convolutions, inputs = {}, 3
    for tap, width in WIDTHS.items():
        weight = torch.randn(width, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
        convolutions[tap] = weight, torch.randn(width, generator=generator) * 0.05
        inputs = width
    stack = pretrained.Stack("tiny", convolutions, (0.48, 0.46, 0.41), "torchvision", "tiny")
    encoder = Encoder(stack, pooling, padding)
    encoder.rescale(encoder.mean_activations(natural.pictures(1, 64)))
    return encoder

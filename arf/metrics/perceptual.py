"""LPIPS (Zhang et al., CVPR 2018), through torchmetrics, where that and the network's weights are."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from arf.errors import UserError
from arf.style import pretrained

Net = Literal["alex", "vgg"]
WEIGHTS = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights"}  # torchvision's
SMALLEST = 32  # pixels of a side that the networks need
Picture = Float[Tensor, "h w 3"]


def torchvision_file(weights: str) -> Path:
    """Where torchvision keeps weights once it has downloaded them.

    Args:
        weights: their enumeration in `torchvision.models`, of which the default is meant.
    """
    from torchvision import models

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(attrgetter(weights)(models).DEFAULT.url).name


def weights_file(net: Net) -> Path:
    """The weights of LPIPS' network."""
    return torchvision_file(WEIGHTS[net])


def missing(net: Net = "alex") -> str | None:
    """What LPIPS lacks here and how to get it, None where it lacks nothing. Nothing is downloaded."""
    if importlib.util.find_spec("torchmetrics") is None:
        return "LPIPS needs torchmetrics: pip install torchmetrics"
    if not weights_file(net).is_file():
        model = {"alex": "alexnet", "vgg": "vgg16"}[net]
        get = f"python -c \"import torchvision; torchvision.models.{model}(weights='DEFAULT')\""
        return f"LPIPS needs {weights_file(net).name} of torchvision: {get}"
    return None


@cache
def network(net: Net) -> Callable[[Tensor, Tensor], Tensor]:
    """The network, which takes two batches [B, 3, H, W] and gives the mean of their distances.

    Raises:
        UserError: something is missing, or the weights are damaged.
    """
    if lacks := missing(net):
        raise UserError(lacks)
    pretrained.read(weights_file(net))  # refuses what is no plain weights file: torchvision looks less closely
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    metric = LearnedPerceptualImagePatchSimilarity(net_type=net)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        value = metric(a, b)
        metric.reset()  # of what it sums up
        return value

    return distance


@torch.no_grad()
def lpips(picture: Picture, truth: Picture, mask: Bool[Tensor, "h w"] | None = None, net: Net = "alex") -> float:
    """The perceptual distance of two pictures in [0, 1], which the network sees in [-1, 1] as it was made to.

    Args:
        mask: what counts; everything else is grey in both. NaN where nothing does.

    Raises:
        UserError: something is missing (see `missing`).
        ValueError: a side is shorter than `SMALLEST` pixels.
    """
    if min(picture.shape[:2]) < SMALLEST:
        raise ValueError(f"LPIPS needs {SMALLEST} pixels a side, not {list(picture.shape)}")
    pair = [2 * p.float().cpu().clamp(0, 1) - 1 for p in (picture, truth)]
    if mask is not None:
        if not mask.any():
            return math.nan
        pair = [p * mask.cpu()[..., None] for p in pair]
    return float(network(net)(*(p.permute(2, 0, 1)[None] for p in pair)))

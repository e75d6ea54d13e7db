"""What a user can ask of the 2D methods: one commented dataclass per job, whose field docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from arf.settings import within


@dataclass
class NetworkSettings:
    """The network that looks, and where it computes."""

    encoder: Literal["compact", "vgg19", "vgg16"] = "compact"
    """The network whose features are used. compact is distilled from vgg19, comes with arf and is several times
    faster; the others are downloaded."""
    encoder_weights: Path | None = None
    """Weights file of the encoder; for VGG else the folder in ARF_WEIGHTS, else torchvision's download."""
    pooling: Literal["max", "average"] = "max"
    """The encoder's pooling: max as it was trained, average for smoother gradients."""
    device: str = "auto"
    """cpu, cuda, or auto."""

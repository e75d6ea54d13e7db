"""What a user can ask of the 2D methods: one commented dataclass per job, whose field docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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


@dataclass
class OptimizeSettings(NetworkSettings):
    """How a picture is optimised."""

    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    """L-BFGS within the bounds of the colours, or Adam."""
    steps: int = 300
    """Evaluations of loss and gradient, at each scale."""
    history: int = 10
    """lbfgs: steps that are remembered; each takes the memory of two pictures."""
    learning_rate: float = 0.02
    """adam: its learning rate (in units of RGB)."""
    averaging: float = 0.99
    """adam: decay of the mean over steps, which is the result; 0 takes the best step instead."""
    tile: int = 0
    """Side in pixels of the tiles that are looked at one by one, for pictures larger than memory; 0 takes the whole
    picture where it fits, and else the largest tile that does. The result is the same."""
    seed: int = 0
    """Seeds noise; same seed, same picture."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        within(self, 1, inf, "steps", "history")
        within(self, 1e-9, inf, "learning_rate")
        within(self, 0, 0.9999, "averaging")
        within(self, 0, inf, "tile")

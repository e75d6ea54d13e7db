"""What the training loop asks of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from arf.media.image import Picture
from arf.training.data import Batch, Source

Terms = dict[str, Tensor]


@dataclass
class Phase:
    """One update within a step: an objective that gives weighted terms of a loss, and the optimiser of what learns.

    Attributes:
        name: a short word.
        objective: called with the batch; returns the terms, which are summed. Its parameters are those that learn in
            this phase, and frozen ones.
        optimizer: over those that learn.
        rate: learning rate at a step.
    """

    name: str
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    rate: Callable[[int], float]


class Trainee(ABC):
    """A network in training.

    Attributes:
        phases: the updates of a step, in their order.
        sources: what is drawn for it.
        learned: the modules that change, by name; they are what a checkpoint holds.
    """

    phases: list[Phase]
    learned: dict[str, nn.Module]
    sources: list[Source]

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the network as it is now, as a file that `arf.networks` opens."""

    @abstractmethod
    def sample(self, batch: Batch) -> list[list[Picture]]:
        """Rows of pictures that show how far it has come."""


def to_pictures(planes: Float[Tensor, "b 3 h w"]) -> list[Picture]:
    """A batch as single pictures [H, W, 3] in [0, 1]."""
    return list(planes.detach().float().clamp(0, 1).permute(0, 2, 3, 1).cpu())

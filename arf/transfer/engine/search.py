"""What an optimiser is to the loop that paints, what it remembers, and torch's own ones as such."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.tensors import check_tensors, optimizer_tensors, restore_optimizer, tensors_like
from arf.transfer.engine.tiles import Planes


@dataclass(frozen=True)
class Memory:
    """All that an optimiser needs, beside its best picture, to go on with the same steps: tensors, and numbers as JSON
    has them."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class Search(Protocol):
    """An optimiser that is asked and told (see `LBFGS`)."""

    point: Planes
    best: Planes
    done: bool

    def tell(self, value: float, gradient: Planes) -> None: ...

    def memory(self) -> Memory:
        """What it remembers now; it stays as it is when the search goes on."""

    def restore(self, best: Planes, memory: Memory, where: str, remedy: str) -> None:
        """Go on as the search of whose best picture and memory these are.

        Raises:
            UserError: they cannot be those of such a search.
        """


class FirstOrder:
    """One of torch's optimisers as a `Search`, clamped to bounds after every step.

    `best` is the exponential mean of the points that were stepped to, free of bias towards the start, which is smoother
    than any of them; with a `decay` of 0 it is the last one.
    """

    def __init__(
        self,
        start: Planes,
        bounds: tuple[Tensor | float, Tensor | float],
        optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
        decay: float = 0.0,
    ) -> None:
        self.point, self.bounds, self.decay = start.clamp(*bounds), bounds, decay
        self.optimizer = optimizer([self.point])
        self.best, self.done = self.point.clone(), False
        self._mean, self._left = torch.zeros_like(self.point), 1.0  # the share that the mean still lacks

    @torch.no_grad()
    def tell(self, value: float, gradient: Planes) -> None:
        self.point.grad = gradient
        self.optimizer.step()
        self.point.clamp_(*self.bounds)
        self._mean.lerp_(self.point, 1 - self.decay)
        self._left *= self.decay
        self.best = self._mean / (1 - self._left)

    def memory(self) -> Memory:
        held = {"point": self.point, "mean": self._mean, **optimizer_tensors(self.optimizer, "optimizer")}
        return Memory({name: tensor.clone() for name, tensor in held.items()}, {"left": self._left})

    @torch.no_grad()
    def restore(self, best: Planes, memory: Memory, where: str, remedy: str) -> None:
        numbers = admit(_Numbers, memory.numbers, where, remedy)
        like = {"point": self.point, "mean": self._mean, **tensors_like(self.optimizer, "optimizer")}
        check_tensors(memory.tensors, like, where, remedy)
        if not 0 <= numbers.left < 1:
            raise UserError(f"{where}: left is {numbers.left}, which is no share; {remedy}")
        self.best = best.to(self.point).clone()
        self.point.copy_(memory.tensors["point"])
        self._mean.copy_(memory.tensors["mean"])
        self._left = numbers.left
        restore_optimizer(self.optimizer, memory.tensors, "optimizer")


@dataclass
class _Numbers:
    left: float

"""L-BFGS within a box.

Why our own: torch's L-BFGS knows no bounds; scipy's L-BFGS-B computes on the host only and takes a fifth of a second of
bookkeeping per evaluation at 512×512 (two CPU cores), more than the compact encoder and a tenth of VGG-19.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.tensors import check_tensors
from arf.transfer.engine.search import Memory

SUFFICIENT = 1e-4  # share of the promised decrease that a step must bring (Armijo)
SHORTEST, LONGEST = 0.1, 0.5  # bounds of the next try, in proportion to a step that failed
TRIES = 12  # steps along one direction before the history is dropped
FIRST_STEP = 0.01  # mean change of a value at the first try
NOISE = 1e-7  # relative error of a loss summed in float32


class LBFGS:
    """Limited-memory BFGS (Liu & Nocedal, 1989) with bounds by projection (Bertsekas, 1982): values that lie on a
    bound and want to go beyond it are held, the others follow the quasi-Newton direction, and trials are clamped.

    You evaluate `point` and `tell` what you found; then `point` is the next trial. Steps that do not decrease the loss
    are shortened by quadratic interpolation.

    Args:
        start: where to begin, any shape.
        low, high: bounds, broadcastable to `start`.
        history: pairs of steps and gradient changes that are kept; each takes twice the size of `start`.

    Attributes:
        point: where to evaluate next.
        best: the best point so far.
        value: the loss at `best`; None before the first `tell`.
        done: no decrease can be found any more.
    """

    def __init__(
        self, start: Float[Tensor, "..."], low: Tensor | float, high: Tensor | float, history: int = 20
    ) -> None:
        self.low, self.high = low, high
        self.point = self.best = start.clamp(low, high)
        self.value: float | None = None
        self.done = False
        self._gradient = torch.zeros_like(start)
        self._pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=history)  # s, y, s·y

    def tell(self, value: float, gradient: Float[Tensor, "..."]) -> None:
        """Take in loss and gradient at `point`, and choose the next one."""
        if self.value is None:
            self._accept(value, gradient)
            return
        promised = _dot(self._gradient, self.point - self.best)  # negative, unless bounds cut the direction off
        noise = NOISE * abs(self.value)
        hopeful = promised < -noise or value < self.value  # else there is nothing to gain but rounding errors
        if hopeful and value <= self.value + SUFFICIENT * promised + noise:
            self._remember(self.point - self.best, gradient - self._gradient)
            self._accept(value, gradient)
            return
        self._tries += 1
        if not hopeful or self._tries == TRIES:
            self.done = not self._pairs  # even the gradient leads nowhere
            self._pairs.clear()
            self._choose_direction()
            return
        curvature = value - self.value - promised  # of the parabola through both values and the slope
        shorter = -promised / (2 * curvature) if curvature > 0 else LONGEST
        self._length *= min(max(shorter, SHORTEST), LONGEST)
        self._try()

    def memory(self) -> Memory:
        """Gradient, pairs, and where along its direction the search is. The direction follows from them."""
        tensors = {"gradient": self._gradient}
        for i, (step, change, _) in enumerate(self._pairs):
            tensors |= {f"step.{i}": step, f"change.{i}": change}
        numbers = {"value": self.value, "length": self._length, "tries": self._tries, "done": self.done}
        return Memory(tensors, {**numbers, "products": [product for *_, product in self._pairs]})

    def restore(self, best: Float[Tensor, "..."], memory: Memory, where: str, remedy: str) -> None:
        numbers = admit(_Numbers, memory.numbers, where, remedy)
        pairs = len(numbers.products)
        positive = [numbers.length, *numbers.products]
        if pairs > self._pairs.maxlen or not isfinite(sum(positive) + numbers.value) or min(positive) <= 0:
            raise UserError(f"{where} holds numbers that are not those of an L-BFGS with this history; {remedy}")
        names = ["gradient", *(f"{kind}.{i}" for i in range(pairs) for kind in ("step", "change"))]
        check_tensors(memory.tensors, dict.fromkeys(names, self.point), where, remedy)
        # copies: what is read may lie askew in memory, and sums would be rounded otherwise
        held = {name: memory.tensors[name].to(self.point).clone() for name in names}
        self.best, self.value, self._gradient = best.to(self.point).clone(), numbers.value, held["gradient"]
        self._pairs.clear()
        self._pairs.extend((held[f"step.{i}"], held[f"change.{i}"], p) for i, p in enumerate(numbers.products))
        self._choose_direction()
        self._length, self._tries, self.done = numbers.length, numbers.tries, numbers.done
        self._try()

    def _accept(self, value: float, gradient: Tensor) -> None:
        self.best, self.value, self._gradient = self.point, value, gradient
        self._choose_direction()

    def _remember(self, step: Tensor, change: Tensor) -> None:
        """Keep a pair whose curvature is positive; others would make the direction point uphill."""
        product = _dot(step, change)
        if product > 1e-10 * _dot(change, change):
            self._pairs.append((step, change, product))

    def _choose_direction(self) -> None:
        held = ((self.best <= self.low) & (self._gradient > 0)) | ((self.best >= self.high) & (self._gradient < 0))
        free = self._gradient.masked_fill(held, 0)
        self._direction = -self._solve(free).masked_fill_(held, 0)
        if not self._pairs:
            self._direction *= FIRST_STEP / max(float(free.abs().mean()), 1e-30)
            self.done = self.done or not bool(free.any())
        self._length, self._tries = 1.0, 0
        self._try()

    def _try(self) -> None:
        self.point = (self.best + self._length * self._direction).clamp(self.low, self.high)

    def _solve(self, gradient: Tensor) -> Tensor:
        """The inverse Hessian's estimate times the gradient, by the two-loop recursion."""
        result = gradient.clone()
        shares = []
        for step, change, product in reversed(self._pairs):
            shares.append(_dot(step, result) / product)
            result.add_(change, alpha=-shares[-1])
        if self._pairs:
            _, change, product = self._pairs[-1]
            result.mul_(product / _dot(change, change))
        for (step, change, product), share in zip(self._pairs, reversed(shares), strict=True):
            result.add_(step, alpha=share - _dot(change, result) / product)
        return result


@dataclass
class _Numbers:
    """What a search remembers beside its tensors."""

    value: float
    length: float
    tries: int
    done: bool
    products: list[float]


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.flatten(), b.flatten()))

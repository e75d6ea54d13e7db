"""The one loop that paints: loss and gradient in, next picture out, coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.media import image
from arf.transfer.engine.lbfgs import LBFGS
from arf.transfer.engine.objective import Evaluation, Planes
from arf.transfer.settings import OptimizeSettings

Picture = Float[Tensor, "h w 3"]
Size = tuple[int, int]  # height, width
SMALLEST = 64  # pixels: the shorter side of the coarsest scale


@dataclass(frozen=True)
class Moment:
    """Where an optimisation stands after a step.

    Attributes:
        scale: number of the scale, coarse to fine; `size` is its height and width.
        step, steps: of this scale; a step is one evaluation of loss and gradient.
        parts: the terms of the loss.
        best: the best picture so far, at this scale.
        finish: makes of it what the user gets.
    """

    scale: int
    size: Size
    step: int
    steps: int
    parts: dict[str, float]
    best: Planes
    finish: Callable[[Planes], Picture]

    def picture(self) -> Picture:
        return self.finish(self.best)


Watch = Callable[[Moment], None]


@dataclass(frozen=True)
class State:
    """From where a stopped optimisation can go on. What the optimiser remembers is not kept; it is soon made anew."""

    scale: int
    step: int
    best: Planes


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; `moment` holds the best picture so far, None where there is none yet."""

    def __init__(self, moment: Moment | None) -> None:
        super().__init__()
        self.moment = moment


class Search(Protocol):
    """An optimiser that is asked and told (see `LBFGS`)."""

    point: Planes
    best: Planes
    done: bool

    def tell(self, value: float, gradient: Planes) -> None: ...


class FirstOrder:
    """One of torch's optimisers as a `Search`, clamped to bounds after every step.

    With `decay`, `best` is the exponential mean of the points, free of bias towards the start, which is smoother than
    any of them; else the point with the smallest loss.
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
        self.best, self.value, self.done = self.point.clone(), math.inf, False
        self._mean, self._left = torch.zeros_like(self.point), 1.0  # the share that the mean still lacks

    @torch.no_grad()
    def tell(self, value: float, gradient: Planes) -> None:
        if not self.decay and value < self.value:
            self.best, self.value = self.point.clone(), value
        self.point.grad = gradient
        self.optimizer.step()
        self.point.clamp_(*self.bounds)
        if self.decay:
            self._mean.lerp_(self.point, 1 - self.decay)
            self._left *= self.decay
            self.best = self._mean / (1 - self._left)


def searcher(settings: OptimizeSettings, start: Planes, bounds: tuple[Tensor | float, Tensor | float]) -> Search:
    """The optimiser that the settings name."""
    if settings.optimizer == "lbfgs":
        return LBFGS(start, *bounds, settings.history)
    return FirstOrder(
        start, bounds, lambda p: torch.optim.Adam(p, settings.learning_rate, (0.9, 0.99)), settings.averaging
    )


def coarse_to_fine(
    sizes: Sequence[Size],
    start: Callable[[Size, Planes | None], Planes],
    problem: Callable[[Size], Callable[[Planes], Evaluation]],
    search: Callable[[Planes], Search],
    steps: int,
    finish: Callable[[Planes], Picture],
    watch: Watch | None = None,
    go_on: State | None = None,
) -> Picture:
    """Optimise a picture at one size after another.

    Args:
        sizes: coarse to fine.
        start: where to begin at a size, given the best picture of the size before (None at first).
        problem: loss and gradient, at a size.
        search: the optimiser, from a start.
        steps: evaluations at each size; fewer where no decrease can be found any more.
        finish: makes of the best picture at any size what the user gets.
        watch: told after every step.
        go_on: where an earlier call was stopped.

    Raises:
        Interrupted: Ctrl-C.
        UserError: the loss is not finite.
    """
    moment = best = None
    try:
        for scale in range(go_on.scale if go_on else 0, len(sizes)):
            resumed = go_on is not None and scale == go_on.scale
            done = go_on.step if resumed else 0
            evaluate = problem(sizes[scale])
            searching = search(go_on.best if resumed else start(sizes[scale], best))
            for step in range(done + 1, steps + 1):
                found = evaluate(searching.point)
                if not math.isfinite(found.total):
                    raise UserError(f"the loss is {found.total} at step {step}; lower --learning-rate or the weights")
                searching.tell(found.total, found.gradient)
                moment = Moment(scale, sizes[scale], step, steps, found.parts, searching.best, finish)
                if watch:
                    watch(moment)
                if searching.done:
                    break
            best = searching.best
    except KeyboardInterrupt as stop:
        raise Interrupted(moment) from stop
    return finish(best)


def resize(planes: Planes, size: Size) -> Planes:
    """Planes [1, 3, H, W] at another size."""
    return to_planes(image.resize(to_picture(planes), *size)).to(planes.device)


def to_picture(planes: Planes) -> Picture:
    return planes.detach()[0].permute(1, 2, 0)


def to_planes(picture: Picture) -> Planes:
    return picture.permute(2, 0, 1)[None].contiguous()


def pyramid(size: Size, scales: int, factor: float = 2**0.5) -> list[Size]:
    """Sizes from coarse to fine, each `factor` larger, as many as leave the shorter side SMALLEST pixels."""
    found = [size]
    while len(found) < scales:
        coarser = tuple(round(side / factor ** len(found)) for side in size)
        if min(coarser) < SMALLEST:
            break
        found.append(coarser)
    return found[::-1]


def noise_like(planes: Planes, size: Size, seed: int, deviation: float | None = None) -> Planes:
    """Gaussian noise with a picture's mean and deviation, channel by channel; the same on every device."""
    noise = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed)).to(planes)
    own, mean = torch.std_mean(planes, (2, 3), keepdim=True)
    return mean + (own if deviation is None else deviation) * noise

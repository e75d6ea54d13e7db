"""The one loop that paints: loss and gradient in, next picture out, coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from arf.adam import Adam
from arf.errors import UserError
from arf.jobs.interrupts import AtOnce, held_interrupts
from arf.jobs.tensors import check_tensors
from arf.media import image
from arf.transfer.engine.lbfgs import LBFGS
from arf.transfer.engine.objective import Evaluation, Planes
from arf.transfer.engine.search import FirstOrder, Memory, Search
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
        memory: what the optimiser goes on from.
    """

    scale: int
    size: Size
    step: int
    steps: int
    parts: dict[str, float]
    best: Planes
    finish: Callable[[Planes], Picture]
    memory: Memory

    def picture(self) -> Picture:
        return self.finish(self.best)


Watch = Callable[[Moment], None]


@dataclass(frozen=True)
class State:
    """From where a stopped optimisation goes on, as if it had not been stopped.

    Attributes:
        scale, step, best: see `Moment`.
        memory: None where all is done, and `best` is the result.
        where, remedy: what holds it and what to do where it makes no sense, for messages.
    """

    scale: int
    step: int
    best: Planes
    memory: Memory | None
    where: str = "the state"
    remedy: str = "begin again"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; `moment` holds the best picture so far, None where there is none yet."""

    def __init__(self, moment: Moment | None) -> None:
        super().__init__()
        self.moment = moment


def searcher(settings: OptimizeSettings, start: Planes, bounds: tuple[Tensor | float, Tensor | float]) -> Search:
    """The optimiser that the settings name."""
    if settings.optimizer == "lbfgs":
        return LBFGS(start, *bounds, settings.history)
    return FirstOrder(start, bounds, lambda p: Adam(p, settings.learning_rate, (0.9, 0.99)), settings.averaging)


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
        Interrupted: Ctrl-C; the second one at once, and without a moment.
        UserError: the loss is not finite, or the state to go on from is not one of this optimisation.
    """
    moment = best = None
    if go_on:
        _check(go_on, sizes, steps)
        if go_on.memory is None:
            return finish(search(go_on.best).best)  # on the device where it was made
    try:
        for scale in range(go_on.scale if go_on else 0, len(sizes)):
            resumed = go_on is not None and scale == go_on.scale
            done = go_on.step if resumed else 0
            evaluate = problem(sizes[scale])
            searching = search(go_on.best if resumed else start(sizes[scale], best))
            if resumed:
                searching.restore(go_on.best, go_on.memory, go_on.where, go_on.remedy)
            for step in range(done + 1, steps + 1):
                if searching.done:
                    break
                with held_interrupts():  # what is gone on from is a whole step
                    found = evaluate(searching.point)
                    if not math.isfinite(found.total):
                        raise UserError(
                            f"the loss is {found.total} at step {step}; lower --learning-rate or the weights"
                        )
                    searching.tell(found.total, found.gradient)
                    moment = Moment(
                        scale, sizes[scale], step, steps, found.parts, searching.best, finish, searching.memory()
                    )
                    if watch:
                        watch(moment)
            best = searching.best
    except KeyboardInterrupt as stop:
        raise Interrupted(None if isinstance(stop, AtOnce) else moment) from stop
    return finish(best)


def _check(state: State, sizes: Sequence[Size], steps: int) -> None:
    """Raises UserError where a state is not one of an optimisation of these sizes and steps."""
    last = len(sizes) - 1
    if not (0 <= state.scale <= last and 0 <= state.step <= steps) or (state.memory is None and state.scale < last):
        raise UserError(
            f"{state.where} is at step {state.step} of size {state.scale}, of which there is none; {state.remedy}"
        )
    like = {"best": torch.empty(1, 3, *sizes[state.scale], device="meta")}
    check_tensors({"best": state.best}, like, state.where, state.remedy)


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

"""How well the pictures of a film agree about the place that they show.

The depth protocol: a frame and one that comes after it; the later one is looked up where the unstylised field says that
the pixels of the earlier one are in it. What is hidden in one of the two, or lies outside, does not count: no hole is
taken for an error of zero. RMSE is the root of the mean square over the pixels that count and the channels, LPIPS of
the masked pictures; both of each pair, and the mean is over pairs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from jaxtyping import Bool, Float
from torch import Tensor

from arf.metrics import RMSE, look_up
from arf.metrics.classes import Mean
from arf.radiance.evaluate.reprojection import found_in
from arf.radiance.fields.seen import Seen

GAPS = {"short": 1, "long": 7}  # frames apart
WORST = 2  # pairs that are kept to be shown
Picture = Float[Tensor, "h w 3"]
Laid = tuple[Picture, Picture, Bool[Tensor, "h w"]]  # a frame, its neighbour brought to its place, and what counts
Lay = Callable[[int, int], tuple[tuple[int, int], Callable[[Picture, Picture], Laid]]]


@dataclass(order=True)
class Pair:
    """A frame and its neighbour, brought to the place of the frame."""

    rmse: float
    first: int
    second: int
    frame: Picture = field(compare=False)
    warped: Picture = field(compare=False)
    visible: Bool[Tensor, "h w"] = field(compare=False)


@dataclass
class Agreement:
    """What pairs of one gap say of a film.

    Attributes:
        visible: share of the pixels that count.
        lpips: None where it was not measured.
        worst: pairs, the worst one first.
    """

    pairs: int
    rmse: float
    lpips: float | None
    visible: float
    worst: list[Pair]


class _Tally:
    def __init__(self, perceptual: Mean | None) -> None:
        self.rmse, self.lpips, self.visible = RMSE(), perceptual, []
        self.worst: list[Pair] = []

    def add(self, first: int, second: int, frame: Picture, warped: Picture, visible: Tensor) -> None:
        self.visible.append(float(visible.float().mean()))
        if not visible.any():
            return
        pair = Pair(self.rmse(frame, warped, visible), first, second, frame, warped, visible)
        (heapq.heappushpop if len(self.worst) == WORST else heapq.heappush)(self.worst, pair)
        if self.lpips:
            self.lpips.update(frame, warped, visible)

    def agreement(self) -> Agreement:
        lpips = self.lpips.compute() if self.lpips else None
        share = sum(self.visible) / max(1, len(self.visible))
        return Agreement(self.rmse.count, self.rmse.compute(), lpips, share, sorted(self.worst, reverse=True))


def at_hand(surfaces: Callable[[int], Seen]) -> Callable[[int], Seen]:
    """The surfaces of frames, traced once for all the pairs that they are in."""
    return lru_cache(2 * len(GAPS) + max(GAPS.values()))(surfaces)


def by_depth(surfaces: Callable[[int], Seen]) -> Lay:
    """The depth protocol.

    Args:
        surfaces: what the unstylised field shows in a frame; it is asked for the same one several times.
    """

    def lay(first: int, second: int) -> tuple[tuple[int, int], Callable[[Picture, Picture], Laid]]:
        places, visible = found_in(surfaces(first), surfaces(second))
        return (first, second), lambda frame, later: (frame, look_up(later, places)[0], visible)

    return lay


def beginnings(frames: int, pairs: int) -> list[int]:
    """The frames with which pairs begin, spread over a path that has one so many frames later for each gap."""
    last = frames - max(GAPS.values())
    if last <= pairs:
        return list(range(max(0, last)))
    return [k * last // pairs for k in range(pairs)]


def agreements(
    firsts: Sequence[int],
    pictures: Callable[[int], Mapping[str, Picture]],
    lay: Lay,
    perceptual: Callable[[], Mean] | None = None,
    also: Callable[[int, Mapping[str, Picture]], None] = lambda *_: None,
    told: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, dict[str, Agreement]]:
    """Of every film, by its name, and of every gap.

    Args:
        firsts: frames with which pairs begin, ascending.
        pictures: every film's picture of a frame.
        lay: of two frames, which of them is the place and which is brought there, and what lays a film's pictures of
            the first and the second over each other.
        perceptual: makes what measures LPIPS.
        also: called with each of `firsts` and its pictures.
        told: after each of `firsts`, how many are done, of how many.
    """
    tallies: dict[str, dict[str, _Tally]] = {}
    known: dict[int, Mapping[str, Picture]] = {}

    def frame(k: int) -> Mapping[str, Picture]:
        if k not in known:
            known[k] = pictures(k)
        return known[k]

    for done, first in enumerate(firsts, start=1):
        for old in [k for k in known if k < first]:
            del known[old]
        shown = frame(first)
        also(first, shown)
        for gap, apart in GAPS.items():
            others, (numbers, together) = frame(first + apart), lay(first, first + apart)
            for name, picture in shown.items():
                gaps = tallies.setdefault(name, {})
                if gap not in gaps:
                    gaps[gap] = _Tally(perceptual() if perceptual else None)
                gaps[gap].add(*numbers, *together(picture, others[name]))
        told(done, len(firsts))
    return {name: {gap: tally.agreement() for gap, tally in gaps.items()} for name, gaps in tallies.items()}

"""What changes along a film: how much of the paint shows, and of which look."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from arf.errors import UserError


def eased(values: Sequence[float], share: float) -> float:
    """A value at a share of the film, [0, 1]: through values that are evenly spaced, at rest at each of them."""
    if len(values) == 1:
        return values[0]
    place = min(max(share, 0.0), 1.0) * (len(values) - 1)
    first = min(int(place), len(values) - 2)
    return values[first] + (values[first + 1] - values[first]) * _step(place - first)


def look_weights(times: Sequence[float], share: float, loop: bool = False) -> list[float]:
    """How much of each look shows at a share of the film; they add up to 1.

    Args:
        times: at which each look is there in full, as shares of the film; they ascend.
        loop: the first look follows on the last, a whole film after its own time.
    """
    weights = [0.0] * len(times)
    ends = [*times, times[0] + 1.0] if loop else list(times)
    if loop and share < times[0]:
        share += 1.0
    if share <= ends[0] or len(times) == 1:
        weights[0] = 1.0
        return weights
    if share >= ends[-1]:
        weights[0 if loop else -1] = 1.0
        return weights
    k = max(k for k, time in enumerate(ends[:-1]) if time <= share)
    over = _step((share - ends[k]) / (ends[k + 1] - ends[k]))
    weights[k] += 1 - over
    weights[(k + 1) % len(times)] += over
    return weights


def look_times(given: Sequence[float], count: int, loop: bool = False) -> list[float]:
    """When each of so many looks is there in full: as it was said, or evenly.

    Raises:
        UserError: another number of times than looks, or times that do not ascend within 0 and 1.
    """
    if not given:
        return [k / (count if loop else max(1, count - 1)) for k in range(count)]
    ascend = all(a < b for a, b in pairwise(given))
    if len(given) != count or not ascend or not 0 <= given[0] <= given[-1] <= 1:
        said = " ".join(f"{time:g}" for time in given)
        raise UserError(f"look_curve is {said}; it needs a time within 0 and 1 for each of the {count} runs, ascending")
    return list(given)


def _step(share: float) -> float:
    """From 0 to 1, at rest at both ends."""
    return share * share * (3 - 2 * share)

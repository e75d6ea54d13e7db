"""Curves along a film."""

from __future__ import annotations

from itertools import pairwise

import pytest

from arf.errors import UserError
from arf.radiance.film.curves import eased, look_times, look_weights

SHARES = [k / 400 for k in range(401)]


def steps(values: list[float]) -> list[float]:
    return [abs(b - a) for a, b in pairwise(values)]


@pytest.mark.parametrize("values", [[0.3], [0, 1], [0, 1, 0], [1, 0.2, 0.9, 0]])
def test_a_curve_goes_through_its_values(values):
    for k, value in enumerate(values):
        assert eased(values, k / max(1, len(values) - 1)) == pytest.approx(value)
    moves = steps([eased(values, share) for share in SHARES])
    assert (
        max(moves) <= 1.5 * max(steps(values) or [0]) * (len(values) - 1) / 400 + 1e-9
    )  # the steepest of a smoothstep
    assert all(min(values) - 1e-9 <= eased(values, share) <= max(values) + 1e-9 for share in SHARES)


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_looks_add_up_and_each_has_its_time(count, loop):
    times = look_times((), count, loop)
    for share in SHARES:
        weights = look_weights(times, share, loop)
        assert sum(weights) == pytest.approx(1)
        assert min(weights) >= 0
        assert sum(weight > 0 for weight in weights) <= 2
    for k, time in enumerate(times):
        assert look_weights(times, time, loop)[k] == pytest.approx(1)


def test_a_loop_ends_where_it_began():
    times = look_times((), 3, True)
    assert times == pytest.approx([0, 1 / 3, 2 / 3])
    assert look_weights(times, 1.0, True) == pytest.approx([1, 0, 0])
    late = look_times((0.2, 0.6), 2, True)
    assert look_weights(late, 0.1, True)[0] > 0.5  # on the way back from the second, which is 0.5 of the way away
    assert look_weights(late, 0.0, True) == pytest.approx(look_weights(late, 1.0, True))


def test_times_that_are_given():
    assert look_times((0.0, 0.3, 1.0), 3) == [0.0, 0.3, 1.0]
    weights = [look_weights([0.25, 0.5], share) for share in (0.0, 0.25, 0.375, 0.5, 1.0)]
    assert weights == [[1, 0], [1, 0], [0.5, 0.5], [0, 1], [0, 1]]


@pytest.mark.parametrize("times", [(0.5,), (0.5, 0.2), (0.2, 0.2), (0.0, 1.5), (-0.1, 1.0), (0.0, 0.5, 1.0)])
def test_times_that_make_no_sense(times):
    with pytest.raises(UserError, match="it needs a time within 0 and 1 for each of the 2 runs, ascending"):
        look_times(times, 2)

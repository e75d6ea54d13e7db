"""The re-fit of colours to pictures."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from voxels import ball_model, views_around

from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.refit import refit
from arf.radiance.operator.views import OperatorSet

CPU = torch.device("cpu")
BACKGROUND = torch.tensor([0.3, 0.1, 0.7])


@pytest.fixture(scope="module")
def model():
    return ball_model()


def operators_of(model, folder) -> OperatorSet:
    return OperatorSet(model, views_around(4), ViewCache(1 << 30, folder, CPU))


def dense(starts: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, count: int) -> torch.Tensor:
    rows = torch.repeat_interleave(starts.diff().long())
    return torch.zeros(len(starts) - 1, count).index_put_((rows, columns.long()), values)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_refit_recovers_colours_from_their_own_renderings(model, tmp_path):
    operators = operators_of(model, tmp_path)
    truth, start = random(operators.count, 3), torch.full((operators.count, 3), 0.5)
    pictures = [operators[i].apply(truth, BACKGROUND) for i in range(4)]
    steps = []
    found = refit(
        operators, start, BACKGROUND, lambda i: (pictures[i], None), 200, 1e-6, progress=lambda *s: steps.append(s)
    )
    for i in range(4):
        error = operators[i].apply(found, BACKGROUND) - pictures[i]
        before = operators[i].apply(start, BACKGROUND) - pictures[i]
        assert error.abs().max() < 2e-3 < 0.05 < before.abs().max()
    assert steps == [(i + 1, 804) for i in range(804)]  # four views, a pass before the first step and one for each


@pytest.mark.parametrize("damping", [0.05, 3.0])
def test_refit_solves_the_damped_normal_equations(model, tmp_path, damping):
    operators = operators_of(model, tmp_path)
    count = operators.count
    start, targets = random(count, 3), [random(14, 20, 3, seed=i) for i in range(4)]
    rows = []
    for i in range(4):
        parts = (operators[i].starts, operators[i].columns, operators[i].values)
        rows.append(dense(*parts, count))
    matrix = torch.cat(rows).double()  # [views * pixels, V]
    missing = torch.cat([(targets[i] - operators[i].apply(start, BACKGROUND)).view(-1, 3) for i in range(4)]).double()
    normal = matrix.T @ matrix + damping * torch.eye(count, dtype=torch.float64)
    wanted = start.double() + torch.linalg.solve(normal, matrix.T @ missing)
    found = refit(operators, start, BACKGROUND, lambda i: (targets[i], None), 200, damping)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=2e-4)


def test_heavy_damping_stays_near_the_start_and_perfect_targets_change_nothing(model, tmp_path):
    operators = operators_of(model, tmp_path)
    start = random(operators.count, 3)
    targets = [random(14, 20, 3, seed=i) for i in range(4)]
    moved = [refit(operators, start, BACKGROUND, lambda i: (targets[i], None), 8, d) - start for d in (0.05, 1e4)]
    assert moved[1].abs().max() < 0.01 < 0.1 < moved[0].abs().max()
    own = [operators[i].apply(start, BACKGROUND) for i in range(4)]
    assert torch.equal(refit(operators, start, BACKGROUND, lambda i: (own[i], None)), start)


def test_pixels_that_do_not_count_are_as_if_they_were_not_there(model, tmp_path):
    operators = operators_of(model, tmp_path)
    start, targets = random(operators.count, 3), [random(14, 20, 3, seed=i) for i in range(4)]
    weights = [(random(14, 20, seed=9 + i) > 0.4).float() for i in range(4)]
    wild = [t + 1000 * (1 - w)[..., None] for t, w in zip(targets, weights, strict=True)]
    found = [refit(operators, start, BACKGROUND, lambda i, p=p: (p[i], weights[i]), 40) for p in (targets, wild)]
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)
    rows = [dense(o.starts, o.columns, o.values, o.count) for o in operators]
    kept = [w.flatten() > 0 for w in weights]
    matrix = torch.cat([r[k] for r, k in zip(rows, kept, strict=True)]).double()
    error = [t - o.apply(start, BACKGROUND) for t, o in zip(targets, operators, strict=True)]
    missing = torch.cat([e.view(-1, 3)[k] for e, k in zip(error, kept, strict=True)]).double()
    normal = matrix.T @ matrix + 0.05 * torch.eye(operators.count, dtype=torch.float64)
    wanted = start.double() + torch.linalg.solve(normal, matrix.T @ missing)
    exact = refit(operators, start, BACKGROUND, lambda i: (targets[i], weights[i]), 300)
    torch.testing.assert_close(exact.double(), wanted, rtol=0, atol=2e-4)


def test_an_iteration_that_brings_too_little_is_the_last(model, tmp_path):
    operators = operators_of(model, tmp_path)
    start, targets = random(operators.count, 3), [random(14, 20, 3, seed=i) for i in range(4)]

    def error(theta: torch.Tensor) -> float:
        return sum(float((operators[i].apply(theta, BACKGROUND) - targets[i]).square().sum()) for i in range(4))

    after = [error(refit(operators, start, BACKGROUND, lambda i: (targets[i], None), n, 0.0)) for n in range(8)]
    gains = [(old - new) / new for old, new in pairwise(after)]
    assert gains[0] > gains[2] > gains[-1] > 0
    asked = gains[2] + 1e-4
    found = refit(operators, start, BACKGROUND, lambda i: (targets[i], None), 20, 0.0, asked)
    assert error(found) == pytest.approx(after[1 + next(k for k, gain in enumerate(gains) if gain < asked)], rel=1e-4)

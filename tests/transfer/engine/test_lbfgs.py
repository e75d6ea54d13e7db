from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from arf.transfer.engine.lbfgs import FIRST_STEP, LBFGS, NOISE, TRIES

Problem = Callable[[Tensor], tuple[float, Tensor]]  # a point to loss and gradient


def quadratic(seed: int, size: int = 40, condition: float = 100.0) -> Problem:
    """½ (x - c)ᵀ A (x - c), c outside [0, 1] in about half of the coordinates."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    hessian = (basis * torch.logspace(0, math.log10(condition), size, dtype=torch.float64)) @ basis.T
    center = 0.5 + 0.6 * torch.randn(size, generator=generator, dtype=torch.float64)

    def problem(x: Tensor) -> tuple[float, Tensor]:
        off = x.flatten().double() - center
        gradient = hessian @ off
        return float(off @ gradient / 2), gradient.view_as(x).to(x.dtype)

    return problem


def rosenbrock(x: Tensor) -> tuple[float, Tensor]:
    x = x.clone().requires_grad_()
    value = (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()
    (gradient,) = torch.autograd.grad(value, x)
    return value.item(), gradient


def by_scipy(problem: Problem, start: Tensor, low: float | Tensor, high: float | Tensor) -> tuple[float, Tensor]:
    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = problem(torch.from_numpy(x))
        return value, gradient.numpy()

    ends = [torch.as_tensor(bound, dtype=start.dtype).expand_as(start).tolist() for bound in (low, high)]
    found = minimize(
        evaluate,
        start.numpy(),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(*ends, strict=True)),
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000, "maxfun": 100_000},
    )
    return found.fun, torch.from_numpy(found.x)


def search(problem: Problem, optimizer: LBFGS, evaluations: int) -> list[Tensor]:
    """Asks and tells; returns the points, which must lie within the bounds, and checks that `best` never gets worse."""
    points = []
    while len(points) < evaluations and not optimizer.done:
        point, before = optimizer.point, optimizer.value
        points.append(point.clone())
        assert (point >= optimizer.low).all()
        assert (point <= optimizer.high).all()
        value, gradient = problem(point)
        optimizer.tell(value, gradient)
        assert before is None or optimizer.value <= before + NOISE * abs(before)
        assert optimizer.value == problem(optimizer.best)[0]
    return points


# Minima


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("condition", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_quadratic_in_a_box_has_scipys_minimiser(seed, condition, dtype):
    problem, start = quadratic(seed, condition=condition), torch.full((40,), 0.5, dtype=torch.float64)
    value, wanted = by_scipy(problem, start, 0.0, 1.0)
    assert 5 < ((wanted == 0) | (wanted == 1)).sum() < 35  # some bounds hold, others do not
    optimizer = LBFGS(start.to(dtype), 0.0, 1.0)
    points = search(problem, optimizer, 1000)
    assert optimizer.done
    assert len(points) < 200
    assert optimizer.value == pytest.approx(value, rel=1e-6)
    assert torch.allclose(optimizer.best.double(), wanted, atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_bounds_may_differ_between_elements(seed):
    generator = torch.Generator().manual_seed(100 + seed)
    low = torch.rand(40, generator=generator, dtype=torch.float64) - 0.5
    high = low + torch.rand(40, generator=generator, dtype=torch.float64)
    high[::7] = low[::7]  # no room at all
    problem, start = quadratic(seed), torch.full((40,), 5.0, dtype=torch.float64)
    value, wanted = by_scipy(problem, start.clamp(low, high), low, high)
    optimizer = LBFGS(start, low, high)
    search(problem, optimizer, 1000)
    assert optimizer.value == pytest.approx(value, rel=1e-6)
    assert torch.allclose(optimizer.best, wanted, atol=1e-3)


def test_bounds_are_broadcast_to_pictures():
    low, high = torch.tensor([0.0, 0.2, 0.4]).view(1, 3, 1, 1), torch.tensor([0.3, 0.6, 0.9]).view(1, 3, 1, 1)
    wanted = torch.rand(1, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    optimizer = LBFGS(torch.zeros(1, 3, 5, 4), low, high)
    search(lambda x: (float((x - wanted).square().sum()), 2 * (x - wanted)), optimizer, 50)
    assert torch.allclose(optimizer.best, wanted.clamp(low, high), atol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(-2.0, 2.0), (-2.0, 0.8), (-2.0, 0.3)])
def test_rosenbrocks_valley_in_a_box(low, high):
    """Not convex; where the box cuts the valley the minimum lies on its border."""
    start = torch.tensor([-1.2, 1.0, -1.2, 1.0], dtype=torch.float64).clamp(low, high)
    value, wanted = by_scipy(rosenbrock, start, low, high)
    optimizer = LBFGS(start, low, high)
    search(rosenbrock, optimizer, 500)
    assert torch.allclose(optimizer.best, wanted, atol=1e-4)
    assert optimizer.value == pytest.approx(value, abs=1e-7)


def test_it_is_far_ahead_of_gradient_descent():
    """The history is used: the best constant step of gradient descent, 2 / (1 + 1000), is nowhere near."""
    problem, start = quadratic(0, condition=1000), torch.full((40,), 0.5, dtype=torch.float64)
    optimizer = LBFGS(start, -10.0, 10.0)
    search(problem, optimizer, 100)
    x = start
    for _ in range(100):
        x = x - 2 / 1001 * problem(x)[1]
    assert optimizer.value < 0.01 * problem(x)[0]


# Steps


def test_the_first_step_by_hand():
    """Three of four elements are free; their gradient's mean size over all four is (4 + 1 + 3) / 4 = 2."""
    optimizer = LBFGS(torch.tensor([0.5, 0.5, 0.5, 0.0]), 0.0, 1.0)
    assert torch.equal(optimizer.point, torch.tensor([0.5, 0.5, 0.5, 0.0]))
    optimizer.tell(7.0, torch.tensor([4.0, -1.0, 3.0, 2.0]))
    wanted = torch.tensor([0.5, 0.5, 0.5, 0.0]) - FIRST_STEP * torch.tensor([4.0, -1.0, 3.0, 0.0]) / 2
    assert torch.allclose(optimizer.point, wanted)
    assert optimizer.value == 7
    assert torch.equal(optimizer.best, torch.tensor([0.5, 0.5, 0.5, 0.0]))


def test_the_second_step_by_hand():
    """f = x² + 2 y². One pair gives the direction -(γ I) g corrected by the two-loop recursion, here written out."""
    x0 = torch.tensor([1.0, 1.0], dtype=torch.float64)
    optimizer = LBFGS(x0, -9.0, 9.0)
    optimizer.tell(3.0, torch.tensor([2.0, 4.0], dtype=torch.float64))
    x1 = optimizer.point
    g0, g1 = torch.tensor([2.0, 4.0], dtype=torch.float64), x1 * torch.tensor([2.0, 4.0], dtype=torch.float64)
    s, y = x1 - x0, g1 - g0
    eye, rho = torch.eye(2, dtype=torch.float64), 1 / (s @ y)
    left = eye - rho * torch.outer(s, y)
    inverse = left @ ((s @ y) / (y @ y) * eye) @ left.T + rho * torch.outer(s, s)  # BFGS update of the inverse Hessian
    optimizer.tell(float(x1[0] ** 2 + 2 * x1[1] ** 2), g1)
    assert torch.allclose(optimizer.point, x1 - inverse @ g1, rtol=1e-12)


@pytest.mark.parametrize("history", [1, 3])
def test_the_direction_is_that_of_bfgs_over_the_last_pairs(history):
    """Against the dense update formula, over no more pairs than the history holds."""
    problem, size = quadratic(3, size=6, condition=10), 6
    optimizer = LBFGS(torch.zeros(size, dtype=torch.float64), -100.0, 100.0, history)
    pairs, last, eye = [], None, torch.eye(size, dtype=torch.float64)
    for _ in range(8):
        point = optimizer.point
        value, gradient = problem(point)
        optimizer.tell(value, gradient)
        assert torch.equal(optimizer.best, point)  # on this problem every trial is taken
        if last:
            pairs.append((point - last[0], gradient - last[1]))
            s, y = pairs[-1]
            inverse = (s @ y) / (y @ y) * eye
            for s, y in pairs[-history:]:
                left = eye - torch.outer(s, y) / (s @ y)
                inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ y)
            assert torch.allclose(optimizer.point, point - inverse @ gradient, rtol=1e-6, atol=1e-9)
        last = point, gradient


def test_where_the_slope_grows_on_the_way_down_the_gradient_is_followed():
    """Negative curvature says nothing about how far to go; a quasi-Newton step from it would go uphill."""
    optimizer = LBFGS(torch.tensor([0.5]), 0.0, 1.0)
    optimizer.tell(3.0, torch.tensor([-1.0]))
    optimizer.tell(2.0, torch.tensor([-4.0]))
    assert torch.allclose(optimizer.best, torch.tensor([0.5 + FIRST_STEP]))
    assert torch.allclose(optimizer.point, torch.tensor([0.5 + 2 * FIRST_STEP]))


def test_a_step_that_fails_is_shortened_to_the_parabolas_minimum():
    """f = 0.5 a x² from x = 1: the slope and both values make a parabola whose minimum is 0."""
    optimizer = LBFGS(torch.ones(1, dtype=torch.float64), -9.0, 9.0)
    optimizer.tell(150.0, torch.tensor([300.0], dtype=torch.float64))  # a = 300
    optimizer.tell(150.0 * 0.99**2, torch.tensor([297.0], dtype=torch.float64))  # the first step, by 0.01
    assert optimizer.point.item() == pytest.approx(0, abs=1e-9)  # Newton's, for one dimension is known by now
    # At 0 it is told something else: f = 150 · 0.99² again plus 147.015 · 3, so the minimum is a quarter of the way.
    before = 150.0 * 0.99**2
    slope = -297.0 * 0.99
    optimizer.tell(before + slope + 2 * 297.0 * 0.99, torch.zeros(1, dtype=torch.float64))
    assert optimizer.point.item() == pytest.approx(0.99 * 0.75, abs=1e-9)  # -slope / (2 · curvature) = 1 / 4
    assert optimizer.value == before


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e30])
def test_when_every_step_fails_it_gives_up_where_it_was(wrong):
    """The loss rises wherever one goes, although the gradient says otherwise."""
    start = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    gradient = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    optimizer = LBFGS(start, 0.0, 1.0)
    points = search(lambda x: (1.0 if torch.equal(x, start) else wrong, gradient), optimizer, 100)
    assert optimizer.done
    assert 5 < len(points) <= 1 + TRIES
    assert torch.equal(optimizer.best, start)
    assert optimizer.value == 1
    lengths = torch.stack([(p - start).abs().max() for p in points[1:]])
    assert (lengths[1:] <= lengths[:-1] / 2 + 1e-6).all()
    assert torch.isfinite(optimizer.point).all()


def test_when_the_history_misleads_it_is_dropped_and_the_gradient_followed():
    problem = quadratic(0, condition=10)
    optimizer = LBFGS(torch.full((40,), 0.5, dtype=torch.float64), 0.0, 1.0)
    search(problem, optimizer, 6)
    best, (value, gradient) = optimizer.best, problem(optimizer.best)
    held = ((best <= 0) & (gradient > 0)) | ((best >= 1) & (gradient < 0))
    free = gradient.masked_fill(held, 0)
    along_gradient = (best - FIRST_STEP * free / free.abs().mean()).clamp(0, 1)
    tries = 0
    while not torch.allclose(optimizer.point, along_gradient):
        tries += 1
        optimizer.tell(value + 1e3, gradient)
    assert 1 < tries <= TRIES
    assert not optimizer.done
    search(problem, optimizer, 200)
    assert optimizer.value < value


# The end


def test_done_at_a_stationary_point():
    inside = LBFGS(torch.full((4,), 0.5), 0.0, 1.0)
    inside.tell(1.0, torch.zeros(4))
    assert inside.done
    corner = LBFGS(torch.tensor([-3.0, 0.0, 9.0, 1.0]), 0.0, 1.0)
    corner.tell(1.0, torch.tensor([1.0, 2.0, -3.0, -4.0]))  # downhill is out of the box for each
    assert corner.done
    assert torch.equal(corner.best, torch.tensor([0.0, 0.0, 1.0, 1.0]))
    edge = LBFGS(torch.tensor([0.0, 1.0]), 0.0, 1.0)
    edge.tell(1.0, torch.tensor([1.0, 1.0]))  # downhill is inside for the second
    assert not edge.done
    assert torch.allclose(edge.point, torch.tensor([0.0, 1 - 2 * FIRST_STEP]))


def test_done_soon_after_a_corner_is_reached():
    optimizer = LBFGS(torch.full((5,), 0.5), 0.0, 1.0)
    points = search(lambda x: (float(x.sum()), torch.ones(5)), optimizer, 300)
    assert torch.equal(optimizer.best, torch.zeros(5))
    assert optimizer.done
    assert len(points) < 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_done_when_only_rounding_errors_are_left(dtype):
    """Not the same point again and again until the steps run out: a minimum away from zero, its value known to 1e-7."""
    problem = quadratic(1, condition=1)
    optimizer = LBFGS(torch.full((40,), 0.5, dtype=dtype), 0.0, 1.0)
    points = search(lambda x: (problem(x)[0] + 3, problem(x)[1]), optimizer, 300)
    assert optimizer.done
    assert len(points) < 20


def test_a_step_that_bounds_turn_uphill_is_not_taken():
    """The quasi-Newton direction goes down, but what clamping leaves of it may go up: elements on a bound are free
    where the gradient wants them inside, and the direction may want them outside. Told that the loss stays the same
    there, which is what it does where it is nearly flat, the search must stay too."""
    told = 0
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        problem = quadratic(seed, size=3, condition=1e4)
        optimizer = LBFGS(torch.rand(3, generator=generator, dtype=torch.float64), 0.0, 1.0)
        for _ in range(15):
            value, gradient = problem(optimizer.point)
            before, slope = optimizer.best, problem(optimizer.best)[1] @ (optimizer.point - optimizer.best)
            first = optimizer.value is None
            uphill = not first and slope > 0
            optimizer.tell(optimizer.value if uphill else value, gradient)
            if uphill:
                told += 1
                assert torch.equal(optimizer.best, before)
            if optimizer.done:
                break
    assert told > 0


def test_what_it_is_given_is_left_alone():
    start, gradient = torch.tensor([-1.0, 0.5]), torch.tensor([1.0, 1.0])
    optimizer = LBFGS(start, 0.0, 1.0)
    optimizer.tell(1.0, gradient)
    optimizer.tell(0.5, torch.tensor([0.5, 0.5]))
    assert torch.equal(start, torch.tensor([-1.0, 0.5]))
    assert torch.equal(gradient, torch.tensor([1.0, 1.0]))

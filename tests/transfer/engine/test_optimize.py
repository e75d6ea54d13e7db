from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from arf.errors import UserError
from arf.media import image
from arf.transfer.engine.lbfgs import LBFGS
from arf.transfer.engine.objective import Evaluation
from arf.transfer.engine.optimize import (
    SMALLEST,
    FirstOrder,
    Interrupted,
    Moment,
    Search,
    State,
    coarse_to_fine,
    noise_like,
    pyramid,
    resize,
    searcher,
    to_picture,
    to_planes,
)
from arf.transfer.settings import OptimizeSettings

SIZES = [(3, 4), (6, 8), (9, 12)]
UNIT = (0.0, 1.0)


def random(size: tuple[int, int], seed: int = 0) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def stepped(point: Tensor, target: Tensor) -> Tensor:
    """Where gradient descent on the sum of squares goes from a point."""
    return point.add(2 * (point - target), alpha=-0.1).clamp(0, 1)


class Job:
    """A sum of squares at every size; writes down what it is asked. `stop` is called at every evaluation."""

    def __init__(self, stop=lambda scale, step: None) -> None:
        self.asked, self.starts, self.told, self.stop = [], [], [], stop
        self.targets = {size: random(size, seed=9) for size in SIZES}

    def start(self, size: tuple[int, int], coarser: Tensor | None) -> Tensor:
        self.starts.append((size, coarser))
        return random(size) if coarser is None else resize(coarser, size)

    def problem(self, size: tuple[int, int]):
        self.asked.append([])

        def evaluate(x: Tensor) -> Evaluation:
            self.asked[-1].append(x.clone())
            self.stop(len(self.asked) - 1, len(self.asked[-1]))
            off = x - self.targets[size]
            near, far = off[..., :1].square().sum(), off[..., 1:].square().sum()
            return Evaluation(float(near + far), {"near": float(near), "far": float(far)}, 2 * off)

        return evaluate

    def run(self, steps: int = 5, watch=None, go_on: State | None = None, search=None, sizes=SIZES) -> Tensor:
        return coarse_to_fine(
            sizes,
            self.start,
            self.problem,
            search or (lambda start: FirstOrder(start, UNIT, lambda p: torch.optim.SGD(p, 0.1))),
            steps,
            lambda best: 1 - to_picture(best),
            watch or self.told.append,
            go_on,
        )


# The loop


def test_sizes_are_passed_coarse_to_fine_each_from_the_best_of_the_one_before():
    job = Job()
    result = job.run()
    assert [size for size, _ in job.starts] == SIZES
    assert [len(points) for points in job.asked] == [5, 5, 5]
    assert [tuple(points[0].shape[2:]) for points in job.asked] == SIZES
    assert job.starts[0][1] is None
    assert torch.equal(job.asked[0][0], random(SIZES[0]))
    for scale in (1, 2):
        best = stepped(job.asked[scale - 1][-1], job.targets[SIZES[scale - 1]])
        assert torch.equal(job.starts[scale][1], best)
        assert torch.equal(job.asked[scale][0], resize(best, SIZES[scale]))
    assert torch.equal(result, 1 - to_picture(stepped(job.asked[2][-1], job.targets[SIZES[2]])))  # finished


def test_the_watch_is_told_after_every_step():
    job = Job()
    job.run(steps=4)
    assert [(m.scale, m.size, m.step, m.steps) for m in job.told] == [
        (scale, SIZES[scale], step, 4) for scale in range(3) for step in (1, 2, 3, 4)
    ]
    for moment in job.told:
        point = job.asked[moment.scale][moment.step - 1]
        off = (point - job.targets[moment.size]).square()
        assert moment.parts == pytest.approx({"near": float(off[..., :1].sum()), "far": float(off[..., 1:].sum())})
        after = stepped(point, job.targets[moment.size])
        assert torch.equal(moment.best, after)  # kept, although the point itself moves on
        assert torch.equal(moment.picture(), 1 - to_picture(after))


def test_the_watch_may_be_left_out_and_the_result_is_the_same():
    job = Job()
    with_watch = job.run()
    silent = coarse_to_fine(
        SIZES,
        job.start,
        job.problem,
        lambda start: FirstOrder(start, UNIT, lambda p: torch.optim.SGD(p, 0.1)),
        5,
        lambda best: 1 - to_picture(best),
    )
    assert torch.equal(silent, with_watch)


def test_a_search_that_is_done_ends_its_scale_early():
    job = Job()
    job.run(steps=200, search=lambda start: LBFGS(start, *UNIT))
    for size, points in zip(SIZES, job.asked, strict=True):
        assert 2 < len(points) < 100
        last = [m for m in job.told if m.size == size][-1]
        assert torch.allclose(last.best, job.targets[size], atol=1e-3)
    assert len(job.told) == sum(len(points) for points in job.asked)


# Going on


@pytest.mark.parametrize("stopped", [(0, 2), (1, 1), (1, 5), (2, 4)])
def test_going_on_does_what_was_left(stopped):
    """The same steps as those of an uninterrupted job."""
    whole = Job()
    whole.run(steps=5)
    scale, step = stopped
    moment = next(m for m in whole.told if (m.scale, m.step) == stopped)

    rest = Job()
    rest.run(steps=5, go_on=State(scale, step, moment.best, moment.memory))
    assert [(m.scale, m.step) for m in rest.told] == [
        (m.scale, m.step) for m in whole.told if (m.scale, m.step) > stopped
    ]
    assert [size for size, _ in rest.starts] == SIZES[scale + 1 :]
    if step < 5:
        assert torch.equal(rest.asked[0][0], moment.best)
        for again, first in zip(rest.asked[0], whole.asked[scale][step:], strict=True):
            assert torch.equal(again, first)
    else:  # nothing was left at this size
        assert rest.asked[0] == []
        assert torch.equal(rest.starts[0][1], moment.best)
        assert torch.equal(rest.asked[1][0], whole.asked[2][0])


def test_going_on_from_the_end_gives_the_result():
    job = Job()
    best = random(SIZES[2], seed=4)
    assert torch.equal(job.run(steps=5, go_on=State(2, 5, best, None)), 1 - to_picture(best))
    assert job.told == []


# Stops


def test_ctrl_c_while_the_network_computes_carries_the_best_so_far():
    def stop(scale: int, step: int) -> None:
        if (scale, step) == (1, 3):
            raise KeyboardInterrupt

    job = Job(stop)
    with pytest.raises(Interrupted) as caught:
        job.run()
    moment = caught.value.moment
    assert (moment.scale, moment.size, moment.step) == (1, SIZES[1], 2)
    assert torch.equal(moment.best, job.asked[1][2])  # the third was about to be looked at
    assert torch.equal(moment.picture(), 1 - to_picture(job.asked[1][2]))
    assert isinstance(caught.value, KeyboardInterrupt)


def test_ctrl_c_while_the_watch_runs_counts_the_step():
    def watch(moment: Moment) -> None:
        if (moment.scale, moment.step) == (1, 3):
            raise KeyboardInterrupt

    job = Job()
    with pytest.raises(Interrupted) as caught:
        job.run(watch=watch)
    assert (caught.value.moment.scale, caught.value.moment.step) == (1, 3)
    assert torch.equal(caught.value.moment.best, stepped(job.asked[1][2], job.targets[SIZES[1]]))


def test_ctrl_c_between_two_sizes_carries_the_coarser_picture():
    job = Job()
    problem = job.problem

    def slow(size: tuple[int, int]):
        if size == SIZES[1]:
            raise KeyboardInterrupt
        return problem(size)

    job.problem = slow
    with pytest.raises(Interrupted) as caught:
        job.run()
    assert (caught.value.moment.scale, caught.value.moment.step) == (0, 5)
    assert torch.equal(caught.value.moment.best, stepped(job.asked[0][-1], job.targets[SIZES[0]]))


def test_ctrl_c_before_the_first_step_has_nothing_to_carry():
    def stop(scale: int, step: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        Job(stop).run()
    assert caught.value.moment is None


def test_what_was_interrupted_can_go_on():
    def stop(scale: int, step: int) -> None:
        if (scale, step) == (1, 4):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        Job(stop).run()
    moment = caught.value.moment
    rest = Job()
    rest.run(go_on=State(moment.scale, moment.step, moment.best, moment.memory))
    assert [(m.scale, m.step) for m in rest.told] == [(1, 4), (1, 5), *((2, step) for step in range(1, 6))]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_refused_in_one_line(value):
    def problem(size: tuple[int, int]):
        losses = iter([3.0, 2.0, value, 1.0])
        return lambda x: Evaluation(next(losses), {}, torch.zeros_like(x))

    job = Job()
    job.problem = problem
    with pytest.raises(UserError) as caught:
        job.run()
    line = str(caught.value)
    assert "\n" not in line
    assert str(value) in line
    assert "step 3" in line
    assert "--learning-rate" in line
    assert len(job.told) == 2


# First-order optimisers


def descent(search: Search, target: Tensor, steps: int) -> list[Tensor]:
    points = []
    for _ in range(steps):
        points.append(search.point.clone())
        off = search.point - target
        search.tell(float(off.square().sum()), 2 * off)
    return [*points, search.point.clone()]


def test_first_order_steps_by_hand():
    search = FirstOrder(torch.tensor([0.5, 2.0]), UNIT, lambda p: torch.optim.SGD(p, 0.25))
    assert torch.equal(search.point, torch.tensor([0.5, 1.0]))  # clamped
    search.tell(3.0, torch.tensor([1.0, -1.0]))
    assert torch.equal(search.point, torch.tensor([0.25, 1.0]))  # clamped again
    search.tell(2.0, torch.tensor([0.5, 2.0]))
    assert torch.equal(search.point, torch.tensor([0.125, 0.5]))
    search.tell(2.5, torch.tensor([1.0, 1.0]))
    assert torch.equal(search.point, torch.tensor([0.0, 0.25]))
    assert torch.equal(search.best, search.point)  # no step is thrown away
    assert not search.done


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_first_order_takes_torchs_steps_whatever_is_averaged(decay):
    start, target = random((4, 5)), random((4, 5), seed=3) * 1.5 - 0.25  # beyond the bounds as well
    points = descent(FirstOrder(start, UNIT, lambda p: torch.optim.Adam(p, 0.1, (0.9, 0.99)), decay), target, 30)
    x = start.clone()
    adam = torch.optim.Adam([x], 0.1, (0.9, 0.99))
    for point in points:
        assert torch.equal(point, x)
        x.grad = 2 * (x - target)
        adam.step()
        x.clamp_(0, 1)
    assert points[-1].min() == 0
    assert points[-1].max() == 1


def test_the_average_is_the_exponential_mean_of_the_points():
    """Of those that were stepped to; the start does not count."""
    decay, target, reached = 0.8, random((4, 5), seed=3), []
    search = FirstOrder(random((4, 5)), UNIT, lambda p: torch.optim.SGD(p, 0.05), decay)
    for _ in range(25):
        reached += descent(search, target, 1)[1:]
        shares = [decay**age for age in reversed(range(len(reached)))]
        wanted = sum(share * x for share, x in zip(shares, reached, strict=True)) / sum(shares)
        assert torch.allclose(search.best, wanted, rtol=1e-5)


def test_the_average_settles_where_the_points_jump():
    """Noisy gradients: the points stay noisy, their mean comes to the target."""
    generator = torch.Generator().manual_seed(0)
    target = torch.full((1, 3, 4, 5), 0.5)
    search = FirstOrder(random((4, 5)), UNIT, lambda p: torch.optim.SGD(p, 0.3), 0.98)
    for _ in range(400):
        noise = 0.3 * torch.randn(target.shape, generator=generator)
        search.tell(1.0, search.point - target + noise)
    assert (search.best - target).abs().mean() < 0.4 * (search.point - target).abs().mean()


def test_first_order_leaves_what_it_is_given_alone():
    start, gradient = random((2, 2)), random((2, 2), seed=1)
    search = FirstOrder(start, UNIT, lambda p: torch.optim.SGD(p, 0.1))
    search.tell(1.0, gradient)
    assert torch.equal(start, random((2, 2)))
    assert torch.equal(gradient, random((2, 2), seed=1))
    kept = search.best
    copy = kept.clone()
    search.tell(2.0, gradient)
    assert torch.equal(kept, copy)


def test_settings_choose_the_search():
    start = random((4, 4)) + 0.5
    low, high = torch.tensor([0.0, 0.1, 0.2]).view(1, 3, 1, 1), torch.tensor([0.7, 0.8, 0.9]).view(1, 3, 1, 1)
    lbfgs = searcher(OptimizeSettings(history=3), start, (low, high))
    assert isinstance(lbfgs, LBFGS)
    assert lbfgs._pairs.maxlen == 3
    adam = searcher(OptimizeSettings(optimizer="adam", learning_rate=0.07, averaging=0.5), start, (low, high))
    assert isinstance(adam, FirstOrder)
    assert (adam.decay, adam.optimizer.defaults["lr"]) == (0.5, 0.07)
    for search in (lbfgs, adam):
        assert torch.equal(search.point, start.clamp(low, high))
        descent(search, torch.full_like(start, 0.4), 40)
        assert (search.best - 0.4).abs().mean() < 0.1
        assert (search.best >= low - 1e-6).all()
        assert (search.best <= high + 1e-6).all()


# Sizes and pictures


def test_pyramid_by_hand():
    assert pyramid((512, 512), 1) == [(512, 512)]
    assert pyramid((512, 512), 3) == [(256, 256), (362, 362), (512, 512)]
    assert pyramid((400, 300), 3, factor=2.0) == [(100, 75), (200, 150), (400, 300)]
    assert pyramid((300, 400), 9, factor=2.0) == [(75, 100), (150, 200), (300, 400)]  # 38 would be too small
    assert pyramid((SMALLEST, 1000), 5) == [(SMALLEST, 1000)]
    assert pyramid((2 * SMALLEST, 2 * SMALLEST), 5, factor=2.0) == [(SMALLEST, SMALLEST), (128, 128)]
    assert pyramid((10, 10), 4) == [(10, 10)]  # the picture itself is never left out


@pytest.mark.parametrize("size", [(512, 700), (333, 1001), (64, 64), (90, 91)])
@pytest.mark.parametrize("factor", [1.2, 2**0.5, 1.4, 2.0])
def test_pyramid_grows_by_its_factor_and_keeps_the_aspect(size, factor):
    found = pyramid(size, 6, factor)
    assert found[-1] == size
    for level, (height, width) in enumerate(reversed(found)):
        assert min(height, width) >= min(SMALLEST, *size)
        assert abs(height - size[0] / factor**level) <= 0.5
        assert abs(width - size[1] / factor**level) <= 0.5
    assert len(found) == 6 or min(size) / factor ** len(found) < SMALLEST


def test_planes_are_pictures_with_the_channels_first():
    picture = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(0))
    planes = to_planes(picture)
    assert planes.shape == (1, 3, 5, 7)
    assert planes.is_contiguous()
    assert torch.equal(planes[0, 2], picture[..., 2])
    assert torch.equal(to_picture(planes.requires_grad_()), picture)
    assert not to_picture(planes).requires_grad
    assert torch.equal(resize(planes, (9, 4)), to_planes(image.resize(picture, 9, 4)))
    assert torch.equal(resize(planes, (5, 7)), planes)


def test_noise_has_the_pictures_colours():
    mean, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.2, 0.5, 0.8], [0.1, 0.2, 0.3]))
    planes = mean + spread * (random((40, 40)) - 0.5)
    noise = noise_like(planes, (200, 150), seed=1)
    assert noise.shape == (1, 3, 200, 150)
    assert torch.allclose(noise.mean((2, 3)), planes.mean((2, 3)), atol=2e-3)
    assert torch.allclose(noise.std((2, 3)), planes.std((2, 3)), rtol=0.03)
    assert torch.equal(noise, noise_like(planes, (200, 150), seed=1))
    assert not torch.equal(noise, noise_like(planes, (200, 150), seed=2))
    plain = noise_like(planes, (200, 150), seed=1, deviation=0.02)
    assert torch.allclose(plain.mean((2, 3)), planes.mean((2, 3)), atol=1e-3)
    assert torch.allclose(plain.std((2, 3)), torch.full((1, 3), 0.02), rtol=0.03)

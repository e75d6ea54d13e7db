from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch.nn import functional

from arf.training.contrast import (
    TEMPERATURE,
    PatchDiscriminator,
    Queue,
    StyleProjector,
    contrast,
    follow,
    info_nce,
    told_apart,
)


def codes(count, size=8, seed=0):
    return functional.normalize(torch.randn(count, size, generator=torch.Generator().manual_seed(seed)))


def owners(*numbers):
    return torch.tensor(numbers)


def test_the_loss_is_info_nce_over_codes_of_other_paintings():
    queue, query, key = Queue(6, 8), codes(2), codes(2, seed=1)
    seen = codes(4, seed=2)
    queue.add(seen, owners(5, 6, 7, 0))
    expected = 0.0
    for row, negatives in ((0, [0, 1, 2]), (1, [0, 1, 3])):  # painting 0 has no quarrel with its own code, nor 7
        own = math.exp(float(query[row] @ key[row]) / TEMPERATURE)
        other = sum(math.exp(float(query[row] @ seen[n]) / TEMPERATURE) for n in negatives)
        expected -= math.log(own / (own + other)) / 2
    assert float(info_nce(query, key, queue, owners(0, 7))) == pytest.approx(expected, rel=1e-5)


def test_an_empty_queue_has_no_negatives():
    assert float(info_nce(codes(3), codes(3, seed=1), Queue(16, 8), owners(0, 1, 2))) == 0.0


def test_a_perfect_match_among_unlike_codes_costs_nothing():
    queue = Queue(4, 8)
    queue.add(-codes(1), owners(3))
    assert float(info_nce(codes(1), codes(1), queue, owners(0))) < 1e-9


def test_the_queue_forgets_the_oldest():
    queue = Queue(5, 8)
    for step in range(4):
        queue.add(codes(2, seed=step), owners(2 * step, 2 * step + 1))
    assert sorted(queue.owners.tolist()) == [3, 4, 5, 6, 7]
    assert torch.equal(queue.codes[(queue.owners == 7).nonzero()[0, 0]], codes(2, seed=3)[1])


def test_adding_leaves_a_loss_its_gradient():
    queue, query = Queue(4, 8), codes(2).requires_grad_()
    queue.add(codes(4, seed=1), owners(3, 4, 5, 6))
    loss = info_nce(query, codes(2, seed=2), queue, owners(0, 1))
    queue.add(codes(2, seed=2), owners(0, 1))
    loss.backward()
    assert query.grad.abs().sum() > 0


def test_codes_are_unit_vectors_of_mean_and_maximum():
    projector = StyleProjector({"a": 3, "b": 5}, size=8)
    features = {"a": torch.rand(2, 3, 6, 7), "b": torch.rand(2, 5, 3, 3)}
    found = projector(features)
    assert {tap: tuple(c.shape) for tap, c in found.items()} == {"a": (2, 8), "b": (2, 8)}
    assert torch.allclose(found["a"].norm(dim=1), torch.ones(2))
    pooled = torch.cat([features["a"].mean((2, 3)), features["a"].amax((2, 3))], 1)
    assert torch.allclose(found["a"], functional.normalize(projector.layers["a"](pooled)))
    shuffled = {tap: f.flatten(2).flip(2).view_as(f) for tap, f in features.items()}  # places do not count
    assert torch.allclose(projector(shuffled)["b"], found["b"], atol=1e-6)


def told_by(follows: bool) -> float:
    """By how much the cosine between codes of one style exceeds those with any other after 300 steps, on average."""
    torch.manual_seed(0)
    projector, queues = StyleProjector({"a": 6}, size=8), torch.nn.ModuleDict({"a": Queue(64, 8)})
    follower = deepcopy(projector) if follows else projector
    optimizer = torch.optim.Adam(projector.parameters(), 1e-3)
    styles = torch.rand(8, 6, 1, 1)

    def crop(numbers):
        return {"a": styles[numbers] + 0.1 * torch.rand(len(numbers), 6, 4, 4)}

    for _ in range(300):
        numbers = torch.randperm(8)[:2]
        if follows:
            follow(follower, projector)
        with torch.no_grad():
            keys = follower(crop(numbers))
        optimizer.zero_grad()
        contrast(projector(crop(numbers)), keys, queues, numbers).backward()
        optimizer.step()
        queues["a"].add(keys["a"], numbers)
    with torch.no_grad():
        cosines = projector(crop(torch.arange(8)))["a"] @ projector(crop(torch.arange(8)))["a"].T
    own = cosines.diag().clone()
    return float((own - cosines.fill_diagonal_(-1).amax(1)).mean())


def test_styles_are_told_apart_by_keys_that_follow_slowly():
    assert told_by(follows=True) > 0.1
    assert told_by(follows=False) < 0.01  # codes only flee from the older ones


def test_a_follower_moves_a_hundredth_of_the_way():
    follower, leader = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    before = follower.weight.detach().clone()
    follow(follower, leader)
    assert torch.allclose(follower.weight, before + 0.01 * (leader.weight - before))


def test_the_discriminator_scores_patches_of_70_pixels():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(4).double()
    for layer in discriminator.layers:  # a norm over the picture sees all of it
        if isinstance(layer, torch.nn.InstanceNorm2d):
            layer.forward = lambda x: x
    picture = torch.rand(1, 3, 256, 256, dtype=torch.double, requires_grad=True)
    scores = discriminator(picture)
    assert scores.shape == (1, 1, 30, 30)
    scores[0, 0, 15, 15].backward()
    rows = picture.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_the_hinge_loss_wants_a_margin_and_no_more():
    assert float(told_apart(torch.tensor([1.0, 3.0]), torch.tensor([-1.0, -9.0]))) == 0.0
    assert float(told_apart(torch.tensor([0.0]), torch.tensor([0.5]))) == 2.5

"""Classes give the mean of what the functions give."""

from __future__ import annotations

import math

import pytest
import torch

from arf import metrics
from arf.style import encoder as encoders


def pictures(count: int) -> list[torch.Tensor]:
    return list(torch.rand(count, 64, 48, 3, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", ["PSNR", "SSIM", "RMSE"])
def test_means_over_pairs(name):
    first, second, third = pictures(3)
    mask = torch.ones(64, 48, dtype=torch.bool)
    mask[:30] = False
    metric, function = getattr(metrics, name)(), getattr(metrics, name.lower())
    assert math.isnan(metric.compute())
    metric.update(first, second)
    assert metric(first, third, mask) == function(first, third, mask)
    assert metric.compute() == pytest.approx((function(first, second) + function(first, third, mask)) / 2)
    assert metric.count == 2
    metric.reset()
    assert math.isnan(metric.compute())


def test_pictures_of_which_nothing_counts_are_passed_over():
    first, second, _ = pictures(3)
    metric = metrics.RMSE()
    metric.update(first, second, torch.zeros(64, 48, dtype=torch.bool))
    metric.update(first, second)
    assert metric.compute() == metrics.rmse(first, second)
    assert metric.count == 1


@pytest.mark.parametrize(("name", "function"), [("NNFM", "nnfm_distance"), ("Gram", "gram_distance")])
def test_a_style_is_looked_at_once(name, function):
    style, first, second = pictures(3)
    encoder = encoders.load("compact")
    metric = getattr(metrics, name)(style, encoder)
    for picture in (first, second):
        metric.update(picture)
    wanted = [getattr(metrics, function)(picture, style, encoder) for picture in (first, second)]
    assert metric.compute() == pytest.approx(sum(wanted) / 2)


def test_colour_and_structure():
    style, first, second = pictures(3)
    encoder = encoders.load("compact")
    assert metrics.Color(style)(first) == metrics.color_distance(first, style)
    assert metrics.Structure(encoder)(first, second) == metrics.structure_distance(first, second, encoder)


def test_what_is_public_is_listed():
    assert all(hasattr(metrics, name) for name in metrics.__all__)

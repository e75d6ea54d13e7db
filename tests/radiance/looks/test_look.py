"""A look: colours of columns, and what has no column."""

from __future__ import annotations

import pytest
import torch
from voxels import around, ball_model

from arf.radiance.fields.field import Trace
from arf.radiance.looks.look import Look
from arf.radiance.operator.matrix import build
from arf.style.color import Affine

RECOLOR = Affine(
    torch.tensor([[0.7, 0.2, 0.0], [-0.1, 0.9, 0.1], [0.3, 0.0, 0.8]], dtype=torch.float64),
    torch.tensor([0.1, 0.0, -0.05], dtype=torch.float64),
)
BACKGROUND = torch.tensor([0.2, 0.4, 0.6])


@pytest.fixture(scope="module")
def model():
    return ball_model()


@pytest.fixture(scope="module")
def seen(model) -> Trace:
    return model.trace(around(3)[0], 0.05)


def without(trace: Trace, model, gone: torch.Tensor) -> Trace:
    """The same trace where some columns [V] do not exist: what they held is rest, in the field's own colours."""
    row = torch.repeat_interleave(torch.arange(len(trace.leftover)), trace.starts.diff())
    missing = gone[trace.columns.long()]
    held = torch.cat([model.colors[trace.columns.long()], torch.ones(len(row), 1)], 1) * trace.weights[:, None]
    rest = torch.zeros(len(trace.leftover), 4).index_add(0, row[missing], held[missing])
    lengths = torch.bincount(row[~missing], minlength=len(trace.leftover))
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    kept = trace.columns[~missing], trace.weights[~missing]
    return Trace(starts, *kept, trace.leftover, trace.color, trace.depth, rest)


def painted(model, seed: int = 0) -> Look:
    theta = torch.rand(model.count, 3, generator=torch.Generator().manual_seed(seed))
    return Look(theta, BACKGROUND, RECOLOR)


def test_a_training_view_renders_as_its_operator(model, seen):
    look = painted(model)
    wanted = build(seen, 14, 20, model.count).apply(look.theta, BACKGROUND).view(-1, 3)
    torch.testing.assert_close(look.render(seen), wanted, rtol=0, atol=1e-5)


def test_what_has_no_column_takes_the_recoloured_photoreal_colour(model, seen):
    look, gone = painted(model), torch.arange(model.count) % 3 == 0
    partly = without(seen, model, gone)
    full = Look(torch.where(gone[:, None], RECOLOR.apply(model.colors), look.theta), BACKGROUND, RECOLOR)
    torch.testing.assert_close(look.render(partly), full.render(seen), rtol=0, atol=1e-5)
    assert (look.render(partly) - look.render(seen)).abs().max() > 0.05


def test_with_nothing_painted_the_scene_is_the_recoloured_photoreal_one(model, seen):
    nothing = without(seen, model, torch.ones(model.count, dtype=torch.bool))
    look = Look(torch.zeros(model.count, 3), RECOLOR.apply(model.background), RECOLOR)
    torch.testing.assert_close(look.render(nothing), RECOLOR.apply(seen.color), rtol=0, atol=1e-5)


def test_state_goes_round(model, seen):
    look = painted(model)
    again = Look.of_tensors({name: tensor.clone() for name, tensor in look.tensors().items()})
    assert torch.equal(again.render(seen), look.render(seen))
    assert torch.equal(again.theta, look.theta)
    torch.testing.assert_close(again.recolor.matrix, RECOLOR.matrix, rtol=0, atol=1e-6)
    torch.testing.assert_close(again.recolor.bias, RECOLOR.bias, rtol=0, atol=1e-6)


def test_looks_beside_each_other_are_the_looks(model, seen):
    first, second = painted(model, seed=1), painted(model, seed=2)
    partly = without(seen, model, torch.arange(model.count) % 2 == 0)
    for trace in (seen, partly):
        both = Look.beside([first, second]).render(trace)
        torch.testing.assert_close(both, torch.cat([first.render(trace), second.render(trace)], 1))


def test_looks_of_different_columns_are_refused(model):
    with pytest.raises(ValueError, match="the same columns"):
        Look.beside([painted(model), painted(ball_model(12))])

"""The colour field θ beyond the training views."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from voxels import around, ball_model

from arf.radiance.capture.capture import Views
from arf.radiance.fields.trace import Trace, trace
from arf.radiance.fields.voxel.grid import linear_index
from arf.radiance.operator.matrix import build, compact
from arf.radiance.paint.colors import VertexColors
from arf.style.color import Affine

RECOLOR = Affine(
    torch.tensor([[0.7, 0.2, 0.0], [-0.1, 0.9, 0.1], [0.3, 0.0, 0.8]], dtype=torch.float64),
    torch.tensor([0.1, 0.0, -0.05], dtype=torch.float64),
)
BACKGROUND = torch.tensor([0.2, 0.4, 0.6])
VIEWS = Views(around(3), [Path()] * 3)


@pytest.fixture(scope="module")
def model():
    return ball_model()


@pytest.fixture(scope="module")
def seen(model) -> Trace:
    """The only training view: its heavy samples."""
    return trace(model, *VIEWS.rays(0), 0.05)


@pytest.fixture(scope="module")
def unseen(model) -> Trace:
    """The view from elsewhere, which looks at vertices that the training view never met."""
    return trace(model, *VIEWS.rays(1))


def painted(model, traced: Trace, seed: int = 0) -> VertexColors:
    """Random colours on the vertices that a view sees."""
    keys = traced.vertices(model.field.grid.shape)[0].unique()
    theta = torch.rand(len(keys), 3, generator=torch.Generator().manual_seed(seed))
    return VertexColors(model.field.grid.shape, keys, theta, RECOLOR, BACKGROUND)


def test_seen_samples_take_their_vertices_colours_exactly(model, seen):
    colors = painted(model, seen)
    vertices, share = seen.vertices(model.field.grid.shape)
    rows = torch.searchsorted(colors.keys, vertices)
    wanted = (share[..., None] * colors.theta[rows]).sum(1)
    torch.testing.assert_close(colors.lookup(seen), wanted, rtol=0, atol=1e-6)


def test_a_training_view_renders_as_its_operator(model, seen):
    colors = painted(model, seen)
    height, width = VIEWS.size(0)
    operator = compact(build(seen, height, width, model.field.grid.shape), colors.keys)
    wanted = operator.apply(colors.theta, BACKGROUND).view(-1, 3)
    torch.testing.assert_close(colors.render(seen), wanted, rtol=0, atol=1e-5)


def test_unseen_vertices_lend_their_share_to_the_recoloured_photoreal_colour(model, seen, unseen):
    colors = painted(model, seen)
    row = {int(k): i for i, k in enumerate(colors.keys)}
    vertices, share = unseen.vertices(model.field.grid.shape)
    fallback = RECOLOR.apply(unseen.rgb)
    wanted = torch.zeros_like(fallback)
    for i in range(len(vertices)):
        for k in range(8):
            here = row.get(int(vertices[i, k]))
            wanted[i] += share[i, k] * (fallback[i] if here is None else colors.theta[here])
    torch.testing.assert_close(colors.lookup(unseen), wanted, rtol=0, atol=1e-5)
    met = torch.isin(vertices, colors.keys).sum(1)
    assert {0, 4, 8} <= set(met.tolist())  # wholly unseen and wholly seen samples, and ones on the border


def test_with_nothing_painted_the_scene_is_the_recoloured_photoreal_one(model, unseen):
    colors = VertexColors(
        model.field.grid.shape, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3), RECOLOR, RECOLOR.apply(BACKGROUND)
    )
    photoreal = unseen.composite(unseen.rgb, BACKGROUND)
    torch.testing.assert_close(colors.render(unseen), RECOLOR.apply(photoreal), rtol=0, atol=1e-5)


def test_colour_is_continuous_across_the_border_of_what_was_seen(model):
    """On a walk through seen and unseen cells no step jumps."""
    shape = (6, 6, 6)
    cells = torch.tensor([[x, 2, 3] for x in range(6)])
    painted_half = torch.tensor([[x, y, z] for x in range(4) for y in range(7) for z in range(7)])
    keys = linear_index(painted_half, (7, 7, 7))
    theta = torch.rand(len(keys), 3, generator=torch.Generator().manual_seed(0))
    colors = VertexColors(shape, keys, theta, RECOLOR, BACKGROUND)
    at = torch.linspace(0, 5.9999, 3001)
    fraction = torch.stack([at - at.floor(), torch.full_like(at, 0.3), torch.full_like(at, 0.6)], 1)
    cell = linear_index(cells, shape)[at.floor().long()]
    rgb = torch.stack([at / 6, 1 - at / 6, at.sin()], 1)
    ray, one = torch.zeros(len(at), dtype=torch.int64), torch.ones(1)
    found = colors.lookup(Trace(ray, torch.ones(len(at)), cell, fraction, rgb, one, one))
    assert found.diff(dim=0).abs().max() < 0.006
    assert (found[at > 4] - RECOLOR.apply(rgb[at > 4])).abs().max() < 1e-5
    assert (found[at < 3] - RECOLOR.apply(rgb[at < 3])).abs().max() > 0.1


def test_state_goes_round_into_an_empty_field_of_another_size(model, seen, unseen):
    colors = painted(model, seen)
    state: dict[str, Tensor] = {f"colors.{k}": v.clone() for k, v in colors.state_dict().items()}
    holder = torch.nn.Module()
    holder.colors = VertexColors.empty()
    holder.load_state_dict(state)
    assert torch.equal(holder.colors.render(unseen), colors.render(unseen))
    assert torch.equal(holder.colors.theta, colors.theta)
    assert holder.colors.cells == colors.cells
    torch.testing.assert_close(holder.colors.matrix.double(), RECOLOR.matrix, rtol=0, atol=1e-6)
    torch.testing.assert_close(holder.colors.bias.double(), RECOLOR.bias, rtol=0, atol=1e-6)


def test_looks_beside_each_other_are_the_looks(model, seen):
    first, second = painted(model, seen, seed=1), painted(model, seen, seed=2)
    both = VertexColors.beside([first, second]).render(seen)
    torch.testing.assert_close(both, torch.cat([first.render(seen), second.render(seen)], 1))


def test_looks_of_different_vertices_are_refused(model, seen, unseen):
    with pytest.raises(ValueError, match="the same vertices"):
        VertexColors.beside([painted(model, seen), painted(model, unseen)])

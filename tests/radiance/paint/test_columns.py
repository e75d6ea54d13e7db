"""What views say of columns."""

from __future__ import annotations

import pytest
import torch

from arf.radiance.fields.field import NOWHERE
from arf.radiance.fields.seen import seen
from arf.radiance.paint.columns import AROUND, FAR, Columns


@pytest.fixture
def columns(subject) -> Columns:
    return Columns(subject)


def ones(subject, i: int) -> torch.Tensor:
    return torch.ones(*subject.views.size(i), 1)


def test_how_much_is_seen(columns, subject):
    each = torch.stack([subject.operators[i].transpose(ones(subject, i))[:, 0] for i in range(len(subject))])
    assert torch.allclose(columns.seen, each.sum(0), rtol=1e-4)
    assert torch.equal(columns.most, each.amax(0))
    assert torch.allclose(columns.counted, each.sum(0), rtol=1e-4)  # every pixel of the room's photographs counts


def test_what_all_views_say_alike_is_said_of_all(columns, subject):
    said = columns.mean(torch.full(subject.views.size(i), 0.25) for i in range(len(subject)))
    assert said[columns.seen > 0.1] == pytest.approx(0.25, abs=1e-5)
    assert (said[columns.seen == 0] == 0).all()


def test_what_a_photograph_masks_out_says_nothing(columns, subject, monkeypatch):
    """Left halves say 1, right halves 0, and only left ones count."""
    left = torch.zeros(subject.views.size(0))
    left[:, :14] = 1
    monkeypatch.setattr(subject, "weight", lambda i: left)
    said = columns.mean(left.clone() for _ in range(len(subject)))
    assert said[columns.counted > 0.1] == pytest.approx(1, abs=1e-5)


def test_a_column_is_where_it_is_seen(columns, subject):
    """Each pixel's columns are around the place at which its ray meets a surface."""
    surface = seen(subject.field, subject.views.cameras[6])
    points = columns.points.clone()
    assert (points[columns.seen == 0] == NOWHERE).all()
    points[points >= NOWHERE] = 0
    weight = subject.operators[6].apply(torch.ones_like(points), torch.zeros(3))
    shown = subject.operators[6].apply(points, torch.zeros(3)) / weight.clamp_min(1e-6)
    error = (shown - surface.points).norm(dim=2)[surface.covered & (weight[..., 0] > 0.9)]
    assert error.median() < 0.1 * points.std()


def test_those_around_vote(columns, subject):
    """Half of the columns are known, by where they are; the others are told alike by their neighbours."""
    right = (columns.points[:, :1] > columns.points[columns.seen > 0][:, :1].median()).float()
    known = torch.rand(len(right), generator=torch.Generator().manual_seed(0)) < 0.5
    voted = columns.voted(right * known[:, None], known, torch.full_like(right, 0.5))
    asked = ~known & (columns.seen > 0)
    assert ((voted[asked] > 0.5) == (right[asked] > 0.5)).float().mean() > 0.9
    assert torch.equal(voted[known], right[known])
    assert (voted[~known & (columns.seen == 0)] == 0.5).all()


def test_far_away_it_is_otherwise(columns):
    """One known column: what is far from it in colour and space hardly hears of it."""
    known = torch.zeros(len(columns.seen), dtype=torch.bool)
    known[int(columns.seen.argmax())] = True
    voted = columns.voted(torch.ones(len(known), 1), known, torch.zeros(len(known), 1))[:, 0]
    assert voted[known] == 1
    assert voted[columns.seen > 0].min() < 0.2
    assert voted.max() <= 1
    assert 1 / (1 + AROUND / FAR**2) < 0.95  # even at one unit's distance it is not sure


def test_where_nothing_is_covered_colours_vote_alone(columns):
    """Splats so thin that no ray meets a surface: all columns are nowhere."""
    vars(columns)["points"] = torch.full((len(columns.seen), 3), NOWHERE)
    known = torch.arange(len(columns.seen)) % 2 == 0
    voted = columns.voted(torch.ones(len(known), 1), known, torch.zeros(len(known), 1))
    assert voted.isfinite().all()
    assert voted[columns.seen > 0].mean() > 0.5

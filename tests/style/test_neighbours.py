"""Inverted lists against exact search, on features of a grid of colours and of real pictures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from arf.media import image
from arf.style import encoder as encoders
from arf.style import neighbours
from arf.style.color import Moments, recolor
from arf.style.crew import Crew
from arf.style.losses import nnfm_loss
from arf.style.neighbours import FeatureBank

PAINTINGS = ("starry_night_vangogh", "great_wave_hokusai", "woman_with_hat_matisse")
TAPS = ("relu3_1", "relu3_2", "relu3_3")


def gathered(count: int, seed: int, width: int = 24, kinds: int = 40, spread: float = 0.15) -> Tensor:
    """Features in clusters, [C, N]."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(kinds, width, generator=torch.Generator().manual_seed(99)).abs()
    chosen = torch.randint(0, kinds, (count,), generator=g)
    return (centres[chosen] + spread * torch.randn(count, width, generator=g)).t()


@pytest.fixture
def listed(monkeypatch):
    """Lists for small banks too, of small cells."""
    monkeypatch.setattr(neighbours, "LISTED", {"cpu": 1, "cuda": 1})
    monkeypatch.setattr(neighbours, "PER_CELL", 20)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("k", [1, 4])
def test_lists_find_what_exact_search_finds_or_something_hardly_farther(listed, k, half):
    style, queries = gathered(1500, 0), gathered(700, 1).t()
    exact = FeatureBank(style, half, exact=True)
    lists = FeatureBank(style, half)
    assert exact._lists is None
    assert lists._lists is not None
    found, wanted = lists.nearest(queries, k), exact.nearest(queries, k)
    assert found.shape == wanted.shape == (700, k)
    assert all(len(set(row)) == k for row in found.tolist())
    unit = neighbours.unit(queries)
    cosines = [(unit[:, None] * exact.vectors[rows]).sum(2) for rows in (found, wanted)]
    if not half:  # in which features as much alike as these are one
        assert (cosines[0].diff(dim=1) <= 1e-6).all()  # nearest first
        assert (found == wanted).float().mean() > 0.9
        assert (cosines[0] <= cosines[1] + 1e-6).all()
    loss = [1 - float(c.mean()) for c in cosines]
    assert loss[0] < 1.03 * loss[1]


def test_looking_into_every_cell_in_full_is_exact(listed, monkeypatch):
    monkeypatch.setattr(neighbours, "PROBES", 10**6)
    monkeypatch.setattr(neighbours, "SKETCH", 24)
    style, queries = gathered(900, 2), gathered(300, 3).t()
    wanted = FeatureBank(style, exact=True).nearest(queries, 3)
    assert torch.equal(FeatureBank(style).nearest(queries, 3), wanted)


def test_the_same_bank_finds_the_same_in_every_run(listed):
    style, queries = gathered(900, 2), gathered(300, 3).t()
    assert torch.equal(FeatureBank(style).nearest(queries, 2), FeatureBank(style).nearest(queries, 2))


def test_more_neighbours_than_cells_are_looked_into_are_searched_exactly(listed):
    style, queries = gathered(900, 2), gathered(50, 3).t()
    k = neighbours.PROBES + 1
    assert torch.equal(FeatureBank(style).nearest(queries, k), FeatureBank(style, exact=True).nearest(queries, k))


def test_features_of_one_place_and_without_direction_do_no_harm(listed):
    style = gathered(600, 4)
    style[:, :300] = style[:, :1]  # half of the bank is one feature
    style[:, 300:310] = 0
    queries = torch.cat([style[:, 290:320], torch.zeros(24, 3)], 1).t()
    bank = FeatureBank(style)
    cosine = (neighbours.unit(queries)[:, None] * bank.vectors[bank.nearest(queries)]).sum(2)[:, 0]
    assert (cosine[:10] > 0.999).all()
    assert (cosine[20:30] > 0.999).all()
    assert cosine.isfinite().all()


def test_blocks_of_queries_do_not_change_what_is_found(listed, monkeypatch):
    style, queries = gathered(900, 2), gathered(300, 3).t()
    bank = FeatureBank(style)
    wanted = bank.nearest(queries, 2)
    monkeypatch.setattr(neighbours._Lists, "block", 77)
    for size in (1, 2, 3):  # threads
        bank._lists.crew = Crew(size)
        assert torch.equal(bank.nearest(queries, 2), wanted)


def test_small_banks_are_searched_exactly():
    assert FeatureBank(gathered(neighbours.LISTED["cpu"] - 1, 0))._lists is None
    assert FeatureBank(gathered(neighbours.LISTED["cpu"], 0))._lists is not None


@pytest.mark.parametrize("name", PAINTINGS)
def test_the_loss_of_a_recoloured_photograph_is_within_three_in_a_thousand(name, assets, monkeypatch):
    monkeypatch.setattr(neighbours, "LISTED", {"cpu": 4000})
    encoder = encoders.load("compact")
    style = image.fit_style(image.read_style(assets / "styles" / f"{name}.jpg"), 384)
    photograph = image.fit_style(image.read(assets / "photos" / "lion.jpg")[..., :3], 384)
    with torch.no_grad():
        ours, theirs = (
            torch.cat(list(encoder(p.permute(2, 0, 1)[None], TAPS).values()), 1)
            for p in (recolor(photograph, Moments.of([style])), style)
        )
        exact, lists = (float(nnfm_loss(ours, FeatureBank(theirs, exact=e))) for e in (True, False))
    assert FeatureBank(theirs)._lists is not None
    assert exact <= lists <= 1.003 * exact


def test_no_queries_have_no_neighbours_and_no_loss(listed):
    bank = FeatureBank(gathered(900, 2))
    assert bank.nearest(torch.zeros(0, 24), 2).shape == (0, 2)
    features = gathered(50, 3).requires_grad_()
    assert nnfm_loss(features, bank, torch.zeros(50)).item() == 0

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import street

from arf.radiance.capture.intake.photographs import take_photographs
from arf.radiance.capture.intake.pile import gather
from arf.radiance.capture.sfm.features import extract
from arf.radiance.capture.sfm.native import Colmap
from arf.radiance.capture.sfm.pairs import AFTER, ALIKE, ANYHOW, choose_pairs, most_alike, partners


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A database with the features of two places, and the names of their pictures."""
    root = tmp_path_factory.mktemp("pairs")
    street.photograph(root / "in" / "a", street.around(5))
    street.photograph(root / "in" / "b", street.around(4), seed=1)
    taken, _ = take_photographs(gather([root / "in"]), root / "out", (), set(), 2, lambda *_: None)
    with Colmap(root) as colmap:
        extract(colmap, root / "db", root / "out", taken, 2, lambda _: None)
    return root / "db", [one.name for one in taken]


def pairs(places, matching, clips=None):
    database, names = places
    return choose_pairs(database, names, clips or [None] * len(names), matching, lambda _: None)


def test_a_few_are_all_compared(places):
    assert pairs(places, "auto") == pairs(places, "exhaustive") == list(combinations(places[1], 2))


def neighbours(first: str, count: int) -> set[tuple[str, str]]:
    return {(f"{first}_{i:02d}.jpg", f"{first}_{i + 1:02d}.jpg") for i in range(count - 1)}


def test_those_of_one_place_look_alike(places, monkeypatch):
    monkeypatch.setattr("arf.radiance.capture.sfm.pairs.ANYHOW", 1)
    found = set(pairs(places, "similar"))
    assert neighbours("a", 5) | neighbours("b", 4) <= found
    assert sum(a[0] == b[0] for a, b in found) > 2 * sum(a[0] != b[0] for a, b in found)


@pytest.fixture
def many(monkeypatch):
    """Thirty names whose pictures are as alike as they are near in a ring of thirty."""
    away = np.abs(np.arange(30)[:, None] - np.arange(30))
    ring = np.minimum(away, 30 - away)
    monkeypatch.setattr("arf.radiance.capture.sfm.pairs._descriptors", lambda *_: None)
    monkeypatch.setattr("arf.radiance.capture.sfm.pairs._alikeness", lambda *_: np.where(ring == 1, 99, 0))
    monkeypatch.setattr("arf.radiance.capture.sfm.pairs.ANYHOW", 0)
    return None, [f"{i:02d}" for i in range(30)]


def steps(found) -> set[int]:
    return {int(b) - int(a) for a, b in found}


def test_frames_of_a_clip_are_compared_with_those_that_follow_and_where_the_way_closes(many):
    assert steps(pairs(many, "auto", ["clip"] * 30)) == {*range(1, AFTER + 1), 29}
    assert steps(pairs(many, "sequential")) == {*range(1, AFTER + 1), 29}


def test_photographs_are_compared_with_what_they_look_like(many, monkeypatch):
    assert steps(pairs(many, "auto")) == {*range(1, 30)}
    monkeypatch.setattr("arf.radiance.capture.sfm.pairs.FEW", 29)
    assert steps(pairs(many, "auto")) == steps(pairs(many, "similar")) == {1, 29}


def test_two_clips_do_not_follow_on_each_other(many):
    found = pairs(many, "auto", ["a"] * 15 + ["b"] * 15)
    assert ("05", "14") in found
    assert ("10", "16") not in found


def test_those_that_are_lost_are_compared_with_what_they_look_like_most(many, monkeypatch):
    assert len(partners(*many, ["03", "07"], None)) == 29 + 28
    monkeypatch.setattr("arf.radiance.capture.sfm.pairs.FEW", 29)
    monkeypatch.setattr("arf.radiance.capture.sfm.pairs.ALIKE", 1)
    assert set(partners(*many, ["03", "07"], None)) == {("03", "02"), ("03", "04"), ("07", "06"), ("07", "08")}


def test_everyone_has_its_most_alike():
    alike = np.random.default_rng(0).integers(20, 100, (80, 80))
    alike = np.maximum(alike, alike.T)
    np.fill_diagonal(alike, 0)
    found = most_alike(alike)
    for i in range(80):
        best = set(np.argsort(-alike[i], kind="stable")[:ALIKE].tolist())
        assert {(min(i, j), max(i, j)) for j in best} <= found
    assert len(found) <= 80 * ALIKE


def test_without_evidence_some_are_tried_anyhow():
    assert len(most_alike(np.full((20, 20), 3))) < 20 * ANYHOW + 1
    assert all(any(i in pair for pair in most_alike(np.full((20, 20), 3))) for i in range(20))

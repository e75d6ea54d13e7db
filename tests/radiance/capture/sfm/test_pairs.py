from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import street

from arf.radiance.capture.intake.photographs import take_photographs
from arf.radiance.capture.intake.pile import gather
from arf.radiance.capture.sfm.features import extract
from arf.radiance.capture.sfm.native import Colmap
from arf.radiance.capture.sfm.pairs import AFTER, ALIKE, ANYHOW, choose_pairs, most_alike


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


def test_frames_of_a_clip_are_compared_with_those_that_follow(places):
    found = set(pairs(places, "auto", ["clip"] * 5 + [None] * 4))
    assert set(combinations(places[1][:5], 2)) | neighbours("b", 4) <= found


def test_sequences_know_no_border(places):
    assert set(pairs(places, "sequential")) == set(combinations(places[1], 2))  # nine, all within ten of each other
    assert AFTER == 10


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

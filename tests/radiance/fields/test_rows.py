"""Rows of sparse matrices, merged and lightened, against plain Python."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arf.radiance.fields import rows as of
from arf.radiance.fields.jit import ready
from arf.radiance.fields.rows import lighten, merge


def made(lengths: list[int], seed: int, columns: int = 9) -> of.Rows:
    random = np.random.default_rng(seed)
    total = sum(lengths)
    weights = random.random(total).astype(np.float32) ** 4 + np.float32(1e-4)
    return (
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        random.integers(0, columns, total, dtype=np.int32),
        weights,
    )


def each(rows: of.Rows) -> list[list[tuple[int, float]]]:
    starts, columns, weights = rows
    return [list(zip(columns[a:b].tolist(), weights[a:b].tolist(), strict=True)) for a, b in pairwise(starts)]


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), max_size=12), seed=st.integers(0, 99), columns=st.sampled_from([1, 9, 10**9])
)  # fmt: skip
def test_merged_rows_hold_each_column_once_in_the_order_in_which_they_came(lengths, seed, columns):
    rows = made(lengths, seed, columns)
    with ready():
        found = each(merge(rows))
    for row, wanted in zip(found, each(rows), strict=True):
        sums: dict[int, float] = {}
        for column, weight in wanted:
            sums[column] = sums.get(column, 0.0) + weight
        assert [column for column, _ in row] == list(sums)
        assert [weight for _, weight in row] == pytest.approx(list(sums.values()), rel=1e-5)


def test_a_chunk_of_many_rows_has_nothing_of_the_rows_before():
    """The table is not cleared between rows."""
    count = 2 * of.CHUNK + 3
    rows = np.arange(count + 1) * 3, np.tile(np.array([5, 7, 5], np.int32), count), np.ones(3 * count, np.float32)
    with ready():
        starts, columns, weights = merge(rows)
    assert (np.diff(starts) == 2).all()
    assert (columns.reshape(-1, 2) == [5, 7]).all()
    assert (weights.reshape(-1, 2) == [2, 1]).all()


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 90), max_size=8), seed=st.integers(0, 99), drop=st.sampled_from([0.0, 0.01, 0.2]),
    most=st.sampled_from([1, 8, 64, of.ANY]),
)  # fmt: skip
def test_what_is_left_out_is_light_and_is_taken_over(lengths, seed, drop, most):
    rows = made(lengths, seed, 10**6)
    with ready():
        lean = lighten(rows, drop, most)
    for row, whole in zip(each(lean), each(rows), strict=True):
        assert len(row) <= most
        kept = {column for column, _ in row}
        total = sum(weight for _, weight in whole)
        assert sum(weight for _, weight in row) == pytest.approx(total, rel=1e-4)
        gone = [weight for column, weight in whole if column not in kept]
        if len(row) < most:  # then not for being too many
            assert sum(gone) <= drop * total + 1e-5
        if gone and kept:
            lightest = min(weight for column, weight in whole if column in kept)
            assert max(gone) <= lightest * 1.25 + 1e-7  # of one bin: four lie evenly between powers of two
    if drop == 0 and most == of.ANY:
        assert all(np.array_equal(a, b) for a, b in zip(lean, rows, strict=True))

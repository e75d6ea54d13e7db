"""Which views a preview shows."""

from __future__ import annotations

import torch

from arf.radiance.brought.around import directions
from arf.radiance.paint.leaving import apart


def test_a_preview_shows_all_sides_of_what_was_circled():
    chosen = apart(40, 4)
    assert chosen == [5, 15, 25, 35]
    sides = directions(40)[chosen]
    azimuths = torch.atan2(sides[:, 1], sides[:, 0]).sort().values
    around = torch.cat([azimuths, azimuths[:1] + 2 * torch.pi]).diff()
    assert around.max() < torch.pi / 2 + 0.01


def test_few_views_are_all_shown_and_none_twice():
    assert [apart(count, 4) for count in (1, 2, 3, 4, 5)] == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 3, 4]]

"""The depth protocol on walls of which everything is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from walls import camera, wall

from arf.metrics import rmse
from arf.radiance.evaluate.consistency import Agreement, agreements, at_hand, beginnings, by_depth
from arf.radiance.fields.seen import Seen

STEP = 0.25  # pixels from frame to frame


def measured(paint, near: bool = False, step: float = STEP, frames: int = 14) -> dict[str, Agreement]:
    """Of one film, made by `paint` of a frame's number and the true picture."""
    eyes = [wall(camera(step * k), near) for k in range(frames)]
    firsts = beginnings(frames, 4)
    found = agreements(firsts, lambda k: {"film": paint(k, eyes[k][1])}, by_depth(lambda k: eyes[k][0]))
    return found["film"]


def test_paint_that_stays_in_its_place_agrees_but_for_the_looking_up():
    found = measured(lambda k, picture: picture)
    for agreement in found.values():
        assert agreement.pairs == 4
        assert agreement.rmse < 0.004  # bilinear between pixels of a wave of 16 pixels
        assert agreement.visible > 0.9


def test_flat_colours_agree_exactly():
    found = measured(lambda k, picture: torch.full_like(picture, 0.3))
    assert all(agreement.rmse < 1e-6 for agreement in found.values())


def test_a_texture_that_moves_with_the_camera_is_off_by_the_shift():
    """Every frame is the same picture: of a step of one pixel, it is compared with itself one pixel on."""
    texture = torch.rand(32, 48, 3, generator=torch.Generator().manual_seed(0))
    found = measured(lambda k, picture: texture, step=1.0)
    assert found["short"].rmse == pytest.approx(rmse(texture[:, 1:], texture[:, :-1]), rel=1e-3)
    assert found["long"].rmse == pytest.approx(rmse(texture[:, 7:], texture[:, :-7]), rel=1e-3)
    assert found["long"].visible == pytest.approx(41 / 48, abs=0.001)


def test_flicker_is_measured_as_it_is():
    found = measured(lambda k, picture: torch.full_like(picture, 0.4 + 0.1 * (k % 2)))
    assert found["short"].rmse == pytest.approx(0.1, abs=1e-4)
    assert found["long"].rmse == pytest.approx(0.1, abs=1e-4)


def test_what_is_hidden_is_in_no_figure():
    """Paint that agrees on either wall; the part of the far one that the near one hides has none to compare."""
    found = measured(lambda k, picture: picture, near=True, step=-0.6)
    open_view = measured(lambda k, picture: picture, step=-0.6)
    for gap in ("short", "long"):
        assert found[gap].rmse < 0.03
        assert found[gap].visible < open_view[gap].visible
    pair = found["long"].worst[0]
    everywhere = (pair.frame - pair.warped).square().mean().sqrt()
    assert everywhere > 2 * pair.rmse  # had it been taken in


def test_the_worst_pairs_are_kept_worst_first():
    found = measured(lambda k, picture: torch.full_like(picture, 0.01 * k * k), frames=30)["short"]
    assert [pair.first for pair in found.worst] == [17, 11]
    assert [pair.second for pair in found.worst] == [18, 12]
    assert found.worst[0].rmse > found.worst[1].rmse


def test_a_film_of_which_nothing_is_seen_twice_has_no_figure():
    found = measured(lambda k, picture: picture, step=100.0)
    assert all(math.isnan(a.rmse) and a.pairs == 0 and a.visible == 0 and not a.worst for a in found.values())


@pytest.mark.parametrize(
    ("frames", "pairs", "wanted"), [(14, 4, [0, 1, 3, 5]), (8, 4, [0]), (9, 4, [0, 1]), (120, 3, [0, 37, 75])]
)
def test_pairs_begin_all_along_the_path(frames, pairs, wanted):
    assert beginnings(frames, pairs) == wanted


def test_frames_are_asked_for_once_and_let_go():
    asked: list[int] = []
    looked: list[int] = []
    eyes = [wall(camera(STEP * k)) for k in range(20)]

    def pictures(k: int) -> dict[str, Tensor]:
        asked.append(k)
        return {"film": eyes[k][1]}

    def surfaces(k: int) -> Seen:
        looked.append(k)
        return eyes[k][0]

    agreements([0, 1, 2, 7], pictures, by_depth(at_hand(surfaces)))
    assert sorted(asked) == sorted(looked) == [0, 1, 2, 3, 7, 8, 9, 14]

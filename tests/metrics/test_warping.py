"""Looking up and splatting against pictures that are moved by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from arf.metrics import look_up, rmse, splat


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def centres(height: int, width: int) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([columns, rows], -1)


def test_every_pixel_is_found_where_it_is():
    picture = random(7, 11, 3)
    found, inside = look_up(picture, centres(7, 11))
    assert torch.allclose(found, picture, atol=1e-5)
    assert inside.all()


def test_between_pixels_is_the_mean_of_four():
    picture = random(6, 6, 2)
    found, inside = look_up(picture, torch.tensor([[[3.0, 2.0], [0.4, 3.0], [3.0, 5.6], [5.5004, 5.5]]]))
    assert torch.allclose(found[0, 0], picture[1:3, 2:4].mean((0, 1)), atol=1e-6)
    assert inside.tolist() == [[True, False, False, True]]


def test_a_shift_by_one_pixel_is_looked_up_exactly():
    picture = random(5, 8, 3)
    found, inside = look_up(picture, centres(5, 8) + torch.tensor([1.0, 0.0]))
    assert torch.allclose(found[:, :-1], picture[:, 1:], atol=1e-5)
    assert inside[:, :-1].all()
    assert not inside[:, -1].any()


def test_a_shift_by_whole_pixels_is_splatted_exactly():
    picture, flow = random(5, 8, 3), torch.tensor([2.0, -1.0]).expand(5, 8, 2)
    moved = splat(picture, flow, random(5, 8, seed=1))
    assert torch.allclose(moved[:-1, 2:], picture[1:, :-2], atol=1e-6)
    assert (moved[-1] == 0).all()
    assert (moved[:, :2] == 0).all()


def test_a_shift_by_half_a_pixel_shares_evenly():
    moved = splat(torch.tensor([[[1.0], [3.0], [7.0]]]), torch.tensor([0.5, 0.0]).expand(1, 3, 2), torch.zeros(1, 3))
    assert moved.flatten().tolist() == pytest.approx([1, 2, 5])


def test_what_falls_together_counts_by_the_exponential_of_its_importance():
    values, flow = torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    importance = torch.tensor([[0.0, 3.0]]).log1p()  # weights 1 and 4
    assert splat(values, flow, importance)[0, 1].item() == pytest.approx((1 * 1 + 4 * 2) / 5)


def test_rmse_takes_the_root_and_leaves_out_what_is_masked():
    picture, truth = torch.full((2, 2, 3), 0.5), torch.full((2, 2, 3), 0.2)
    truth[0, 0] = 0.9
    mask = torch.tensor([[False, True], [True, True]])
    assert rmse(picture, truth, mask) == pytest.approx(0.3)
    assert rmse(picture, truth) == pytest.approx(((3 * 0.09 + 0.16) / 4) ** 0.5)
    assert rmse(picture, truth, mask & False) != rmse(picture, truth, mask & False)  # NaN: there is nothing to say

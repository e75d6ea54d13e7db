"""Matches against brute force, pictures matched with themselves, and what is drawn."""

from __future__ import annotations

import pytest
import torch
from encoders import tiny_encoder

from arf.style import natural
from arf.transfer import matches
from arf.transfer.matches import CELLS, Matches, draw, match, recompose, spread


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    planes = natural.pictures(1, 96)[0] if not seed else natural.pictures(seed + 1, 96)[seed]
    return planes[:, :height, :width].permute(1, 2, 0).contiguous()  # [H, W, 3]


def test_a_picture_matches_itself(encoder):
    photo = picture(61, 70)  # not multiples of the stride
    found = match(encoder, photo, photo, "relu3_1")
    assert found.stride == 4
    assert found.size == (15, 17)
    assert torch.equal(found.nearest, torch.arange(15 * 17).reshape(15, 17))
    assert found.mean_distance == pytest.approx(0, abs=1e-6)
    assert found.used == 1
    torch.testing.assert_close(recompose(found, photo, photo), photo, atol=1e-5, rtol=0)


def test_a_shifted_copy_is_matched_shifted(encoder):
    photo = picture(80, 80)
    found = match(encoder, photo, photo.roll((8, 12), (0, 1)), "relu2_1")  # 4 and 6 positions
    rim = -(-encoder.reach("relu2_1") // 2)
    y, x = torch.meshgrid(torch.arange(rim, 36 - rim), torch.arange(rim, 34 - rim), indexing="ij")
    assert torch.equal(found.nearest[rim : 36 - rim, rim : 34 - rim], (y + 4) * 40 + x + 6)


def test_matches_are_those_of_brute_force(encoder, monkeypatch):
    monkeypatch.setattr(matches, "SEARCH", 5000)  # in several steps
    photo, other = picture(32, 40), picture(48, 36, seed=1)
    seen = []
    found = match(encoder, photo, other, "relu2_2", lambda done, steps: seen.append((done, steps)))
    a, b = (encoder(p.permute(2, 0, 1)[None], ["relu2_2"])["relu2_2"][0].flatten(1).T for p in (photo, other))
    cosines = torch.stack([torch.stack([u @ v / (u.norm() * v.norm()) for v in b]) for u in a])
    assert torch.equal(found.nearest.flatten(), cosines.argmax(1))
    torch.testing.assert_close(found.distance.flatten(), 1 - cosines.amax(1), atol=1e-5, rtol=0)
    assert found.mean_distance == pytest.approx(float((1 - cosines.amax(1)).mean()), abs=1e-5)
    assert found.used == len(set(cosines.argmax(1).tolist())) / (24 * 18)
    assert len(seen) > 1
    assert seen[-1] == (16 * 20, 16 * 20)


def test_a_picture_is_recomposed_as_by_hand():
    torch.manual_seed(0)
    stride, photo, other = 2, torch.rand(9, 12, 3), torch.rand(10, 7, 3)
    nearest = torch.randint(5 * 3, (4, 6))
    made = recompose(Matches(stride, nearest, (5, 3), torch.zeros(4, 6)), photo, other)
    total, weight = torch.zeros(9, 12, 3), torch.zeros(9, 12, 1)
    reach = CELLS * stride / 2
    for row in range(4):
        for column in range(6):
            chosen_row, chosen_column = divmod(int(nearest[row, column]), 3)
            for dy in range(-stride, 2 * stride):
                for dx in range(-stride, 2 * stride):
                    y, x = row * stride + dy, column * stride + dx
                    if 0 <= y < 9 and 0 <= x < 12:
                        from_y = min(max(chosen_row * stride + dy, 0), 9)
                        from_x = min(max(chosen_column * stride + dx, 0), 6)
                        share = (reach - abs(dy + 0.5 - stride / 2)) * (reach - abs(dx + 0.5 - stride / 2))
                        total[y, x] += share * other[from_y, from_x]
                        weight[y, x] += share
    torch.testing.assert_close(made, total / weight)


@pytest.mark.parametrize(("height", "width"), [(1, 9), (9, 1), (2, 9), (12, 16), (30, 7)])
def test_lines_are_spread_over_the_grid(height, width):
    for count in (0, 1, 5, 10, 24, 500):
        positions = spread(height, width, count)
        assert len(positions) == len(set(positions)) == min(count, height * width)
        assert all(0 <= y < height and 0 <= x < width for y, x in positions)
    assert spread(12, 16, 4) == [(3, 4), (3, 12), (9, 4), (9, 12)]


def test_a_line_leads_from_a_patch_to_the_chosen_one():
    photo, other = torch.full((320, 640, 3), 0.5), torch.full((480, 320, 3), 0.5)
    nearest = torch.full((40, 80), 7 * 40 + 30)
    found = Matches(8, nearest, (60, 40), torch.zeros(40, 80))
    plain = draw(found, photo, other, 0)
    assert plain.shape == (480, 640 + 51 + 320, 3)
    torch.testing.assert_close(plain[80:400, :640], photo, atol=1 / 255, rtol=0)  # in the middle
    torch.testing.assert_close(plain[:, 691:], other, atol=1 / 255, rtol=0)
    drawn = draw(found, photo, other, 1)
    color = torch.tensor(matches._color(0)) / 255
    start, end = (40 * 8 + 4, 80 + 20 * 8 + 4), (691 + 30 * 8 + 4, 7 * 8 + 4)  # x, y of the two middles
    for share in (0.02, 0.25, 0.5, 0.9):
        x, y = (round(a + share * (b - a)) for a, b in zip(start, end, strict=True))
        torch.testing.assert_close(drawn[y, x], color)
    for x, y in (start, end):
        torch.testing.assert_close(drawn[y, x - 11], color)  # the square's left side
        torch.testing.assert_close(drawn[y + 11, x], color)
    touched = (drawn != plain).any(2)
    assert 0.005 < touched.float().mean() < 0.03

"""Bytes of the page, decoded again: what is lost is bounded, and what cannot be seen is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from dense import render
from pages import psnr, some_paints, some_ride, some_splats

from arf.radiance.fields.splats.splats import Splats
from arf.radiance.share.page.packing import SPAN, Packed, pack


def unpack(packed: Packed) -> tuple[Splats, list[torch.Tensor]]:
    """As the shader does it."""
    thirds = lambda bits: np.stack([bits >> shift & 1023 for shift in (0, 10, 20)], 1) / 1023  # noqa: E731
    means = packed.places[:, :3].copy().view(np.float32)
    others = (thirds(packed.places[:, 3]) * 2 - 1) * 0.5**0.5
    largest = packed.places[:, 3] >> 30
    quats = np.zeros((len(packed), 4))
    for row, (index, rest) in enumerate(zip(largest, others, strict=True)):
        quats[row] = np.insert(rest, index, np.sqrt(max(0, 1 - (rest**2).sum())))
    levels = np.stack([packed.shapes >> shift & 255 for shift in (0, 8, 16, 24)], 1) / 255
    low, high = packed.logarithms
    parts = (means, np.exp(low + (high - low) * levels[:, :3]), quats, levels[:, 3] ** 2, np.zeros_like(means))
    splats = Splats(*(torch.tensor(part).float() for part in parts), torch.zeros(len(packed), 0, 3))
    ends = zip(packed.colors, packed.ranges, strict=True)
    return splats, [torch.tensor(low + (high - low) * thirds(color)).float() for color, (low, high) in ends]


def test_errors_are_bounded():
    splats = some_splats(2000)
    splats.opacities.clamp_(min=1 / 255)
    paints = [paint.colors for paint in some_paints(splats)]
    packed = pack(splats, paints)
    found, colors = unpack(packed)
    assert torch.equal(found.means, splats.means)
    step = (packed.logarithms[1] - packed.logarithms[0]) / 255
    assert (found.scales / splats.scales).log().abs().max() < 0.51 * step
    cosines = (found.quats * splats.quats).sum(1).abs()
    assert (2 * cosines.clamp_max(1).acos()).max() < 0.004  # radians
    assert (found.opacities - splats.opacities).abs().max() < 1.01 / 255
    for color, paint in zip(colors, paints, strict=True):
        assert (color - paint).abs().max() < 0.51 * (paint.max() - paint.min()) / 1023


def test_what_is_lost_is_not_seen():
    splats = some_splats(300)
    found, colors = unpack(pack(splats, [splats.colors]))
    background = torch.tensor([0.1, 0.2, 0.3])
    camera = some_ride()[5]
    assert psnr(render(found, camera, background, colors[0]), render(splats, camera, background)) > 55


@pytest.mark.parametrize("largest", range(4))
def test_both_signs_are_one_rotation(largest):
    quat = torch.tensor([0.1, -0.3, 0.2, 0.25])
    quat[largest] = -0.9
    two = torch.stack([quat, -3 * quat])
    splats = replace(some_splats(2), quats=two, opacities=torch.ones(2))
    packed = pack(splats, [])
    assert packed.places[0, 3] == packed.places[1, 3]
    found = unpack(packed)[0].quats[0]
    torch.testing.assert_close(found, -quat / quat.norm(), atol=1e-3, rtol=0)


def test_what_cannot_be_seen_is_left_out():
    splats = some_splats(9)
    splats.opacities[:] = torch.tensor([1, 0.9, 1 / 255, 0.0039, 0, 1, 1, 1, 1])
    splats.means[5, 1] = torch.nan
    splats.scales[6, 2] = torch.inf
    splats.quats[7] = 0
    paint = splats.colors.clone()
    paint[8, 0] = torch.nan
    packed = pack(splats, [splats.colors, paint])
    assert torch.equal(unpack(packed)[0].means, splats.means[:3])
    assert [len(block) for block in packed.blocks()] == [48, 12, 12, 12]
    assert len(pack(splats, [torch.full_like(paint, torch.nan)])) == 0


def test_outliers_do_not_coarsen_the_rest():
    splats = some_splats(100)
    splats.opacities[:] = 1
    splats.scales[0] = 1e-30
    splats.scales[1] = 0
    colors = splats.colors.clone()
    colors[2] = 1e6
    packed = pack(splats, [colors])
    assert packed.logarithms[1] - packed.logarithms[0] == pytest.approx(SPAN)
    assert packed.ranges[0][1] == 2
    found, (painted,) = unpack(packed)
    assert (found.scales[2:] / splats.scales[2:]).log().abs().max() < 0.51 * SPAN / 255
    assert (painted[3:] - colors[3:]).abs().max() < 0.0016


def test_equal_values_have_no_range():
    splats = replace(some_splats(5), scales=torch.full((5, 3), 0.1), opacities=torch.ones(5))
    found, (painted,) = unpack(pack(splats, [torch.full((5, 3), 0.25)]))
    torch.testing.assert_close(found.scales, splats.scales)
    torch.testing.assert_close(painted, torch.full((5, 3), 0.25))

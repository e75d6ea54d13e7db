"""Features and Gram matrices that are gathered in tiles are the picture's own."""

from __future__ import annotations

import pytest
import torch

from arf.style import encoder as encoders
from arf.style import natural
from arf.transfer.engine.terms import gram_targets
from arf.transfer.engine.tiles import Tiling, encode

TAPS = ("relu1_1", "pool2", "relu4_1")


@pytest.mark.parametrize(("padding", "height", "width"), [("zeros", 107, 150), ("circular", 96, 152)])
def test_features_in_tiles(padding, height, width):
    encoder = encoders.load("compact", padding=padding)
    picture = natural.pictures(1, 160)[:, :, :height, :width]
    with torch.no_grad():
        whole = encoder(picture, TAPS)
    for side in (0, 40, 64):
        for tap, f in encode(encoder, picture, TAPS, side).items():
            assert f.shape == whole[tap].shape
            assert torch.allclose(f, whole[tap], atol=1e-4)


@pytest.mark.parametrize("inner", [False, True])
def test_gram_matrices_in_tiles(inner):
    encoder = encoders.load("compact")
    picture = natural.pictures(1, 160)[:, :, :131]
    whole, tiled = (gram_targets(encoder, picture, TAPS, inner, tile) for tile in (0, 48))
    for tap in TAPS:
        assert torch.allclose(tiled[tap], whole[tap], atol=1e-4, rtol=1e-4)


def test_tiles_cover_every_position_once():
    encoder = encoders.load("compact")
    count = torch.zeros(131 // 8, 150 // 8)
    for tile in Tiling(encoder, TAPS, 40).tiles(131, 150):
        count[tile.within_picture(8)] += 1
    assert bool((count == 1).all())


def test_a_picture_no_larger_than_a_tile_is_looked_at_at_once():
    (tile,) = Tiling(encoders.load("compact"), TAPS, 100).tiles(104, 90)
    picture = torch.rand(1, 3, 104, 90)
    assert tile.cut(picture) is picture

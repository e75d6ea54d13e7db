"""The 2D methods on a GPU: the same pictures as on the CPU, tiles among them."""

from __future__ import annotations

import pytest
import torch

from arf.style import natural
from arf.transfer.dream import dream
from arf.transfer.engine.optimize import Picture
from arf.transfer.gatys import gatys
from arf.transfer.invert import invert
from arf.transfer.settings import DreamSettings, GatysSettings, InvertSettings, TextureSettings
from arf.transfer.texture import texture

pytestmark = pytest.mark.cuda
STEPS = 4  # few: rounding differs between devices, and L-BFGS amplifies it


def pictures(size: int = 96) -> list[Picture]:
    return list(natural.pictures(2, size).permute(0, 2, 3, 1))


def near(a: Picture, b: Picture) -> bool:
    return float((a.cpu() - b.cpu()).abs().mean()) < 5e-3


def test_every_method_paints_what_it_paints_on_the_cpu():
    photo, style = pictures()
    made = {}
    for device in ("cpu", "cuda"):
        common = {"steps": STEPS, "device": device}
        made[device] = [
            texture(style, TextureSettings(scales=1, tileable=True, **common)),
            invert(photo, "relu3_1", InvertSettings(**common)),
            gatys(photo, [style], settings=GatysSettings(scales=2, **common)),
            dream(photo, DreamSettings(octaves=1, **common)),
        ]
    assert all(near(a, b) for a, b in zip(made["cpu"], made["cuda"], strict=True))


def test_tiles_and_masks():
    photo, style = pictures(160)
    left = torch.zeros(160, 160)
    left[:, :80] = 1
    settings = {"steps": STEPS, "scales": 1, "device": "cuda", "pooling": "average"}
    whole, tiled = [
        gatys(photo, [style, photo], (), [left, 1 - left], GatysSettings(tile=tile, **settings)) for tile in (0, 64)
    ]
    assert near(whole, tiled)


def test_2048_pixels_fit_through_vgg19s_layers_in_tiles():
    photo = natural.pictures(1, 64).repeat(1, 1, 32, 32)[0].permute(1, 2, 0)
    torch.cuda.reset_peak_memory_stats()
    gatys(photo, [photo], settings=GatysSettings(scales=1, steps=2, tile=512, device="cuda", history=4))
    assert torch.cuda.max_memory_allocated() < 6 * 2**30

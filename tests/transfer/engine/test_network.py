"""Layers, and how large a picture may be for the memory that is free."""

from __future__ import annotations

import logging
import re

import pytest
import torch
from samples import blobs, photo

from arf.errors import UserError
from arf.media import image
from arf.style import encoder as encoders
from arf.transfer.engine import network
from arf.transfer.engine.network import (
    bytes_per_pixel,
    check_layers,
    check_room,
    open_encoder,
    picture_bytes,
    tile_side,
)
from arf.transfer.gatys import gatys
from arf.transfer.settings import GatysSettings, InvertSettings, NetworkSettings, OptimizeSettings, TextureSettings
from arf.transfer.texture import texture

LAYERS = ("relu1_1", "relu3_1", "relu4_2")


@pytest.fixture(scope="module")
def encoder():
    return encoders.load("compact")


@pytest.fixture
def memory(monkeypatch):
    """Pretend that so many bytes are free."""
    return lambda free: monkeypatch.setattr(network, "free_memory", lambda device: int(free))


def test_the_encoder_is_the_one_that_was_asked_for():
    found = open_encoder(NetworkSettings(encoder="compact", device="cpu", pooling="average"), LAYERS, "circular")
    assert (found.name, found.pooling, found.padding) == ("compact", "average", "circular")


def test_an_unknown_layer_is_refused_with_the_known_ones(encoder):
    check_layers(encoder, (*encoder.taps, *encoder.pools))
    for layers in (("relu1_1", "conv9"), ("conv9",)):
        with pytest.raises(UserError) as refusal:
            check_layers(encoder, layers)
        assert str(refusal.value) == f"no layer conv9; compact has {', '.join([*encoder.taps, *encoder.pools])}"
    with pytest.raises(UserError, match="no layer a, b; compact has"):
        check_layers(encoder, ["a", "relu1_1", "b"])
    with pytest.raises(UserError, match="no layer given; compact has"):
        check_layers(encoder, ())
    with pytest.raises(UserError, match="relu1_1 is given twice"):
        check_layers(encoder, ("relu1_1", "pool1", "relu1_1"))


def test_memory_for_each_pixel_is_at_least_every_activation_and_its_gradient(encoder):
    seen = []
    for module in encoder.convolutions.values():
        module.register_forward_hook(lambda _, __, out: seen.append(out.numel() * out.element_size()))
    encoder(torch.rand(1, 3, 64, 64), ["relu4_2"])
    for module in encoder.convolutions.values():
        module._forward_hooks.clear()
    activations = sum(seen) / 64**2
    assert 2 * activations <= bytes_per_pixel(encoder, ["relu4_2"]) <= 5 * activations
    assert bytes_per_pixel(encoder, ["relu1_1"]) < bytes_per_pixel(encoder, ["relu4_2", "relu1_1"])
    assert bytes_per_pixel(encoder, ["pool2"]) == bytes_per_pixel(encoder, ["relu2_2"])


def test_memory_that_no_tile_saves_grows_with_the_history(encoder):
    short, long, adam = (
        picture_bytes(encoder, ["relu1_1"], settings)
        for settings in (OptimizeSettings(history=5), OptimizeSettings(history=25), OptimizeSettings(optimizer="adam"))
    )
    assert long - short == 20 * 2 * 12  # steps and changes of gradients, of three floats each
    assert adam < long


def test_the_whole_picture_where_memory_is_ample(encoder, memory, caplog):
    memory(64e9)
    with caplog.at_level(logging.WARNING):
        assert tile_side(encoder, LAYERS, (1080, 1920), OptimizeSettings()) == 0
    assert not caplog.records


def test_tiles_where_memory_is_short_and_they_fit_into_it(encoder, memory, caplog):
    settings = OptimizeSettings(history=5)
    height, width = 1080, 1920
    kept = height * width * picture_bytes(encoder, LAYERS, settings)
    per_pixel = bytes_per_pixel(encoder, LAYERS)
    sides = []
    for free in (1.3 * kept, 1.6 * kept, 2.0 * kept):
        memory(free / network.SHARE)
        with caplog.at_level(logging.WARNING):
            sides.append(tile_side(encoder, LAYERS, (height, width), settings))
        window = sides[-1] + 2 * encoder.reach("relu4_2")
        assert kept + window**2 * per_pixel <= free < kept + (window + 2) ** 2 * per_pixel  # the largest that does
        assert f"1920×1080 pixels are looked at in tiles of {sides[-1]}" in caplog.text
    assert network.SMALLEST_TILE <= sides[0] < sides[1] < sides[2] < 1080


def test_a_tile_that_was_asked_for_is_taken(encoder, memory, caplog):
    memory(64e9)
    assert tile_side(encoder, LAYERS, (1080, 1920), OptimizeSettings(tile=300)) == 300
    memory(1e9)  # a tile larger than the picture is the picture
    assert tile_side(encoder, LAYERS, (100, 120), OptimizeSettings(tile=65536)) == 65536
    assert not caplog.records


@pytest.mark.parametrize("tile", [0, 64, 512, 4096])
@pytest.mark.parametrize("free", [30e6, 100e6, 1e9, 6e9])
@pytest.mark.parametrize("aspect", [1.0, 1.7, 0.3])
def test_what_does_not_fit_is_refused_with_a_size_that_does(encoder, memory, tile, free, aspect):
    memory(free)
    settings = InvertSettings(tile=tile)

    def sides(long_side: int) -> tuple[int, int]:
        return tuple(image.fit_long_side(torch.zeros(1, 1, 3).expand(100, round(100 * aspect), 3), long_side).shape[:2])

    with pytest.raises(UserError, match=r"pixels take [\d.]+ GiB, and [\d.]+ can be used; --size \d+ fits") as refusal:
        tile_side(encoder, LAYERS, (60000, round(60000 * aspect)), settings)
    fits = int(re.search(r"--size (\d+)", str(refusal.value))[1])
    assert fits >= 16
    tile_side(encoder, LAYERS, sides(fits), settings)
    with pytest.raises(UserError, match="--size"):  # and not much more does
        tile_side(encoder, LAYERS, sides(round(1.1 * fits) + 5), settings)


def test_textures_are_told_width_and_height(encoder, memory):
    memory(300e6)
    settings = TextureSettings(device="cpu", width=6000, height=4000, tileable=True, steps=1, layers=LAYERS)
    with pytest.raises(UserError, match=r"--width \d+ --height \d+ fits") as refusal:
        texture(blobs(), settings)
    width, height = map(int, re.search(r"--width (\d+) --height (\d+)", str(refusal.value)).groups())
    assert width / height == pytest.approx(6000 / 4000, rel=0.05)
    assert width > 300
    tile_side(encoder, LAYERS, (height, width), settings)
    assert width % 8 == height % 8 == 0  # as --tileable wants them


def test_where_nothing_fits_the_remedy_is_memory(encoder, memory):
    memory(1000)
    with pytest.raises(UserError, match="free some memory"):
        tile_side(encoder, LAYERS, (100, 100), OptimizeSettings())


def test_a_picture_that_does_not_reach_a_layer_is_refused(encoder):
    with pytest.raises(UserError, match="100×7 pixels are too few for relu4_2, which needs 8 a side"):
        tile_side(encoder, LAYERS, (7, 100), OptimizeSettings())
    assert tile_side(encoder, LAYERS, (8, 8), OptimizeSettings()) == 0


def test_a_picture_too_large_to_be_made_is_refused_before_it_is(memory):
    memory(4e9)
    check_room((1080, 1920), InvertSettings(device="cpu"))
    with pytest.raises(UserError, match=r"60000×40000 pixels take .* --size \d+ fits") as refusal:
        check_room((40000, 60000), InvertSettings(device="cpu"))
    fits = int(re.search(r"--size (\d+)", str(refusal.value))[1])
    check_room((fits * 2 // 3, fits), InvertSettings(device="cpu"))
    assert fits > 1000


def test_tiles_for_want_of_memory_change_nothing(memory, monkeypatch, caplog):
    monkeypatch.setattr(network, "SMALLEST_TILE", 32)
    settings = GatysSettings(
        device="cpu", layers=("relu1_1", "relu2_1"), content_layers=("relu2_1",), steps=3, scales=1, history=1
    )
    encoder = encoders.load("compact")
    content = photo(160, 160)
    whole = gatys(content, [blobs()], settings=settings)
    per_pixel, kept = (
        f(encoder, ["relu1_1", "relu2_1"], *s) for f, s in ((bytes_per_pixel, ()), (picture_bytes, (settings,)))
    )
    memory(160 * 160 * (0.6 * per_pixel + kept) / network.SHARE)
    with caplog.at_level(logging.WARNING):
        tiled = gatys(content, [blobs()], settings=settings)
    assert "in tiles of" in caplog.text
    torch.testing.assert_close(tiled, whole, atol=2e-3, rtol=0)

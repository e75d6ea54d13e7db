"""DeepDream with the compact encoder: what responds more strongly, and where the changes come from."""

from __future__ import annotations

import pytest
import torch
from samples import photo, planes

from arf.errors import UserError
from arf.style import encoder as encoders
from arf.transfer.dream import dream
from arf.transfer.settings import DreamSettings


def settings(**given) -> DreamSettings:
    few = {
        "encoder": "compact",
        "device": "cpu",
        "layer": ("relu3_1",),
        "steps": 8,
        "octaves": 1,
        "jitter": 4,
        "learning_rate": 0.01,
    }
    return DreamSettings(**{**few, **given})


@pytest.fixture(scope="module")
def activation():
    encoder = encoders.load("compact")
    return lambda picture, layer="relu3_1": encoder(planes(picture), [layer])[layer][0]  # [C, H, W]


def test_all_of_a_layer_responds_more_strongly(activation):
    found = dream(photo(), settings())
    assert found.shape == photo().shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert activation(found).square().mean() > 1.4 * activation(photo()).square().mean()


@pytest.mark.parametrize("channel", [1, 5])
def test_the_channel_that_was_chosen_responds_most(activation, channel):
    found = dream(photo(), settings(channel=(channel,)))
    risen = activation(found).mean((1, 2)) / activation(photo()).mean((1, 2)).clamp_min(0.05)
    assert risen[channel] > 1.6
    assert risen[channel] > 1.5 * risen.median()


def test_several_layers_and_channels(activation):
    found = dream(photo(), settings(layer=("relu2_1", "relu4_1"), channel=(1, 2)))
    for layer in ("relu2_1", "relu4_1"):
        assert activation(found, layer)[[1, 2]].mean() > 1.05 * activation(photo(), layer)[[1, 2]].mean()


def test_the_loss_is_minus_the_activation(activation):
    parts = []
    dream(photo(), settings(jitter=0, channel=(3,)), lambda m: parts.append(m.parts["relu3_1"]))
    assert parts[0] == pytest.approx(-float(activation(photo())[3].mean()), rel=1e-4)
    assert len(parts) == 8
    assert parts[-1] < parts[0]


def test_the_seed_decides_and_without_jitter_nothing_is_left_to_chance():
    first, same, other = (dream(photo(), settings(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(*(dream(photo(), settings(jitter=0, seed=seed)) for seed in (1, 2)))


def test_a_step_changes_values_by_the_learning_rate_on_average():
    grey = 0.3 + 0.4 * photo()  # far from 0 and 1
    change = dream(grey, settings(steps=1, jitter=0, learning_rate=0.003)) - grey
    assert float(change.abs().mean()) == pytest.approx(0.003, rel=0.02)


def test_octaves_add_to_the_photograph():
    """With steps too small to see, every octave begins with the photograph at its size: no detail is lost."""
    found = dream(photo(150, 160), settings(octaves=3, steps=1, learning_rate=1e-9))
    torch.testing.assert_close(found, photo(150, 160), atol=1e-5, rtol=0)
    starts = []
    dream(
        photo(150, 160), settings(octaves=3, steps=2, octave_scale=1.5, jitter=0),
        lambda m: starts.append((m.size, m.best)) if m.step == 1 else None,
    )  # fmt: skip
    assert [size for size, _ in starts] == [(67, 71), (100, 107), (150, 160)]
    added = starts[2][1] - planes(photo(150, 160))
    assert 0.003 < added.abs().mean() < 0.1  # what the coarser octaves have painted came along


def test_tiles_give_the_same_picture():
    whole, tiled = (dream(photo(64, 128), settings(steps=3, tile=tile)) for tile in (0, 48))
    torch.testing.assert_close(tiled, whole, atol=2e-3, rtol=0)


def test_what_makes_no_sense_is_refused():
    for given, message in (
        ({"layer": ("relu9_1",)}, "no layer relu9_1; compact has relu1_1, "),
        ({"layer": ()}, "no layer given"),
        ({"channel": (9999,)}, r"no channel 9999 in relu3_1; it has 0 to \d+$"),
        ({"channel": (0, -1)}, "channel is -1"),
        ({"octave_scale": 1.0}, "octave_scale is 1"),
        ({"octaves": 0}, "octaves is 0"),
        ({"jitter": -1}, "jitter is -1"),
        ({"steps": 0}, "steps is 0"),
    ):
        with pytest.raises(UserError, match=message):
            dream(photo(), settings(**given))
    encoder = encoders.load("compact")
    last = encoder.width("relu3_1") - 1
    assert dream(photo(), settings(channel=(last,), steps=1)).shape == photo().shape
    with pytest.raises(UserError, match=f"no channel {last + 1} in relu3_1; it has 0 to {last}$"):
        dream(photo(), settings(channel=(last + 1,)))

"""Texture synthesis with the compact encoder: Gram matrices, histograms, sizes, seams."""

from __future__ import annotations

import pytest
import torch
from samples import blobs, gram_errors, photo

from arf.errors import UserError
from arf.style import encoder as encoders
from arf.transfer.settings import TextureSettings
from arf.transfer.texture import output_size, texture

LAYERS = ("relu1_1", "relu2_1", "relu3_1")


def settings(**given) -> TextureSettings:
    return TextureSettings(
        **{"encoder": "compact", "device": "cpu", "layers": LAYERS, "steps": 30, "scales": 2, **given}
    )


@pytest.fixture(scope="module")
def encoder():
    return encoders.load("compact", pooling=TextureSettings().pooling)


@pytest.fixture(scope="module")
def made() -> torch.Tensor:
    return texture(blobs(), settings(steps=60))


def sorted_values(picture: torch.Tensor) -> torch.Tensor:
    return picture.reshape(-1, 3).sort(0).values


def seams(picture: torch.Tensor) -> list[float]:
    """Mean step from the last row (column) to the first, in proportion to that between neighbours inside."""
    steps = [(picture - picture.roll(1, dim)).abs() for dim in (0, 1)]
    return [float(s.select(d, 0).mean() / s.narrow(d, 1, s.shape[d] - 1).mean()) for d, s in enumerate(steps)]


def test_the_gram_matrices_become_the_samples(encoder, made):
    noise = blobs().reshape(-1, 3)[torch.randperm(64 * 80, generator=torch.Generator().manual_seed(0))]
    before = gram_errors(encoder, noise.view(64, 80, 3), blobs(), LAYERS)  # the same histogram, no structure
    after = gram_errors(encoder, made, blobs(), LAYERS)
    assert all(a < b / 6 for a, b in zip(after, before, strict=True))
    assert max(after) < 0.12


def test_the_histogram_is_exactly_the_samples(made):
    assert torch.equal(sorted_values(made), sorted_values(blobs()))


def test_it_is_a_new_picture(made):
    assert made.shape == (64, 80, 3)
    assert (made - blobs()).abs().mean() > 0.1


def test_adam_works_too(encoder):
    found = texture(blobs(), settings(optimizer="adam", learning_rate=0.05, averaging=0.9))
    assert max(gram_errors(encoder, found, blobs(), LAYERS)) < 0.15
    assert torch.equal(sorted_values(found), sorted_values(blobs()))


def test_any_size_within_the_samples_values(encoder):
    sample = 0.2 + 0.5 * blobs(48, 56)
    found = texture(sample, settings(width=130, height=90))
    assert found.shape == (90, 130, 3)
    assert (found.amin((0, 1)) >= sample.amin((0, 1))).all()
    assert (found.amax((0, 1)) <= sample.amax((0, 1))).all()
    assert max(gram_errors(encoder, found, sample, LAYERS)) < 0.1


def test_without_matching_the_histogram_values_stay_within_the_samples():
    sample = 0.2 + 0.5 * photo()
    found = texture(sample, settings(match_histogram=False, width=70, height=66))
    assert (found.amin((0, 1)) >= sample.amin((0, 1))).all()
    assert (found.amax((0, 1)) <= sample.amax((0, 1))).all()
    assert not torch.equal(
        sorted_values(texture(sample, settings(match_histogram=False, steps=5))), sorted_values(sample)
    )


def test_a_tileable_picture_has_no_seam():
    tile, plain = (texture(blobs(80, 80), settings(tileable=t, scales=1)) for t in (True, False))
    assert max(seams(tile)) < 1.6
    assert min(seams(plain)) > 3


def test_a_tileable_picture_has_sides_that_are_multiples_of_the_stride():
    encoder = encoders.load("compact")
    assert output_size(torch.rand(61, 70, 3), settings(), encoder) == (61, 70)
    assert output_size(torch.rand(61, 70, 3), settings(tileable=True), encoder) == (60, 72)
    assert output_size(torch.rand(61, 70, 3), settings(tileable=True, width=96, height=32), encoder) == (32, 96)
    found = texture(blobs(61, 70), settings(tileable=True, steps=1, scales=3, width=148))
    assert found.shape == (60, 148, 3)
    for asked in ({"width": 90}, {"height": 49}):
        with pytest.raises(UserError, match="multiples of 4") as refusal:
            texture(blobs(), settings(tileable=True, **asked))
        words = str(refusal.value).split()
        named = {flag: int(words[words.index(f"--{flag}") + 1]) for flag in ("width", "height")}
        assert texture(blobs(), settings(tileable=True, steps=1, **named)).shape[:2] == (
            named["height"],
            named["width"],
        )


def test_the_seed_decides():
    first, same, other = (texture(blobs(), settings(steps=3, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert (first - other).abs().mean() > 0.1


def test_layer_weights_count(encoder):
    of_shallow, of_deep = (
        gram_errors(
            encoder, texture(photo(), settings(layer_weights=w, match_histogram=False, steps=60)), photo(), LAYERS
        )
        for w in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    )
    assert of_shallow[0] < of_deep[0] / 4
    assert of_deep[2] < of_shallow[2] / 4


def test_tiles_give_the_same_picture():
    whole, tiled = (texture(blobs(), settings(steps=4, scales=1, tile=tile, tileable=True)) for tile in (0, 32))
    torch.testing.assert_close(tiled, whole, atol=2e-3, rtol=0)


def test_a_small_sample_serves_a_large_picture():
    deep = (*LAYERS, "relu4_1")
    sizes = []
    found = texture(
        blobs(16, 20), settings(layers=deep, width=256, height=200, scales=8, steps=1), lambda m: sizes.append(m.size)
    )
    assert found.shape == (200, 256, 3)
    assert all(16 * height / 200 >= 7.5 for height, _ in sizes)  # the sample still reaches relu4_1
    assert len(sizes) == 3  # 200, 141, 100


def test_what_makes_no_sense_is_refused():
    for given, message in (
        ({"layers": ("relu9_1",)}, "no layer relu9_1; compact has relu1_1, "),
        ({"layers": ()}, "no layer given"),
        ({"layers": ("relu1_1", "relu1_1")}, "relu1_1 is given twice"),
        ({"layer_weights": (1.0,)}, "layer_weights is 1; it needs 3"),
        ({"steps": 0}, "steps is 0"),
        ({"width": 3}, "width is 3"),
        ({"scales": 0}, "scales is 0"),
    ):
        with pytest.raises(UserError, match=message):
            texture(blobs(), settings(**given))
    with pytest.raises(UserError, match=r"5×3 pixels are too few for relu3_1, which needs 4 a side"):
        texture(blobs()[:3, :5], settings(width=64, height=64))

"""Distances to a style and to a photograph: 0 of the thing itself, and in the order in which things differ."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from arf import bundled
from arf.media import image
from arf.metrics import (
    NNFM,
    Color,
    Gram,
    Structure,
    color_distance,
    gram_distance,
    nnfm_distance,
    structure_distance,
)  # fmt: skip
from arf.style import encoder as encoders
from arf.style.color import Moments, matching
from arf.style.losses import gram


@pytest.fixture(scope="module")
def encoder() -> encoders.Encoder:
    return encoders.load("compact")


@pytest.fixture(scope="module")
def styles() -> list[Tensor]:
    return [image.resize(image.read_style(bundled.style(name)), 96, 96) for name in ("strokes", "mosaic")]


def test_a_picture_is_at_no_distance_from_itself(encoder, styles):
    style = styles[0]
    assert nnfm_distance(style, style, encoder) == pytest.approx(0, abs=1e-5)
    assert gram_distance(style, style, encoder) == 0
    assert color_distance(style, style) == 0
    assert structure_distance(style, style, encoder) == 0


def test_distances_are_of_the_mean_of_what_there_is(encoder, styles):
    """Half of a style has the style's features, about, and another style has not."""
    style, other = styles
    half = style[:, :48]
    assert nnfm_distance(half, style, encoder) < 0.3 * nnfm_distance(other, style, encoder)
    assert gram_distance(half, style, encoder) < 0.5 * gram_distance(other, style, encoder)
    assert color_distance(half, style) < 0.7 * color_distance(other, style)


def test_gram_distance_is_relative_to_the_styles_own(encoder, styles):
    first, second = (encoder(s.permute(2, 0, 1)[None], ["relu2_1"])["relu2_1"] for s in styles)
    a, b = (gram(f, "positions").double() for f in (first, second))
    wanted = float((a - b).norm() ** 2 / b.norm() ** 2)
    assert gram_distance(*styles, encoder, ["relu2_1"]) == pytest.approx(wanted, rel=1e-4)


def test_colours_that_are_shifted_are_at_half_of_the_shift():
    colors = 0.2 + 0.6 * torch.rand(40, 30, 3, generator=torch.Generator().manual_seed(0))
    for shift in ([0.2, 0.0, 0.0], [0.1, -0.1, 0.1]):
        size = math.hypot(*shift)
        assert color_distance(colors, colors + torch.tensor(shift)) == pytest.approx(size / 2, rel=0.02)


def test_colours_are_as_far_apart_as_sorting_says():
    a, b = (torch.rand(50, 40, 3, generator=torch.Generator().manual_seed(s)) ** (1 + s) for s in (0, 1))
    direction = torch.randn(3, 4000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    direction = (direction / direction.norm(dim=0)).float()
    first, second = ((p.view(-1, 3) @ direction).sort(0).values for p in (a, b))
    assert color_distance(a, b) == pytest.approx(float((first - second).abs().mean()), rel=0.02)


def test_colours_do_not_depend_on_where_they_are_or_how_many():
    colors = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
    shuffled = colors.flatten(0, 1)[torch.randperm(64 * 64, generator=torch.Generator().manual_seed(1))]
    assert color_distance(colors, shuffled) < 1e-6
    assert color_distance(colors, colors.repeat(2, 1, 1)) < 1e-6


def test_structure_survives_a_recolouring_and_not_a_mirror(encoder, styles):
    photograph = image.resize(image.read(sorted(bundled.capture().glob("images/*.png"))[0])[..., :3], 128, 128)
    recolored = matching(Moments.of([photograph]), Moments.of([styles[0]])).apply(photograph).clamp(0, 1)
    kept = structure_distance(recolored, photograph, encoder)
    assert 0 < kept < 0.6 * structure_distance(photograph.flip(1), photograph, encoder)
    assert kept < 0.6 * structure_distance(image.resize(styles[0], 128, 128), photograph, encoder)


def test_what_cannot_be_compared_is_refused(encoder):
    with pytest.raises(ValueError, match="one size"):
        structure_distance(torch.zeros(64, 64, 3), torch.zeros(64, 65, 3), encoder)
    with pytest.raises(ValueError, match="of one block"):
        nnfm_distance(torch.zeros(64, 64, 3), torch.zeros(64, 64, 3), encoder, ["relu2_1", "relu3_1"])


def test_of_a_mask_only_what_it_shows_counts(encoder, styles):
    """Half of a picture is the style and half is empty: the mask brings the distances near to 0."""
    style, other = styles
    picture, mask = style.clone(), torch.ones(96, 96, dtype=torch.bool)
    picture[:, 48:], mask[:, 48:] = 1.0, False
    for distance, share in ((nnfm_distance, 0.2), (gram_distance, 0.5)):
        assert distance(picture, style, encoder, mask=mask) < share * distance(picture, style, encoder)
    inner = mask.clone()
    inner[:, 36:] = False  # what the encoder sees of the empty half is far from here
    inner_of = structure_distance(picture, style, encoder, mask=inner)
    assert inner_of < 0.2 * structure_distance(picture, style, encoder)
    everything = torch.ones(96, 96, dtype=torch.bool)
    for distance in (nnfm_distance, gram_distance):
        whole = distance(other, style, encoder)
        assert distance(other, style, encoder, mask=everything) == pytest.approx(whole, rel=1e-5)
    assert structure_distance(other, style, encoder, mask=everything) == structure_distance(other, style, encoder)


def test_of_an_empty_mask_there_is_no_distance(encoder, styles):
    nothing = torch.zeros(96, 96, dtype=torch.bool)
    metrics = NNFM(styles[0], encoder), Gram(styles[0], encoder), Color(styles[0])
    for metric in metrics:
        assert math.isnan(metric(styles[1], nothing))
        assert metric.count == 0
    single = nothing.clone()
    single[:8, :8] = True  # one position of relu4_1, which has no structure
    for mask in (nothing, single):
        assert math.isnan(Structure(encoder)(*styles, mask))

"""Style transfer by optimisation with the compact encoder: losses, mixes, masks, colours."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from samples import blobs, gram_errors, photo, planes
from torch.nn import functional

from arf.errors import UserError
from arf.style import encoder as encoders
from arf.transfer.engine.optimize import Moment
from arf.transfer.engine.terms import gram_targets
from arf.transfer.gatys import gatys
from arf.transfer.settings import GatysSettings

LAYERS = ("relu1_1", "relu2_1", "relu3_1")
STRIPES = torch.tensor([[0.9, 0.2, 0.1], [0.2, 0.8, 0.3]])[torch.arange(64) // 4 % 2].expand(64, 64, 3).contiguous()


def settings(**given) -> GatysSettings:
    few = {
        "encoder": "compact",
        "device": "cpu",
        "layers": LAYERS,
        "content_layers": ("relu3_1",),
        "steps": 20,
        "scales": 1,
    }
    weights = {"style_strength": 30.0, "content_weight": 1.0, "tv_weight": 1.0, "style_scale": 1.0}
    return GatysSettings(**{**few, **weights, **given})


def traced(*arguments, **options) -> tuple[torch.Tensor, list[Moment]]:
    moments: list[Moment] = []
    return gatys(*arguments, **options, watch=moments.append), moments


@pytest.fixture(scope="module")
def encoder():
    return encoders.load("compact")


@pytest.fixture(scope="module")
def red() -> torch.Tensor:
    """Spots of red and dark red."""
    return blobs() * torch.tensor([0.4, 0.5, 0.3]) + torch.tensor([0.6, 0.0, 0.0])


def content_distance(encoder, picture: torch.Tensor) -> float:
    ours, wanted = (encoder(planes(p), ["relu3_1"])["relu3_1"] for p in (picture, photo()))
    return float(functional.mse_loss(ours, wanted))


def test_the_style_comes_and_the_content_stays(encoder):
    found, moments = traced(photo(), [blobs()], settings=settings(content_weight=30.0))
    assert found.shape == photo().shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert moments[-1].parts["style"] < moments[0].parts["style"] / 10
    before, after = (gram_errors(encoder, p, blobs(), LAYERS) for p in (photo(), found))
    assert all(a < b / 2 for a, b in zip(after, before, strict=True))
    assert content_distance(encoder, found) < content_distance(encoder, blobs()) / 2


def test_the_losses_are_the_papers(encoder):
    """At the first step, whose picture is the photograph itself, and there with noise."""
    asked = settings(steps=1, style_strength=7.0, content_weight=3.0, tv_weight=2.0, layer_weights=(1.0, 2.0, 5.0))
    for start in ("content", "noise"):
        found, (moment,) = traced(photo(), [blobs()], settings=replace(asked, start=start))
        found, style = planes(found), planes(blobs(60, 75))
        if start == "content":
            assert torch.equal(found, planes(photo()))
        else:
            assert (found - planes(photo())).abs().mean() > 0.1
        _, moments = traced(photo(), [blobs(60, 75)], settings=replace(asked, start=start, style_scale=75 / 80))
        ours, wanted, content = (encoder(p, LAYERS) for p in (found, style, planes(photo())))
        expected = 0.0
        for layer, weight in zip(LAYERS, (1, 2, 5), strict=True):
            grams = [torch.einsum("bchw,bdhw->cd", f[layer], f[layer]) / f[layer][0, 0].numel() for f in (ours, wanted)]
            expected += 7.0 * weight / 8 * float((grams[0] - grams[1]).square().mean())
        assert moments[0].parts["style"] == pytest.approx(expected, rel=1e-3)
        content_loss = 3.0 * float((ours["relu3_1"] - content["relu3_1"]).square().mean())
        assert moments[0].parts["content"] == pytest.approx(content_loss, rel=1e-3, abs=1e-6)
        variation = 2.0 * float((found.diff(dim=2).square().sum() + found.diff(dim=3).square().sum()) / found.numel())
        assert moments[0].parts["tv"] == pytest.approx(variation, rel=1e-3)
        assert set(moment.parts) == {"style", "content", "tv"}


def test_more_content_weight_keeps_more_of_the_photograph(encoder):
    distances = []
    for weight in (0.0, 30.0, 1000.0):
        found, moments = traced(photo(), [blobs()], settings=settings(content_weight=weight))
        distances.append(content_distance(encoder, found))
        assert ("content" in moments[0].parts) == (weight > 0)
    assert distances[2] < distances[1] / 2
    assert distances[1] < distances[0] / 2


def test_more_total_variation_is_smoother():
    rough, smooth = (gatys(photo(), [blobs()], settings=settings(tv_weight=weight)) for weight in (0.0, 3000.0))
    assert smooth.diff(dim=1).abs().mean() < 0.75 * rough.diff(dim=1).abs().mean()


def test_several_styles_are_mixed_in_their_gram_matrices(encoder):
    """The first loss, at the photograph, against the weighted mean by hand; both styles at the photograph's size."""
    styles, weights = [blobs(), photo(number=1)], (3.0, 1.0)
    _, (moment,) = traced(photo(), styles, weights, settings=settings(steps=1, style_strength=1.0))
    own, first, second = (gram_targets(encoder, planes(p), LAYERS) for p in (photo(), *styles))
    wanted = [float((own[t] - 0.75 * first[t] - 0.25 * second[t]).square().mean()) for t in LAYERS]
    assert moment.parts["style"] == pytest.approx(sum(wanted) / 3, rel=1e-4)
    _, (equal,) = traced(photo(), styles, settings=settings(steps=1, style_strength=1.0))
    wanted = [float((own[t] - 0.5 * first[t] - 0.5 * second[t]).square().mean()) for t in LAYERS]
    assert equal.parts["style"] == pytest.approx(sum(wanted) / 3, rel=1e-4)


def test_weights_are_proportions_and_a_weight_of_0_leaves_a_style_out():
    alone = gatys(photo(), [blobs()], settings=settings(steps=5))
    assert torch.equal(gatys(photo(), [blobs()], (7.0,), settings=settings(steps=5)), alone)
    assert torch.equal(gatys(photo(), [blobs(), STRIPES], (2.0, 0.0), settings=settings(steps=5)), alone)
    assert not torch.equal(gatys(photo(), [blobs(), STRIPES], (2.0, 1.0), settings=settings(steps=5)), alone)


def halves() -> tuple[torch.Tensor, torch.Tensor]:
    left = torch.zeros(64, 128)
    left[:, :64] = 1
    return left, 1 - left


def test_each_region_takes_its_own_style(encoder):
    content, styles = photo(64, 128), [blobs(64, 64), STRIPES]
    asked = settings(steps=60, content_weight=0.0, style_scale=0.5)  # styles at their own 64 pixels
    found, moments = traced(content, styles, masks=halves(), settings=asked)
    assert set(moments[0].parts) == {"style 1", "style 2", "tv"}
    for half, own, other in ((found[:, :56], *styles), (found[:, 72:], *reversed(styles))):
        near, far = (gram_errors(encoder, half, style, LAYERS) for style in (own, other))
        assert all(n < f / 2 for n, f in zip(near, far, strict=True))


def test_masks_of_the_whole_picture_and_of_nothing_else():
    """One white mask is no mask; a mask says nothing about what lies outside of it."""
    whole = gatys(photo(), [blobs()], masks=[torch.ones(64, 80)], settings=settings(steps=5))
    torch.testing.assert_close(whole, gatys(photo(), [blobs()], settings=settings(steps=5)), atol=1e-3, rtol=0)
    content = photo(64, 128)
    asked = settings(content_weight=0.0, tv_weight=0.0, steps=5)
    found = gatys(content, [blobs()], masks=halves()[:1], settings=asked)
    assert torch.equal(found[:, 80:], content[:, 80:])  # 64 and what relu3_1 reaches
    assert (found[:, :64] - content[:, :64]).abs().mean() > 0.01


def test_the_weight_of_a_masked_style_is_its_strength():
    asked = settings(steps=1)
    found = [traced(photo(64, 128), [blobs(), STRIPES], w, halves(), asked)[1][0].parts for w in ((1, 1), (3, 1))]
    assert found[1]["style 1"] == pytest.approx(1.5 * found[0]["style 1"])
    assert found[1]["style 2"] == pytest.approx(0.5 * found[0]["style 2"])


def test_luminance_alone_changes():
    content = 0.35 + 0.3 * photo()  # far from 0 and 1, so that nothing is clamped
    found = gatys(content, [STRIPES], settings=settings(preserve_color="luminance", style_strength=1.0))
    inside = ((found > 0) & (found < 1)).all(2)
    assert inside.float().mean() > 0.9
    change = (found - content)[inside]  # the same in R, G and B: neither I nor Q
    torch.testing.assert_close(change, change.mean(1, keepdim=True).expand_as(change), atol=1e-5, rtol=0)
    assert change.abs().mean() > 0.01


def test_affine_gives_the_contents_mean_colour(red):
    means = [
        gatys(photo(), [red], settings=settings(content_weight=0.0, preserve_color=how)).mean((0, 1))
        for how in ("none", "affine")
    ]
    wanted = photo().mean((0, 1))
    assert (means[0] - wanted).abs().max() > 0.2
    assert (means[1] - wanted).abs().max() < 0.03


def test_noise_is_a_start_of_its_own_for_every_seed():
    first, same, other = (
        gatys(photo(), [blobs()], settings=settings(steps=2, start="noise", seed=seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert (first - other).abs().mean() > 0.1
    kept = [gatys(photo(), [blobs()], settings=settings(steps=2, seed=seed)) for seed in (1, 2)]
    assert torch.equal(*kept)


def test_adam_works_too(encoder):
    found = gatys(photo(), [blobs()], settings=settings(optimizer="adam", averaging=0.9, steps=30))
    before, after = (gram_errors(encoder, p, blobs(), LAYERS) for p in (photo(), found))
    assert all(a < b / 2 for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("masks", [(), halves()], ids=["whole", "masks"])
def test_tiles_give_the_same_picture(masks):
    content, styles = photo(64, 128), [blobs(), STRIPES]
    whole, tiled = (gatys(content, styles, (), masks, settings(steps=5, tile=tile)) for tile in (0, 48))
    torch.testing.assert_close(tiled, whole, atol=2e-3, rtol=0)
    assert (whole - content).abs().mean() > 0.01


def test_style_scale_is_the_size_at_which_the_style_is_seen(encoder):
    """A style seen at twice the photograph's size has the Gram matrices of its enlargement."""
    large = blobs(128, 160)
    _, (moment,) = traced(photo(), [large], settings=settings(steps=1, style_scale=2.0, style_strength=1.0))
    _, (other,) = traced(photo(), [large], settings=settings(steps=1, style_scale=1.0, style_strength=1.0))
    own, seen = (gram_targets(encoder, planes(p), LAYERS) for p in (photo(), large))
    wanted = sum(float((own[t] - seen[t]).square().mean()) for t in LAYERS) / 3
    assert moment.parts["style"] == pytest.approx(wanted, rel=1e-4)
    assert other.parts["style"] != pytest.approx(wanted, rel=1e-2)


def test_a_style_never_becomes_too_small_for_its_layers():
    deep = settings(layers=("relu5_1",), style_scale=0.001, steps=1)
    assert gatys(photo(), [blobs(16, 70)], settings=deep).shape == photo().shape


def test_coarse_to_fine():
    found, moments = traced(photo(96, 128), [blobs()], settings=settings(scales=5, steps=3))
    assert [(m.size, m.step) for m in moments] == [
        (size, step) for size in ((68, 91), (96, 128)) for step in (1, 2, 3)
    ]  # and no coarser, for a side would be below 64
    assert found.shape == (96, 128, 3)
    assert all(m.picture().shape == (96, 128, 3) for m in moments)
    assert moments[0].best.shape[2:] == (68, 91)


def test_what_makes_no_sense_is_refused():
    white = torch.ones(64, 80)
    for styles, weights, masks, given, message in (
        ([], (), (), {}, "no style picture: give at least one with --style"),
        ([blobs()], (1.0, 2.0), (), {}, "style_weight is 1 2; it needs 1 values"),
        ([blobs(), STRIPES], (1.0,), (), {}, "style_weight is 1; it needs 2 values"),
        ([blobs()], (0.0,), (), {}, "style_weight is 0"),
        ([blobs()], (-1.0,), (), {}, "style_weight is -1"),
        ([blobs()], (float("nan"),), (), {}, "style_weight is nan"),
        ([blobs(), STRIPES], (), [white], {}, "1 masks for 2 styles"),
        ([blobs()], (), [0.4 * white], {}, "mask 1 is empty"),
        ([blobs(), STRIPES], (), [white, 0 * white], {}, "mask 2 is empty"),
        ([blobs()], (), (), {"layers": ("relu9_1",)}, "no layer relu9_1; compact has relu1_1, "),
        ([blobs()], (), (), {"content_layers": ("conv4_2",)}, "no layer conv4_2; compact has relu1_1, "),
        ([blobs()], (), (), {"layers": ()}, "no layer given"),
        ([blobs()], (), (), {"content_layers": ()}, "no layer given"),
        ([blobs()], (), (), {"layers": ("relu1_1", "relu1_1")}, "relu1_1 is given twice"),
        ([blobs()], (), (), {"layer_weights": (1.0,)}, "layer_weights is 1; it needs 3"),
        ([blobs()], (), (), {"scales": 0}, "scales is 0"),
        ([blobs()], (), (), {"style_scale": 0.0}, "style_scale is 0"),
        ([blobs()], (), (), {"style_strength": float("inf")}, "style_strength is inf"),
    ):
        with pytest.raises(UserError, match=message):
            gatys(photo(), styles, weights, masks, settings(**given))
    with pytest.raises(ValueError, match=r"content's size \[64, 80\], got \[32, 80\]"):
        gatys(photo(), [blobs()], (), [torch.ones(32, 80)], settings())
    with pytest.raises(UserError, match="pixels are too few"):
        gatys(photo()[:3], [blobs()], settings=settings())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start": "nois"}, "GatysSettings: start: invalid enum value 'nois'; it is one of content, noise"),
        ({"preserve_color": True}, "preserve_color: expected str, got bool; it is one of none, luminance, affine"),
        ({"optimizer": "sgd"}, "optimizer: invalid enum value 'sgd'"),
        ({"steps": "3"}, "steps: expected int, got str"),
        ({"layers": "relu1_1"}, "layers: expected array, got str"),
    ],
)
def test_settings_of_other_kinds_are_refused(given, message):
    """J20."""
    with pytest.raises(UserError, match=message):
        gatys(photo(), [blobs()], settings=GatysSettings(**given))


def test_pictures_of_other_kinds_are_refused():
    for content, styles in (((photo() * 255).byte(), [blobs()]), (photo(), [blobs(), photo() * 255])):
        with pytest.raises(ValueError, match=r"the (content|style) is .*in \[0, 1\]"):
            gatys(content, styles)

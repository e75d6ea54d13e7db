"""Inversion: how near it comes, on the compact encoder and on VGG-19."""

from __future__ import annotations

import pytest
import torch
from samples import photo, planes, psnr

from arf import bundled
from arf.errors import UserError
from arf.media import image
from arf.style import encoder as encoders
from arf.transfer.invert import invert
from arf.transfer.settings import InvertSettings


def settings(**given) -> InvertSettings:
    return InvertSettings(**{"encoder": "compact", "device": "cpu", "steps": 30, "beta": 2.0, **given})


def roughness(picture: torch.Tensor) -> float:
    return float(picture.diff(dim=0).abs().mean() + picture.diff(dim=1).abs().mean())


@pytest.mark.parametrize(
    ("layer", "steps", "least"),
    [("relu1_1", 40, 30), ("relu2_1", 60, 26), ("relu3_1", 150, 20), ("pool1", 60, 26), ("pool2", 150, 20)],
)
def test_shallow_layers_still_know_the_picture(layer, steps, least):
    frame = image.fit_long_side(image.read(bundled.capture() / "images" / "frame_0000.png"), 96)
    found = invert(frame, layer, settings(steps=steps))
    assert found.shape == frame.shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert psnr(found, frame) >= least


def test_deeper_layers_know_less():
    near, far = (psnr(invert(photo(), layer, settings(steps=60)), photo()) for layer in ("relu2_1", "relu5_1"))
    assert far < near - 8


def test_the_loss_is_the_papers():
    """At the first step, whose point is known: noise of deviation 0.1 around grey."""
    seen = []
    asked = settings(steps=1, tv_weight=0.7, alpha_weight=0.3, alpha=4.0, beta=1.5)
    start = invert(photo(), "relu2_1", asked, lambda m: seen.append(m.parts))
    noise = torch.randn(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    x = (0.5 + 0.1 * noise).clamp(0, 1)
    torch.testing.assert_close(planes(start), x)
    encoder = encoders.load("compact")
    ours, wanted = (encoder(p, ["relu2_1"])["relu2_1"] for p in (x, planes(photo())))
    dx, dy = torch.zeros_like(x), torch.zeros_like(x)
    dx[..., :-1], dy[..., :-1, :] = x.diff(dim=3), x.diff(dim=2)
    assert seen[0] == {
        "features": pytest.approx(float((ours - wanted).square().sum() / wanted.square().sum()), rel=1e-4),
        "tv": pytest.approx(0.7 * float((dx**2 + dy**2).pow(0.75).mean()), rel=1e-2),
        "range": pytest.approx(0.3 * float((2 * x - 1).pow(4).mean()), rel=1e-4),
    }


def test_more_total_variation_is_smoother():
    rough, smooth = (invert(photo(), "relu3_1", settings(tv_weight=weight)) for weight in (0.0, 100.0))
    assert roughness(smooth) < roughness(rough) / 2


def test_a_stronger_range_term_draws_values_to_the_middle():
    free, drawn = (invert(photo(), "relu3_1", settings(alpha_weight=weight)) for weight in (0.0, 10.0))
    assert (drawn - 0.5).abs().quantile(0.99) < (free - 0.5).abs().quantile(0.99) - 0.1


def test_adam_seeds_and_tiles():
    assert psnr(invert(photo(), "relu1_1", settings(optimizer="adam", steps=60, averaging=0.8)), photo()) > 25
    first, same, other = (invert(photo(), "relu3_1", settings(steps=3, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    whole, tiled = (invert(photo(), "relu3_1", settings(steps=5, tile=tile)) for tile in (0, 32))
    torch.testing.assert_close(tiled, whole, atol=2e-3, rtol=0)


def test_what_makes_no_sense_is_refused():
    for layer, given, message in (
        ("relu9_1", {}, "no layer relu9_1; compact has relu1_1, .*pool4"),
        ("relu3_1", {"steps": 0}, "steps is 0"),
        ("relu3_1", {"tv_weight": -1.0}, "tv_weight is -1"),
        ("relu3_1", {"beta": float("nan")}, "beta is nan"),
        ("relu3_1", {"device": "tpu"}, "device is 'tpu'"),
    ):
        with pytest.raises(UserError, match=message):
            invert(photo(), layer, settings(**given))
    with pytest.raises(UserError, match="20×12 pixels are too few for relu5_1, which needs 16 a side"):
        invert(photo()[:12, :20], "relu5_1", settings())


@pytest.mark.parametrize(("layer", "steps", "least"), [("relu1_1", 40, 30), ("relu3_1", 100, 20)])
def test_vgg19_still_knows_a_photograph(assets, vgg19, layer, steps, least):
    lion = image.fit_long_side(image.read(assets / "photos" / "lion.jpg"), 96)
    found = invert(lion, layer, settings(encoder="vgg19", steps=steps))
    assert psnr(found, lion) >= least

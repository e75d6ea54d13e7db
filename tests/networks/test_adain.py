from __future__ import annotations

import pytest
import torch
from encoders import tiny_encoder

from arf.networks.adain import AdainNetwork, Decoder, Style, adain, stylized
from arf.style import encoder as encoders
from arf.style.losses import moments


def features(seed: int, size: tuple[int, int] = (9, 7)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 5, *size, generator=generator) * (seed + 1) + seed


def network(tap: str = "relu3_1") -> AdainNetwork:
    torch.manual_seed(0)
    encoder = tiny_encoder(padding="reflect")
    return AdainNetwork(encoder, Decoder.mirroring(encoder, tap)).eval()


def test_the_result_has_the_styles_statistics():
    content, style = features(0), Style.of(features(3, (4, 6)))
    mean, deviation = moments(adain(content, style))
    torch.testing.assert_close(mean, style.mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(deviation, style.deviation, atol=1e-3, rtol=1e-3)


def test_adain_by_hand():
    content = torch.tensor([[[[0.0, 2.0]]]])  # mean 1, deviation 1
    style = Style(torch.tensor([[10.0]]), torch.tensor([[3.0]]))
    torch.testing.assert_close(adain(content, style), torch.tensor([[[[7.0, 13.0]]]]), atol=1e-3, rtol=0)


def test_alpha_goes_from_the_content_to_the_style():
    content, style = features(0), Style.of(features(2))
    torch.testing.assert_close(stylized(content, [style], alpha=0.0), content)
    torch.testing.assert_close(stylized(content, [style]), adain(content, style))
    half = (content + adain(content, style)) / 2
    torch.testing.assert_close(stylized(content, [style], alpha=0.5), half)


def test_weights_mix_styles():
    content, one, two = features(0), Style.of(features(1)), Style.of(features(2))
    expected = 0.75 * adain(content, one) + 0.25 * adain(content, two)
    torch.testing.assert_close(stylized(content, [one, two], [3.0, 1.0]), expected)
    even = (adain(content, one) + adain(content, two)) / 2
    torch.testing.assert_close(stylized(content, [one, two]), even)


def test_masks_give_each_region_the_statistics_of_its_style():
    content, one, two = features(0), Style.of(features(1)), Style.of(features(2))
    left = torch.zeros(9, 7)
    left[:, :3] = 1
    result = stylized(content, [one, two], masks=[left, 1 - left])
    torch.testing.assert_close(result[..., :3], adain(content[..., :3], one), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(result[..., 3:], adain(content[..., 3:], two), atol=1e-4, rtol=1e-4)


def test_with_masks_only_the_ratio_of_weights_counts():
    content, one, two = features(0), Style.of(features(1)), Style.of(features(2))
    left = torch.zeros(9, 7)
    left[:, :4] = 1
    both = stylized(content, [one, two], [0.3, 0.6], [left, torch.ones(9, 7)])
    torch.testing.assert_close(stylized(content, [one, two], [1, 2], [left, torch.ones(9, 7)]), both)
    torch.testing.assert_close(both[..., 4:], adain(content, two)[..., 4:], atol=1e-4, rtol=1e-4)
    alone = stylized(content, [one, two], [0, 1], [left, 1 - left])
    assert torch.equal(alone[..., :4], content[..., :4])


def test_without_a_mask_the_content_stays():
    content, style = features(0), Style.of(features(1))
    mask = torch.zeros(9, 7)
    mask[4:] = 1
    result = stylized(content, [style], masks=[mask])
    assert torch.equal(result[..., :4, :], content[..., :4, :])
    assert not torch.allclose(result[..., 4:, :], content[..., 4:, :])


def test_the_decoder_mirrors_the_encoder():
    decoder = Decoder.mirroring(encoders.load("compact"))
    shapes = [tuple(layer.conv.weight.shape[:2]) for layer in reversed(decoder.convolutions.values())]
    assert shapes == [
        (96, 112), (96, 96), (96, 96), (96, 96), (48, 96), (48, 48), (16, 48), (16, 16), (3, 16),
    ]  # fmt: skip
    assert decoder(torch.rand(1, 112, 3, 4)).shape == (1, 3, 24, 32)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (1, 40)])
def test_pictures_of_any_size_keep_it(size):
    net = network()
    pictures = torch.rand(2, 3, *size)
    style = net.style(torch.rand(1, 3, 20, 24))
    painted = net(pictures, [style], masks=[torch.ones(size)])
    assert painted.shape == pictures.shape
    torch.testing.assert_close(painted, net(pictures, [style]), atol=1e-4, rtol=1e-4)  # a full mask is none
    torch.testing.assert_close(painted[:1], net(pictures[:1], [style]), atol=1e-5, rtol=1e-4)  # a batch is its pictures


def test_the_encoder_stays_frozen_and_gradients_reach_the_decoder():
    net = network()
    net(torch.rand(1, 3, 16, 16), [net.style(torch.rand(1, 3, 16, 16))]).sum().backward()
    assert all(p.grad is None for p in net.encoder.parameters())
    assert all(p.grad is not None for p in net.decoder.parameters())

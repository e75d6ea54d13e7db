from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from arf.networks.layers import BatchNorm, Convolution, InstanceNorm, at_any_size, double, grow


def test_a_convolution_reflects_the_borders():
    layer = Convolution(2, 3, 5)
    x = torch.rand(1, 2, 9, 8)
    padded = torch.cat([x[..., 2:3], x[..., 1:2], x, x[..., -2:-1], x[..., -3:-2]], 3)
    padded = torch.cat([padded[:, :, 2:3], padded[:, :, 1:2], padded, padded[:, :, -2:-1], padded[:, :, -3:-2]], 2)
    expected = functional.conv2d(padded, layer.conv.weight, layer.conv.bias)
    torch.testing.assert_close(layer(x), expected)
    assert Convolution(2, 3, 3, stride=2)(x).shape == (1, 3, 5, 4)


@pytest.mark.parametrize(("size", "stride", "pads"), [(3, 1, (1, 1)), (9, 1, (4, 4)), (3, 2, (0, 1))])
def test_zero_padding_is_tensorflows_same(size, stride, pads):
    layer = Convolution(1, 1, size, stride, padding="zeros")
    x = torch.rand(1, 1, 12, 16)
    expected = functional.conv2d(functional.pad(x, pads * 2), layer.conv.weight, layer.conv.bias, stride)
    torch.testing.assert_close(layer(x), expected)
    assert layer(x).shape[2:] == (12 // stride, 16 // stride)


def test_instance_norm_of_one_style_is_torchs():
    norm = InstanceNorm(4)
    norm.scale.data.copy_(torch.rand(1, 4) + 0.5)
    norm.shift.data.copy_(torch.randn(1, 4))
    x = torch.randn(2, 4, 6, 5) * 3 + 1
    expected = functional.instance_norm(x, weight=norm.scale[0], bias=norm.shift[0], eps=1e-5)
    torch.testing.assert_close(norm(x, torch.ones(2, 1)), expected, atol=1e-5, rtol=1e-5)


def test_each_picture_gets_the_rows_of_its_own_styles():
    norm = InstanceNorm(3, styles=2)
    norm.scale.data.copy_(torch.tensor([[1.0, 1, 1], [3.0, 3, 3]]))
    norm.shift.data.copy_(torch.tensor([[0.0, 0, 0], [4.0, 4, 4]]))
    x = torch.randn(1, 3, 8, 8).expand(3, -1, -1, -1)
    first, second, half = norm(x, torch.tensor([[1.0, 0], [0, 1.0], [0.5, 0.5]]))
    torch.testing.assert_close(second, 3 * first + 4)
    torch.testing.assert_close(half, 2 * first + 2)


def test_instance_norm_takes_half_precision_beyond_its_range():
    norm, x = InstanceNorm(2), 900 * torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    half = norm(x.half(), torch.ones(1, 1))  # the variance, 810000, is not one of its numbers
    assert half.dtype == torch.half
    torch.testing.assert_close(half.float(), norm(x, torch.ones(1, 1)), atol=5e-3, rtol=0)


def test_batch_norm_takes_the_statistics_of_the_batch_only_while_it_learns():
    norm, x = BatchNorm(2), torch.randn(3, 2, 4, 4) * 2 + 5
    learned = norm(x, torch.ones(3, 1))
    assert learned.mean().item() == pytest.approx(0, abs=1e-5)
    assert norm.eval()(x, torch.ones(3, 1)).mean().item() > 1  # the running mean has only begun to follow


def test_double_repeats_pixels():
    assert double(torch.tensor([[[[1.0, 2.0]]]])).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (23, 30), (1, 5)])
def test_any_size_comes_back_as_it_was(size):
    pictures = torch.rand(2, 3, *size)
    seen = []

    def network(x):
        seen.append(x.shape)
        return x

    assert torch.equal(at_any_size(network, pictures, 8), pictures)
    assert all(side % 8 == 0 for side in seen[0][2:])


def test_growing_reflects_where_it_can():
    row = torch.arange(5.0).expand(1, 3, 5, 5)
    assert grow(row, 4)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert grow(row[..., :2], 4)[0, 0, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, 1]
    assert grow(row, 2)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3]
    assert grow(row[..., :4, :4], 2).shape[2:] == (4, 4)
    assert grow(row[..., :1, :], 2).shape[2:] == (4, 6)  # two times the number, or more


def test_pictures_have_three_channels():
    with pytest.raises(ValueError, match=r"\[B, 3, H, W\], got \[3, 8, 8\]"):
        at_any_size(lambda x: x, torch.rand(3, 8, 8), 8)

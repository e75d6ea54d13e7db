"""What the encoder's positions see: pools, borders and reach."""

from __future__ import annotations

import pytest
import torch
from encoders import tiny_encoder
from torch.nn import functional

from arf.style import encoder, pretrained
from arf.style.encoder import Encoder, Padding, Pooling


def network(name: str, pooling: Pooling = "max", padding: Padding = "zeros") -> Encoder:
    """A random one, or the compact encoder, whose taps have readouts."""
    if name == "compact":
        return encoder.load("compact", pooling=pooling, padding=padding)
    return tiny_encoder(pooling, padding=padding)


def pictures(height: int, width: int, batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("name", ["tiny", "compact"])
def test_pool_taps_are_the_pooled_tap_below(name, pooling, scaled):
    vgg, x = network(name, pooling), pictures(35, 50)
    if name == "tiny":
        assert vgg.pools == {"pool1": "relu1_2", "pool2": "relu2_2"}  # none behind the last block
    pool = functional.max_pool2d if pooling == "max" else functional.avg_pool2d
    everything = vgg(x, [*vgg.pools, *vgg.taps], scaled=scaled)
    assert list(everything) == [*vgg.pools, *vgg.taps]
    for tap in vgg.taps:  # asking for pools changes nothing else
        assert torch.equal(everything[tap], vgg(x, [tap], scaled=scaled)[tap])
    for name_of_pool, below in vgg.pools.items():
        wanted = pool(vgg(x, [below], scaled=scaled)[below], 2)
        assert torch.equal(everything[name_of_pool], wanted)
        alone = vgg(x, [name_of_pool], scaled=scaled)
        assert list(alone) == [name_of_pool]
        assert torch.equal(alone[name_of_pool], wanted)
        assert vgg.width(name_of_pool) == wanted.shape[1]
        assert [side // vgg.stride(name_of_pool) for side in (35, 50)] == list(wanted.shape[2:])
        assert vgg.stride(name_of_pool) == 2 * vgg.stride(below)


def test_no_deeper_layer_runs_for_a_pool_and_gradients_go_through_it():
    vgg = tiny_encoder("average").double()
    ran = []
    for tap, convolution in vgg.convolutions.items():
        convolution.register_forward_hook(lambda *_, tap=tap: ran.append(tap))
    x = pictures(6, 5, 1).double().requires_grad_()
    vgg(x, ["pool1"])
    assert ran == ["relu1_1", "relu1_2"]
    assert torch.autograd.gradcheck(lambda x: tuple(vgg(x, ["pool1", "relu1_2", "relu2_1"]).values()), x)


def test_a_picture_too_small_for_a_pool_is_refused():
    vgg = tiny_encoder()
    assert vgg(pictures(4, 4), ["pool2"])["pool2"].shape == (2, 12, 1, 1)
    with pytest.raises(ValueError, match="pool2 need 4 pixels"):
        vgg(pictures(3, 8), ["pool2"])
    with pytest.raises(ValueError, match=r"no tap 'pool3'; it has relu1_1, .*pool1, pool2"):
        vgg(pictures(16, 16), ["pool3"])


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("name", ["tiny", "compact"])
def test_circular_padding_sees_the_picture_repeated(name, pooling):
    """The middle of a sheet of 3 × 3 copies, of which no position sees more."""
    taps = ["relu1_1", "relu2_1", "pool1", "relu3_1"]
    around = network(name, pooling, "circular")
    plain = network(name, pooling)
    x = pictures(32, 24)
    sheet = plain(x.repeat(1, 1, 3, 3), taps, scaled=False)  # scales were measured with the padding
    for tap, f in around(x, taps, scaled=False).items():
        height, width = f.shape[2:]
        assert relative(f, sheet[tap][:, :, height : 2 * height, width : 2 * width]) < 1e-5
        assert relative(plain(x, [tap], scaled=False)[tap], f) > 0.01


def test_reflecting_padding_mirrors_the_features_of_every_layer():
    vgg, x = tiny_encoder(padding="reflect"), pictures(16, 20)
    expected, block = x - vgg.mean, 1
    for tap, layer in vgg.convolutions.items():
        if pretrained.block_of(tap) != block:
            expected, block = functional.max_pool2d(expected, 2), pretrained.block_of(tap)
        padded = functional.pad(expected, (1, 1, 1, 1), "reflect")
        expected = functional.conv2d(padded, layer.weight, layer.bias).relu()
        torch.testing.assert_close(vgg(x, [tap])[tap], expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="relu3_1 need 8 pixels"):  # one position has nothing to mirror
        vgg(pictures(4, 20), ["relu3_1"])


@pytest.mark.parametrize("name", ["tiny", "compact"])
def test_with_circular_padding_rolling_the_picture_rolls_the_features(name):
    vgg = network(name, "max", "circular")
    assert vgg.padding == "circular"
    taps = [*vgg.taps, *vgg.pools]
    stride = max(vgg.stride(tap) for tap in taps)
    x = pictures(3 * stride, 2 * stride)
    f = vgg(x, taps)
    rolled = vgg(x.roll((stride, -stride), (2, 3)), taps)
    for tap in taps:
        shift = stride // vgg.stride(tap)
        assert relative(rolled[tap], f[tap].roll((shift, -shift), (2, 3))) < 1e-5


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_reach_is_exact(pooling):
    """Nothing outside of the reach changes a position; each of the four lines just inside does."""
    vgg = tiny_encoder(pooling).double()
    size, row, column = 64, 24, 32  # in pixels
    x, other = pictures(size, size, 8).double(), pictures(size, size, 8, seed=1).double()
    for tap in [*vgg.taps, *vgg.pools]:
        stride, reach = vgg.stride(tap), vgg.reach(tap)
        position = (..., row // stride, column // stride)
        top, left = row - reach, column - reach
        bottom, right = top + 2 * reach + stride, left + 2 * reach + stride  # one beyond
        assert min(top, left) > 0
        assert max(bottom, right) < size
        before = vgg(x, [tap])[tap][position]
        outside = other.clone()
        outside[:, :, top:bottom, left:right] = x[:, :, top:bottom, left:right]
        assert torch.allclose(vgg(outside, [tap])[tap][position], before, rtol=1e-12)
        for rows, columns in (
            (slice(top, top + 1), slice(left, right)),
            (slice(bottom - 1, bottom), slice(left, right)),
            (slice(top, bottom), slice(left, left + 1)),
            (slice(top, bottom), slice(right - 1, right)),
        ):
            inside = x.clone()
            inside[:, :, rows, columns] = other[:, :, rows, columns]
            assert not torch.allclose(vgg(inside, [tap])[tap][position], before, rtol=1e-6)


def test_reach_agrees_with_vgg16s_receptive_fields():
    """The sizes of VGG-16's receptive fields are well known; they are stride + 2 · reach."""
    weights, inputs = {}, 3
    for tap, _, _ in pretrained._positions("vgg16"):
        weights[tap] = torch.zeros(1, inputs, 3, 3), torch.zeros(1)
        inputs = 1
    vgg = Encoder(pretrained.Stack("vgg16", weights, (0.5, 0.5, 0.5), "torchvision", "zeros"))
    fields = [3, 5, 10, 14, 24, 32, 40, 60, 76, 92, 132, 164, 196]
    assert [vgg.stride(tap) + 2 * vgg.reach(tap) for tap in vgg.taps] == fields
    assert [vgg.stride(pool) + 2 * vgg.reach(pool) for pool in vgg.pools] == [6, 16, 44, 100]
    with pytest.raises(ValueError, match="no tap"):
        vgg.reach("relu6_1")

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from arf.errors import UserError
from arf.networks import modelfile, published
from arf.networks.adain import Style
from arf.style.losses import moments

VGG = (64, 64, "p", 128, 128, "p", 256, 256, 256, 256, "p", 512, 512)


def reflected(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
    return [nn.ReflectionPad2d(size // 2), nn.Conv2d(inputs, outputs, size, stride)]


class Example(nn.Module):
    """PyTorch's example network, written from its description: colours 0 to 255, every layer with a bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        layers = {"conv1": (3, w, 9), "conv2": (w, 2 * w, 3), "conv3": (2 * w, 4 * w, 3)}
        layers |= {f"res{i}.conv{j}": (4 * w, 4 * w, 3) for i in range(1, 6) for j in (1, 2)}
        layers |= {"deconv1": (4 * w, 2 * w, 3), "deconv2": (2 * w, w, 3), "deconv3": (w, 3, 9)}
        self.state = {}
        for name, (inputs, outputs, size) in layers.items():
            convolution = nn.Conv2d(inputs, outputs, size)
            self.state |= {f"{name}.conv2d.{k}": v.detach() for k, v in convolution.state_dict().items()}
        for name, channels in self.norms(w).items():
            self.state |= {f"{name}.weight": torch.rand(channels) + 0.5, f"{name}.bias": torch.randn(channels)}

    @staticmethod
    def norms(w: int) -> dict[str, int]:
        found = {"in1": w, "in2": 2 * w, "in3": 4 * w, "in4": 2 * w, "in5": w}
        return found | {f"res{i}.in{j}": 4 * w for i in range(1, 6) for j in (1, 2)}

    def conv(self, x, name, stride=1, up=False):
        weight, bias = self.state[f"{name}.conv2d.weight"], self.state[f"{name}.conv2d.bias"]
        x = functional.interpolate(x, scale_factor=2, mode="nearest") if up else x
        return functional.conv2d(functional.pad(x, [weight.shape[2] // 2] * 4, "reflect"), weight, bias, stride)

    def norm(self, x, name):
        return functional.instance_norm(x, weight=self.state[f"{name}.weight"], bias=self.state[f"{name}.bias"])

    def forward(self, x):
        for i, stride in ((1, 1), (2, 2), (3, 2)):
            x = self.norm(self.conv(x, f"conv{i}", stride), f"in{i}").relu()
        for i in range(1, 6):
            y = self.norm(self.conv(x, f"res{i}.conv1"), f"res{i}.in1").relu()
            x = x + self.norm(self.conv(y, f"res{i}.conv2"), f"res{i}.in2")
        x = self.norm(self.conv(x, "deconv1", up=True), "in4").relu()
        x = self.norm(self.conv(x, "deconv2", up=True), "in5").relu()
        return self.conv(x, "deconv3")


def test_pytorchs_example_paints_the_same(tmp_path):
    torch.manual_seed(0)
    example = Example(4)
    old = {"in1.running_mean": torch.zeros(4), "in1.running_var": torch.ones(4)}  # of files from older versions
    torch.save({**example.state, **old}, tmp_path / "candy.pth")
    network = modelfile.open_fast(tmp_path / "candy.pth")
    assert network.names == ["candy"]
    parallel = {f"module.{name}": tensor for name, tensor in example.state.items()}
    torch.save({"epoch": 2, "state_dict": parallel}, tmp_path / "checkpoint.pth")
    again = modelfile.open_fast(tmp_path / "checkpoint.pth")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), network.parameters(), strict=True))
    x = torch.rand(1, 3, 24, 32)
    torch.testing.assert_close(network(x) * 255, example(x * 255), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", ["scream", "wave"])
def test_the_networks_ported_from_tensorflow_paint_the_same(assets, name):
    path = assets / "models" / f"fast_style_{name}_fp16.pth"
    state = {k: v.float() for k, v in torch.load(path, weights_only=True).items()}

    def same(x, weight, stride):  # zeros, the larger half last
        total = [
            max(0, (-(-s // stride) - 1) * stride + k - s) for s, k in zip(x.shape[2:], weight.shape[2:], strict=True)
        ]
        (top, left) = (t // 2 for t in total)
        x = functional.pad(x, (left, total[1] - left, top, total[0] - top))
        return functional.conv2d(x, weight, stride=stride)

    def norm(x, key):
        return functional.instance_norm(x, weight=state[f"{key}.scale"], bias=state[f"{key}.shift"], eps=1e-3)

    def layer(x, key, stride=1):
        return norm(same(x, state[f"{key}.weight"], stride), key)

    x = torch.rand(1, 3, 32, 48)
    y = layer(layer(layer(x * 255, "conv1").relu(), "conv2", 2).relu(), "conv3", 2).relu()
    for i in range(1, 6):
        y = y + layer(layer(y, f"res{i}.conv1").relu(), f"res{i}.conv2")
    for key in ("up1", "up2"):
        y = norm(functional.conv_transpose2d(y, state[f"{key}.weight"], stride=2)[..., :-1, :-1], key).relu()
    expected = 150 * torch.tanh(layer(y, "out")) + 127.5
    torch.testing.assert_close(modelfile.open_fast(path)(x) * 255, expected, atol=0.05, rtol=1e-3)


def test_the_published_adain_paints_the_same(tmp_path):
    torch.manual_seed(0)
    vgg, decoder, inputs = [nn.Conv2d(3, 3, 1)], [], 3
    for width in VGG:
        vgg += [nn.MaxPool2d(2, ceil_mode=True)] if width == "p" else [*reflected(inputs, width), nn.ReLU()]
        inputs = inputs if width == "p" else width
    for width in (256, "u", 256, 256, 256, 128, "u", 128, 64, "u", 64, 3):
        decoder += [nn.Upsample(scale_factor=2)] if width == "u" else [*reflected(inputs, width), nn.ReLU()]
        inputs = inputs if width == "u" else width
    vgg, decoder = nn.Sequential(*vgg), nn.Sequential(*decoder[:-1])
    for convolution in vgg:  # so that something is left of the picture at relu4_1
        if isinstance(convolution, nn.Conv2d) and convolution.kernel_size == (3, 3):
            nn.init.kaiming_normal_(convolution.weight)
    torch.save(vgg.state_dict(), tmp_path / "vgg_normalised.pth")
    torch.save(decoder.state_dict(), tmp_path / "decoder.pth")
    network = modelfile.open_adain(tmp_path / "decoder.pth", tmp_path / "vgg_normalised.pth")
    x, y = torch.rand(1, 3, 32, 40), torch.rand(1, 3, 24, 32) ** 3
    to_tap = vgg[: [i for i, m in enumerate(vgg) if isinstance(m, nn.ReLU)][8] + 1]
    with torch.no_grad():
        content, (mean, deviation) = to_tap(x), moments(to_tap(y))
        own_mean, own = moments(content)
        target = (content - own_mean[..., None, None]) / own[..., None, None]
        expected = decoder(target * deviation[..., None, None] + mean[..., None, None])
        torch.testing.assert_close(network.style(y).mean, mean, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(network(x, [Style(mean, deviation)]), expected, atol=1e-4, rtol=1e-3)


def test_other_layouts_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"conv1.conv2d.weight": torch.zeros(4, 3, 9, 9), "in1.weight": torch.zeros(4)}, path)
    with pytest.raises(UserError, match="fast networks have the layers of PyTorch"):
        published.fast_network(path)
    torch.save({"layer.weight": torch.zeros(4)}, path)
    with pytest.raises(UserError, match="is no fast network that arf knows"):
        modelfile.open_fast(path)
    with pytest.raises(UserError, match="holds no sequence of convolutions"):
        published.adain_network(path, path)
    with pytest.raises(UserError, match="is a published decoder; give its normalised VGG-19"):
        modelfile.open_adain(path)
    torch.save({"0.weight": torch.zeros(3, 3, 3, 3), "0.bias": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="no normalised VGG-19 of AdaIN: it begins with a 1×1"):
        published.adain_network(path, path)
    path.write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"other\.pth"):
        modelfile.open_fast(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("in1.weight", torch.zeros(10**5), r"down\.0\.convolution\.conv\.weight has shape \[4, 3, 9, 9\]"),  # 1.4 PB
        ("in1.weight", torch.zeros(()), "no fast network that arf knows"),
        ("res3.conv1.conv2d.weight", torch.full((16, 16, 3, 3), torch.inf), "not finite"),
        ("in2.bias", torch.zeros(1), r"down\.1\.norm\.shift has shape \[1, 1\], not \[1, 8\]"),
    ],
)
def test_a_published_network_of_odd_shapes_is_refused(tmp_path, name, value, message):
    torch.manual_seed(0)
    torch.save({**Example(4).state, name: value}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=message):
        modelfile.open_fast(tmp_path / "odd.pth")

from __future__ import annotations

import pytest
import torch

from arf.networks.fast import Architecture, FastNetwork
from arf.networks.layers import InstanceNorm


def network(names=("one", "two"), **shape) -> FastNetwork:
    torch.manual_seed(0)
    net = FastNetwork(Architecture(styles=len(names), width=4, residuals=1, **shape), names)
    for norm in net.modules():
        if isinstance(norm, InstanceNorm):
            norm.scale.data.uniform_(0.5, 1.5)
            norm.shift.data.normal_()
    return net.eval()


def test_the_architecture_is_johnsons():
    net = FastNetwork(Architecture())
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters() if "conv.weight" in name}
    assert shapes["down.0.convolution.conv.weight"] == (32, 3, 9, 9)
    assert shapes["down.2.convolution.conv.weight"] == (128, 64, 3, 3)
    assert shapes["up.1.convolution.conv.weight"] == (32, 64, 3, 3)
    assert shapes["last.conv.weight"] == (3, 32, 9, 9)
    assert len(net.residuals) == 5
    assert (
        sum(p.numel() for p in net.parameters()) == 1_679_235 - 32 - 64 - 128 * 11 - 64 - 32
    )  # of PyTorch's example, less the biases before norms


@pytest.mark.parametrize("size", [(16, 20), (17, 19), (30, 16), (3, 40)])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_pictures_of_any_size_keep_it(size, norm):
    net = network(("one",), norm=norm)
    painted = net(torch.rand(2, 3, *size))
    assert painted.shape == (2, 3, *size)
    assert 0 < painted.min() <= painted.max() < 1


def test_each_picture_has_its_own_style():
    net = network()
    x = torch.rand(2, 3, 16, 16)
    both = net(x, torch.eye(2))
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], net(x[i : i + 1], torch.eye(2)[i : i + 1]), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(net(x[:1], net.mix({"one": 1})), net(x[:1], net.mix({"two": 1})), atol=1e-3)


def test_mixing_takes_the_weighted_mean_of_rows():
    net = network()
    assert net.mix({"two": 3.0, "one": 1.0}).tolist() == [[0.25, 0.75]]
    mixed = network(("one",))
    mixed.load_state_dict({k: (v.mean(0, keepdim=True) if "norm.s" in k else v) for k, v in net.state_dict().items()})
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(net(x, net.mix({"one": 1, "two": 1})), mixed(x))


@pytest.mark.parametrize("weights", [{"three": 1.0}, {}, {"one": -1.0, "two": 3.0}, {"one": 0.0}])
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(ValueError, match="one, two"):
        network().mix(weights)


def test_more_styles_leave_those_that_are_there():
    net = network()
    larger = net.with_more(["three"]).eval()
    x = torch.rand(1, 3, 16, 16)
    assert larger.names == ["one", "two", "three"]
    assert torch.equal(larger(x, larger.mix({"two": 1})), net(x, net.mix({"two": 1})))
    torch.testing.assert_close(larger(x, larger.mix({"three": 1})), net(x, net.mix({"one": 1, "two": 1})))


def test_only_instance_norm_has_several_styles():
    with pytest.raises(ValueError, match="several styles need instance norm"):
        FastNetwork(Architecture("batch", 2), ["a", "b"])
    with pytest.raises(ValueError, match="2 styles, 1 names"):
        FastNetwork(Architecture(styles=2), ["a"])

"""The compact encoder: its file, what it promises about inner products, and how near the shipped one is to VGG-19."""

from __future__ import annotations

import json

import pytest
import torch
from encoders import tiny_encoder
from safetensors import safe_open
from torch.nn import functional

from arf.errors import UserError
from arf.media import image
from arf.style import compact, encoder
from arf.style.losses import FeatureBank, content_loss, gram, gram_loss, nnfm_loss

WANTED = {"relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu3_4", "relu4_1"}


@pytest.fixture(scope="module")
def shipped() -> encoder.Encoder:
    return encoder.load("compact")


@pytest.fixture
def small(tmp_path):
    """A random network with lifts to twice as many channels: file, encoder without readouts, lifts."""
    plain = tiny_encoder()
    generator = torch.Generator().manual_seed(1)
    lifts = {tap: torch.randn(2 * plain.width(tap), plain.width(tap), generator=generator) for tap in plain.taps}
    convolutions = {tap: (layer.weight, layer.bias) for tap, layer in plain.convolutions.items()}
    compact.save(tmp_path / "small.safetensors", convolutions, lifts, (0.48, 0.46, 0.41))
    return tmp_path / "small.safetensors", plain, lifts


def pictures(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 40, 32, generator=torch.Generator().manual_seed(seed))


def test_losses_on_the_narrow_taps_are_those_on_the_lifted_ones(small):
    file, plain, lifts = small
    ours = encoder.load("compact", file)
    x = pictures()
    for tap, lift in lifts.items():
        narrow = ours(x, [tap])[tap]
        lifted = functional.conv2d(plain(x, [tap])[tap], lift[:, :, None, None])
        assert narrow.shape[1] * 2 == lifted.shape[1]
        pairs = [(f[:1], f[1:]) for f in (narrow, lifted)]
        for loss in (content_loss, nnfm_loss, lambda a, b: gram_loss(a, gram(b, "positions"), "positions")):
            found, wanted = (loss(*pair).item() for pair in pairs)
            assert found == pytest.approx(wanted, rel=0.01)  # the file is float16


def test_the_trunk_does_not_pass_through_the_readouts(small):
    file, plain, lifts = small
    lifts = {tap: lift * (0 if tap == "relu1_1" else 1) for tap, lift in lifts.items()}
    convolutions = {tap: (layer.weight, layer.bias) for tap, layer in plain.convolutions.items()}
    compact.save(file.with_name("blind.safetensors"), convolutions, lifts, (0.48, 0.46, 0.41))
    found = encoder.load("compact", file.with_name("blind.safetensors"))(pictures(), ["relu1_1", "relu3_3"])
    assert not found["relu1_1"].any()
    assert torch.equal(found["relu3_3"], encoder.load("compact", file)(pictures(), ["relu3_3"])["relu3_3"])


@pytest.mark.parametrize("damage", ["no readout", "nan", "wide", "no mean", "no first tap", "no number", "torchvision"])
def test_another_file_is_refused(small, damage, tmp_path):
    from safetensors.torch import load_file, save_file

    state = load_file(small[0])
    if damage == "no readout":
        del state["relu2_1.readout"]
    elif damage == "nan":
        state["relu2_1.bias"][0] = torch.nan
    elif damage == "wide":
        state["relu2_1.weight"] = state["relu2_1.weight"][:, :-1].contiguous()
    elif damage == "no first tap":
        state = {name: tensor for name, tensor in state.items() if "relu1_1" not in name}
    elif damage == "no number":
        state["relu2_1.weight"] = torch.zeros(())
    elif damage == "no mean":
        del state["mean"]
    else:
        state = {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)}
    save_file(state, tmp_path / "bad.safetensors")
    with pytest.raises(UserError, match=r"bad\.safetensors(: .* not finite| is no compact encoder)"):
        encoder.load("compact", tmp_path / "bad.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.safetensors"):
        encoder.load("compact", tmp_path / "nowhere.safetensors")


# The one that comes with arf


def test_it_is_small_and_has_vgg_s_taps(shipped):
    assert set(shipped.taps) >= WANTED
    assert sum(p.numel() for p in shipped.parameters()) <= 800_000
    assert compact.FILE.stat().st_size <= 1.6e6
    assert shipped.stride("relu3_1") == 4


def test_it_says_whose_work_it_is_made_from():
    with safe_open(compact.FILE, framework="pt") as file:
        licence = json.loads(file.metadata()["about"])["licence"]
    assert all(word in licence for word in ("VGG-19", "Simonyan", "Zisserman", "Oxford", "CC BY 4.0"))


def test_its_gradient_is_that_of_finite_differences(shipped):
    picture = pictures()[:1].double().requires_grad_()
    network = encoder.load("compact").double()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return network(x, ["relu3_1"])["relu3_1"].square().mean()

    (gradient,) = torch.autograd.grad(loss(picture), picture)
    direction = torch.randn(picture.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    step = 1e-6
    difference = (loss(picture + step * direction) - loss(picture - step * direction)) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-3)


def held_out(assets, kind: str) -> list[torch.Tensor]:
    """Pictures whose files it was not trained on; of a painting, another copy may have been among them."""
    paths = sorted((assets / kind).glob("*.jpg"))[:3]
    return [image.fit_long_side(image.read(path), 192).permute(2, 0, 1)[None] for path in paths]


@pytest.mark.parametrize(("tap", "most"), [("relu1_1", 0.1), ("relu2_1", 0.3), ("relu3_1", 0.45), ("relu4_1", 0.55)])
def test_its_gram_losses_are_near_vgg19_s(assets, vgg19, shipped, tap, most):
    # Lower the deeper: what it cannot predict of VGG's features is missing from their Gram matrix.
    for content, style in zip(held_out(assets, "photos"), held_out(assets, "styles"), strict=True):
        a, b = ((network(content, [tap])[tap], network(style, [tap])[tap]) for network in (vgg19, shipped))
        theirs, ours = (gram_loss(x, gram(y, "positions"), "positions").item() for x, y in (a, b))
        assert ours == pytest.approx(theirs, rel=most)


@pytest.mark.parametrize(("tap", "most"), [("relu2_1", 0.05), ("relu3_1", 0.06), ("relu3_3", 0.07), ("relu4_1", 0.12)])
def test_it_chooses_neighbours_that_vgg19_finds_near(assets, vgg19, shipped, tap, most):
    """How much of the way from the best choice to a random one its choices are, by VGG-19's cosines."""
    for content, style in zip(held_out(assets, "photos"), held_out(assets, "styles"), strict=True):
        theirs, ours = (
            [network(x, [tap])[tap].flatten(2)[0].T for x in (content, style)] for network in (vgg19, shipped)
        )
        choice = FeatureBank(ours[1].T).nearest(ours[0])[:, 0]
        cosines = functional.normalize(theirs[0], dim=1) @ functional.normalize(theirs[1], dim=1).T
        best, random = cosines.amax(1).mean(), cosines.mean()
        chosen = cosines.gather(1, choice[:, None]).mean()
        assert (best - chosen) / (best - random) < most

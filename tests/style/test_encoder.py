from __future__ import annotations

import pickle
import urllib.error
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from arf.errors import UserError
from arf.media import image
from arf.style import encoder, natural, pretrained

TINY = ((4, 6), (8,), (5, 7))  # widths that are nobody's, so that nothing can assume VGG's


@pytest.fixture
def tiny(monkeypatch) -> dict[str, torch.Tensor]:
    """A random network of TINY's layout under the name "tiny", as a torchvision state dict."""
    monkeypatch.setitem(pretrained.LAYOUTS, "tiny", TINY)
    generator = torch.Generator().manual_seed(0)
    state = {}
    inputs = 3
    for index, width in zip((0, 2, 5, 8, 10), (4, 6, 8, 5, 7), strict=True):
        state[f"features.{index}.weight"] = torch.randn(width, inputs, 3, 3, generator=generator) / inputs**0.5
        state[f"features.{index}.bias"] = torch.randn(width, generator=generator) * 0.3
        inputs = width
    return state


def in_plain_torch(state: dict[str, torch.Tensor], pictures: torch.Tensor, pooling: str) -> dict[str, torch.Tensor]:
    """TINY as torchvision would run it, layer by layer."""
    mean, std = torch.tensor(pretrained.IMAGENET_MEAN), torch.tensor(pretrained.IMAGENET_STD)
    x = (pictures - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    pool = nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)
    layers = ("relu1_1", 0), ("relu1_2", 2), (pool, 4), ("relu2_1", 5), (pool, 7), ("relu3_1", 8), ("relu3_2", 10)
    found = {}
    for layer, index in layers:
        if layer is pool:
            x = pool(x)
        else:
            weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
            x = functional.conv2d(x, weight, bias, padding=1).relu()
            found[layer] = x
    return found


def pictures(height: int = 13, width: int = 18, batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def caffe(state: dict[str, torch.Tensor], order: str) -> dict[str, torch.Tensor]:
    """The same network for input RGB · 255 - mean, in RGB or BGR."""
    gain = 255 * torch.tensor(pretrained.IMAGENET_STD)
    shift = 255 * (torch.tensor(pretrained.IMAGENET_MEAN) - torch.tensor(pretrained.CAFFE_MEAN))
    weight = state["features.0.weight"].float() / gain.view(1, 3, 1, 1)
    bias = state["features.0.bias"].float() - (weight.sum((2, 3)) * shift).sum(1)
    weight = weight.flip(1) if order == "bgr" else weight
    return {**state, "features.0.weight": weight.contiguous(), "features.0.bias": bias}


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


# The network


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_every_tap_is_what_plain_torch_computes(tiny, tmp_path, pooling):
    torch.save(tiny, tmp_path / "tiny.pth")
    vgg = encoder.load("tiny", tmp_path / "tiny.pth", pooling)
    wanted = in_plain_torch(tiny, pictures(), pooling)
    found = vgg(pictures(), vgg.taps, scaled=False)
    assert tuple(found) == tuple(wanted) == ("relu1_1", "relu1_2", "relu2_1", "relu3_1", "relu3_2")
    for tap in wanted:
        assert relative(found[tap], wanted[tap]) < 1e-5


def test_scaled_taps_are_the_raw_ones_divided_by_constants(tiny, tmp_path):
    torch.save(tiny, tmp_path / "tiny.pth")
    vgg = encoder.load("tiny", tmp_path / "tiny.pth")
    scaled, raw = vgg(pictures(), vgg.taps), vgg(pictures(), vgg.taps, scaled=False)
    made = vgg(natural.pictures(), vgg.taps)
    for tap, scale in zip(vgg.taps, vgg.scales, strict=True):
        assert relative(scaled[tap] * scale, raw[tap]) < 1e-5
        assert made[tap].mean().item() == pytest.approx(1, rel=1e-4)


def test_rescaling_again_starts_from_the_raw_scale(tiny):
    vgg = encoder.Encoder(pretrained.to_stack("tiny", tiny, "here"))
    raw = vgg(pictures(), vgg.taps)
    vgg.rescale(dict.fromkeys(vgg.taps, 3.0))
    vgg.rescale({tap: 2.0 + i for i, tap in enumerate(vgg.taps)})
    for i, tap in enumerate(vgg.taps):
        assert relative(vgg(pictures(), [tap])[tap] * (2.0 + i), raw[tap]) < 1e-5
        assert relative(vgg(pictures(), [tap], scaled=False)[tap], raw[tap]) < 1e-5
    with pytest.raises(ValueError, match="positive"):
        vgg.rescale(dict.fromkeys(vgg.taps, 0.0))


def test_taps_come_in_the_order_asked_for_and_no_deeper_layer_runs(tiny):
    vgg = encoder.Encoder(pretrained.to_stack("tiny", tiny, "here"))
    ran = []
    for tap, convolution in vgg.convolutions.items():
        convolution.register_forward_hook(lambda *_, tap=tap: ran.append(tap))
    assert list(vgg(pictures(), ["relu2_1", "relu1_1"])) == ["relu2_1", "relu1_1"]
    assert ran == ["relu1_1", "relu1_2", "relu2_1"]


def test_widths_and_strides_are_those_of_the_features(tiny):
    vgg = encoder.Encoder(pretrained.to_stack("tiny", tiny, "here"))
    for tap, x in vgg(pictures(16, 24), vgg.taps).items():
        assert x.shape == (2, vgg.width(tap), 16 // vgg.stride(tap), 24 // vgg.stride(tap))
    assert [vgg.width(tap) for tap in vgg.taps] == [4, 6, 8, 5, 7]


def test_positions_by_channels_is_a_view(tiny):
    x = encoder.Encoder(pretrained.to_stack("tiny", tiny, "here"))(pictures(), ["relu2_1"])["relu2_1"]
    assert x.permute(0, 2, 3, 1).is_contiguous()


def test_gradients_reach_the_input_and_nothing_else(tiny):
    vgg = encoder.Encoder(pretrained.to_stack("tiny", tiny, "here")).double()
    x = pictures(6, 5, 1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: tuple(vgg(x, ["relu1_1", "relu1_2", "relu2_1"]).values()), x)
    vgg(x, ["relu3_2"])["relu3_2"].sum().backward()
    assert x.grad.abs().sum() > 0
    assert not vgg.training
    assert all(not p.requires_grad and p.grad is None for p in vgg.parameters())


def test_bad_input_shows_what_it_got(tiny):
    vgg = encoder.Encoder(pretrained.to_stack("tiny", tiny, "here"))
    for shape in ((3, 8, 8), (1, 1, 8, 8), (1, 8, 8, 3)):
        with pytest.raises(ValueError, match=rf"got \[{shape[0]}, "):
            vgg(torch.rand(shape), ["relu1_1"])
    with pytest.raises(ValueError, match="no tap 'relu9_1'; it has relu1_1, relu1_2"):
        vgg(pictures(), ["relu1_1", "relu9_1"])
    for taps in ([], "relu1_1"):
        with pytest.raises(ValueError, match="list of names"):
            vgg(pictures(), taps)
    with pytest.raises(ValueError, match="relu3_1 need 4 pixels"):
        vgg(pictures(3, 40), ["relu3_1"])
    with pytest.raises(ValueError, match="no tap"):
        vgg.width("conv1_1")
    with pytest.raises(ValueError, match="max, average"):
        encoder.Encoder(pretrained.to_stack("tiny", tiny, "here"), pooling="mean")
    with pytest.raises(ValueError, match="no architecture 'vgg11'"):
        encoder.load("vgg11")


# Weights files


@pytest.mark.parametrize("kind", ["prefixed", "bare", "float16", "safetensors", "classifier"])
def test_kinds_of_files_that_work(tiny, tmp_path, kind):
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    state = dict(tiny)
    if kind == "bare":
        state = {key.removeprefix("features."): value for key, value in tiny.items()}
    if kind == "float16":
        state = {key: value.half() for key, value in tiny.items()}
    if kind == "classifier":
        state["classifier.0.weight"] = torch.rand(10, 10)
    save_file(state, path) if kind == "safetensors" else torch.save(state, path)
    vgg = encoder.load("tiny", path)
    wanted = in_plain_torch(tiny, pictures(), "max")["relu3_2"]
    found = vgg(pictures(), ["relu3_2"], scaled=False)["relu3_2"]
    assert found.dtype == torch.float32
    assert relative(found, wanted) < (2e-3 if kind == "float16" else 1e-5)


def test_files_that_are_not_the_weights_are_refused_in_one_line(tiny, tmp_path):
    def refuse(name: str, reason: str) -> None:
        with pytest.raises(UserError, match=reason) as caught:
            encoder.load("tiny", tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)

    refuse("none.pth", "no such file")
    (tmp_path / "empty.pth").touch()
    refuse("empty.pth", "is empty")
    (tmp_path / "text.pth").write_text("weights")
    refuse("text.pth", "damaged or holds more")
    (tmp_path / "text.safetensors").write_text("weights")
    refuse("text.safetensors", "damaged or holds more")
    for suffix in ("pth", "safetensors"):
        whole = tmp_path / f"whole.{suffix}"
        torch.save(tiny, whole) if suffix == "pth" else save_file(tiny, whole)
        (tmp_path / f"cut.{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        refuse(f"cut.{suffix}", "damaged or holds more")
    torch.save([1, 2], tmp_path / "list.pth")
    refuse("list.pth", "holds a list")
    torch.save({"a": torch.rand(3)}, tmp_path / "other.pth")
    refuse("other.pth", r"features\.0\.weight is missing")
    torch.save({**tiny, "features.5.weight": torch.rand(8, 3, 3, 3)}, tmp_path / "shape.pth")
    refuse("shape.pth", r"features\.5\.weight is \[8, 3, 3, 3\], not \[8, 6, 3, 3\]")
    torch.save({**tiny, "features.5.bias": torch.full((8,), float("nan"))}, tmp_path / "nan.pth")
    refuse("nan.pth", r"features\.5\.bias holds numbers that are not finite")
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("bomb/data.pkl", bytes(10**6))
    refuse("bomb.pth", "is compressed")
    for odd in (torch.rand(3).to_sparse(), torch.rand(3, dtype=torch.complex64), torch.rand(3).to(torch.float8_e5m2)):
        torch.save({**tiny, "features.5.bias": odd}, tmp_path / "odd.pth")
        refuse("odd.pth", r"features\.5\.bias is no plain tensor of numbers")


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_weights_in_a_checkpoint_of_a_training_on_several_gpus(tiny, tmp_path, wrapper):
    parallel = {f"module.{name}": tensor for name, tensor in tiny.items()}
    torch.save({"epoch": 3, wrapper: parallel, "optimizer": {"state": {}}}, tmp_path / "checkpoint.pth")
    torch.save(tiny, tmp_path / "plain.pth")
    found, wanted = (encoder.load("tiny", tmp_path / f"{name}.pth") for name in ("checkpoint", "plain"))
    assert found.fingerprint == wanted.fingerprint


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.setitem(pretrained.LAYOUTS, "tiny", TINY)
    torch.save({"features.0.weight": Bomb(tmp_path / "ran")}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps({"features.0.weight": Bomb(tmp_path / "ran")}))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(UserError, match="more than plain tensors"):
            encoder.load("tiny", tmp_path / name)
    assert not (tmp_path / "ran").exists()


# Where weights are found


def test_the_folder_of_the_environment_is_searched(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("ARF_WEIGHTS", str(tmp_path))
    for name in ("tiny_bn.pth", "tiny.txt", "other.pth"):
        (tmp_path / name).write_text("not these")
    torch.save(tiny, tmp_path / "tiny_features.pth")
    assert encoder.load("tiny").taps[0] == "relu1_1"
    monkeypatch.setenv("ARF_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"ARF_WEIGHTS names .*none, which is no folder"):
        encoder.load("tiny")


def test_an_explicit_file_goes_before_the_environment(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("ARF_WEIGHTS", str(tmp_path / "none"))
    torch.save(tiny, tmp_path / "a.pth")
    assert encoder.load("tiny", tmp_path / "a.pth").name == "tiny"


@pytest.mark.parametrize("failure", [urllib.error.URLError("no route"), RuntimeError("invalid hash value")])
def test_offline_without_weights_names_the_three_ways_out(tmp_path, monkeypatch, failure):
    def refuse(*_, **__):
        raise failure

    monkeypatch.setenv("ARF_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(UserError) as caught:
        encoder.load("vgg16")
    line = str(caught.value)
    assert "\n" not in line
    for way_out in ("--encoder-weights FILE", "ARF_WEIGHTS", "vgg16*.pth", "connect to the network"):
        assert way_out in line


def test_torchvisions_download_is_asked_for_safely_and_taken_as_torchvisions(tmp_path, monkeypatch):
    asked = {}

    def answer(url, **options):
        asked.update(options, url=url)
        return {f"features.{index}.{part}": torch.zeros(shape) for index, part, shape in shapes()}

    def shapes():
        inputs = 3
        for _, index, width in pretrained._positions("vgg16"):
            yield index, "weight", (width, inputs, 3, 3)
            yield index, "bias", (width,)
            inputs = width

    monkeypatch.delenv("ARF_WEIGHTS", raising=False)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", answer)
    assert pretrained.find("vgg16").convention == "torchvision"
    assert "vgg16-" in asked["url"]
    assert asked["check_hash"] is True
    assert asked["weights_only"] is True
    assert asked["progress"] is False


def test_layouts_are_torchvisions():
    from torchvision import models

    for name in ("vgg16", "vgg19"):
        with torch.device("meta"):
            features = getattr(models, name)(weights=None).features
        convolutions = {i: layer.out_channels for i, layer in enumerate(features) if isinstance(layer, nn.Conv2d)}
        assert {index: width for _, index, width in pretrained._positions(name)} == convolutions
    indices = {tap: index for tap, index, _ in pretrained._positions("vgg16")}
    assert [indices[tap] + 1 for tap in ("relu1_2", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu4_3")] == [
        3, 8, 11, 13, 15, 22,
    ]  # fmt: skip
    indices = {tap: index for tap, index, _ in pretrained._positions("vgg19")}
    assert [indices[tap] + 1 for tap in ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")] == [
        1, 6, 11, 20, 22, 29,
    ]  # fmt: skip


# Input conventions


@pytest.mark.parametrize("convention", ["caffe-rgb", "caffe-bgr"])
def test_caffe_style_weights_compute_the_same(tiny, convention):
    ours = encoder.Encoder(pretrained.to_stack("tiny", tiny, "here", "torchvision"))
    folded = encoder.Encoder(pretrained.to_stack("tiny", caffe(tiny, convention[-3:]), "here", convention))
    x = pictures(24, 24)
    for tap in ours.taps:  # the borders differ: padding with zeros pads each with its own mean colour
        found, wanted = (vgg(x, [tap])[tap] for vgg in (folded, ours))
        inside = slice(2, -2)
        assert relative(found, wanted) < 0.01
        assert relative(found[..., inside, inside], wanted[..., inside, inside]) < (1e-5 if tap < "relu2" else 0.01)


def test_weights_of_unknown_origin_that_need_large_input_are_recognised(tiny, caplog):
    assert pretrained.to_stack("tiny", tiny, "here").convention == "torchvision"
    assert not caplog.records
    assert pretrained.to_stack("tiny", caffe(tiny, "rgb"), "here").convention == "caffe-bgr"
    assert "unknown origin" in caplog.text


def photograph(assets: Path, long_side: int = 192) -> torch.Tensor:
    picture = image.fit_long_side(image.read(assets / "photos" / "tubingen.jpg"), long_side)
    return picture.permute(2, 0, 1)[None]  # [1, 3, H, W]


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_vgg19_in_torchvision_and_caffe_scaling_have_identical_taps(assets, vgg19, tmp_path, order):
    state = torch.load(assets / "weights" / "vgg19_features_fp16.pth", weights_only=True)
    torch.save(caffe(state, order), tmp_path / "caffe.pth")
    stack = pretrained.find("vgg19", tmp_path / "caffe.pth")
    assert vgg19.convention == "torchvision"
    assert stack.convention == f"caffe-{order}"
    folded = encoder.Encoder(stack)
    x = photograph(assets)
    wanted, found = vgg19(x, vgg19.taps, scaled=False), folded(x, vgg19.taps)
    for tap in vgg19.taps:
        assert relative(found[tap], wanted[tap]) < 2e-3
        assert found[tap].mean().item() == pytest.approx(wanted[tap].mean().item(), rel=1e-3)
    assert relative(found["relu1_1"][..., 1:-1, 1:-1], wanted["relu1_1"][..., 1:-1, 1:-1]) < 1e-5


def test_vgg19_has_the_activations_that_the_weights_are_documented_to_have(assets, vgg19):
    """The assets' README: mean of relu3_4 about 540 and of relu4_1 up to 1.7e4. With a wrong mean, order or scale it is
    nowhere near."""
    raw = vgg19(photograph(assets, 320), ["relu3_4", "relu4_1"], scaled=False)
    assert 350 < raw["relu3_4"].mean() < 750
    assert 5e3 < raw["relu4_1"].max() < 3e4


def test_vgg19_taps_have_mean_activation_one_over_photographs(assets, vgg19):
    paths = sorted((assets / "training" / "photos-research").glob("*.jpg"))[::40]  # not those that it was measured on
    total = dict.fromkeys(vgg19.taps[:13], 0.0)
    for path in paths:
        x = image.fit_long_side(image.read(path), 224).permute(2, 0, 1)[None]
        for tap, features in vgg19(x, list(total)).items():
            total[tap] += features.mean().item() / len(paths)
    assert len(paths) >= 5
    for mean in total.values():
        assert 0.7 < mean < 1.4


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_made_pictures_measure_about_what_photographs_do(vgg19, assets, pooling):
    stack = pretrained.find("vgg19", assets / "weights" / "vgg19_features_fp16.pth")
    photographs = encoder.known_scales()[f"vgg19/{stack.fingerprint}/{pooling}"]
    for tap, made in encoder.Encoder(stack, pooling).mean_activations(natural.pictures()).items():
        assert 0.7 < made / photographs[tap] < 1.45


def test_made_pictures_are_the_same_every_time():
    again = natural.pictures(count=1)
    assert torch.equal(natural.pictures(count=1), again)
    assert again.shape == (1, 3, 160, 160)
    assert 0 <= again.min() < 0.1 < 0.9 < again.max() <= 1
    assert not torch.equal(natural.pictures(count=1, seed=1), again)

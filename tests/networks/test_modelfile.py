from __future__ import annotations

import os

import pytest
import torch
from trained import adain_file, cast_file, fast_file

from arf.errors import UserError
from arf.jobs.tensors import load_tensors, save_tensors
from arf.networks import modelfile


def test_a_fast_network_comes_back(tmp_path):
    path = fast_file(tmp_path)
    network = modelfile.open_fast(path)
    assert network.names == ["night", "wave", "glass"]
    assert not network.training
    again = tmp_path / "again.safetensors"
    modelfile.save_fast(again, network)
    first, second = load_tensors(path, "")[0], load_tensors(again, "")[0]
    assert all(t.dtype == torch.half for t in first.values())
    assert all(torch.equal(first[name], second[name]) for name in first)
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(modelfile.open_fast(again)(x, network.mix({"wave": 1})), network(x, network.mix({"wave": 1})))


def test_a_decoder_comes_back_with_its_encoder(tmp_path):
    network = modelfile.open_adain(adain_file(tmp_path))
    assert (network.encoder.name, network.encoder.padding, network.scaled) == ("compact", "reflect", True)
    assert not any(p.requires_grad for p in network.parameters())


def test_a_decoder_of_other_weights_is_refused(tmp_path):
    path = adain_file(tmp_path)
    tensors, notes = load_tensors(path, "")
    save_tensors(path, tensors, **{**notes, "fingerprint": "0123"})
    with pytest.raises(UserError, match=r"other weights of compact \(0123, .*--encoder-weights FILE"):
        modelfile.open_adain(path)


def test_a_model_of_another_architecture_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a model of arf train adain; one of arf train fast or arf train many"):
        modelfile.open_fast(adain_file(tmp_path))
    with pytest.raises(UserError, match="is a model of arf train many; one of arf train adain is needed"):
        modelfile.open_adain(fast_file(tmp_path))
    other = tmp_path / "other.safetensors"
    save_tensors(other, {"x": torch.zeros(1)})
    with pytest.raises(UserError, match="is no model that arf wrote"):
        modelfile.open_fast(other)


def test_files_that_do_not_hold_what_they_say_are_refused(tmp_path):
    path = fast_file(tmp_path)
    tensors, notes = load_tensors(path, "")
    del tensors["last.conv.bias"]
    save_tensors(path, tensors, **notes)
    with pytest.raises(UserError, match=r"lacks tensor 'last.conv.bias'; train it again"):
        modelfile.open_fast(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="cut short or corrupt"):
        modelfile.open_fast(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="is empty"):
        modelfile.open_fast(path)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"architecture": None}, "architecture: expected object"),
        ({"architecture": {"width": 10**12}}, r"width is 1e\+12; it must be between 1 and 1024"),
        ({"architecture": {"width": 1024}}, r"has shape \[4, 3, 9, 9\], not \[1024, 3, 9, 9\]"),
        ({"architecture": {"residuals": 10**9}}, r"residuals is 1e\+09"),
        ({"architecture": {"styles": 10**9}}, r"styles is 1e\+09"),
        ({"architecture": {"norm": "batch"}}, "styles is 3; it must be between 1 and 1"),
        ({"architecture": {"norm": "layer"}}, "norm: invalid enum value 'layer'; it is one of instance, batch"),
        ({"architecture": {"width": "4"}}, "width: expected int, got str"),
        ({"architecture": {"depth": 3}}, "no setting 'depth'"),
        ({"names": 5}, "names: expected array"),
        ({"names": [1, 2, 3]}, r"names\[0\]: expected str"),
        ({"names": ["one"]}, "1 names are not those of 3 styles"),
        ({"names": ["one", "two", "two"]}, "2 names are not those of 3 styles"),
        ({"names": ["one", "two", "x" * 300]}, "has 1 to 255 characters"),
        ({"arf_network": ["fast"]}, "is no model that arf wrote"),
    ],
)
def test_what_a_file_says_of_its_network_is_checked_before_that_is_built(tmp_path, said, message):
    path = fast_file(tmp_path)
    tensors, notes = load_tensors(path, "")
    if isinstance(said.get("architecture"), dict):
        said = {"architecture": {**notes["architecture"], **said["architecture"], "styles": 3} | said["architecture"]}
    save_tensors(path, tensors, **{**notes, **said})
    with pytest.raises(UserError, match=message) as refusal:
        modelfile.open_fast(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"widths": [10**6] * 9}, "widths: expected object"),
        ({"widths": {"relu1_1": 10**6}}, "its layers have other widths"),
        ({"encoder": "soup"}, "encoder: invalid enum value 'soup'"),
        ({"fingerprint": 5}, "fingerprint: expected str"),
    ],
)
def test_what_a_file_says_of_its_decoder_is_checked(tmp_path, said, message):
    for path, opened in ((adain_file(tmp_path), modelfile.open_adain), (cast_file(tmp_path), modelfile.open_cast)):
        tensors, notes = load_tensors(path, "")
        save_tensors(path, tensors, **{**notes, **said})
        with pytest.raises(UserError, match=message):
            opened(path)


@pytest.mark.parametrize("damage", ["nan", "integers"])
def test_a_network_of_numbers_that_cannot_be_weights_is_refused(tmp_path, damage):
    path = fast_file(tmp_path)
    tensors, notes = load_tensors(path, "")
    spoiled = {"nan": torch.full((3,), torch.nan), "integers": torch.zeros(3, dtype=torch.int64)}[damage]
    save_tensors(path, {**tensors, "last.conv.bias": spoiled}, **notes)
    with pytest.raises(UserError, match=r"last\.conv\.bias holds"):
        modelfile.open_fast(path)


def test_a_model_is_found_by_name_file_or_run(tmp_path):
    path = fast_file(tmp_path)
    os.rename(path, tmp_path / "model.safetensors")
    assert modelfile.find(tmp_path, "fast-") == tmp_path / "model.safetensors"
    for bundled in modelfile.BUNDLED.glob("fast-*.safetensors"):
        assert modelfile.find(bundled.stem.removeprefix("fast-"), "fast-") == bundled
    with pytest.raises(UserError, match=r"no model 'nothing': .* with arf come .*many"):
        modelfile.find("nothing", "fast-")
    with pytest.raises(UserError, match=r"no model file at .*nothing\.safetensors"):
        modelfile.find(tmp_path / "nothing.safetensors", "fast-")


def test_the_models_that_come_with_arf_open_and_are_small():
    files = sorted(modelfile.BUNDLED.glob("*.safetensors"))
    fast = [modelfile.open_fast(f) for f in files if f.stem.startswith("fast-")]
    assert sum(len(network.names) == 1 for network in fast) >= 2
    assert any(len(network.names) > 1 for network in fast)
    modelfile.open_adain("compact")
    for file in files:
        assert file.stat().st_size <= (4 if file.stem.startswith("adain") else 3) * 2**20

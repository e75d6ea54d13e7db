from __future__ import annotations

import pytest
import torch
from commands import refused, run
from trained import adain_file, cast_file, fast_file

from arf.errors import UserError
from arf.networks import modelfile, onnx_file

onnxruntime = pytest.importorskip("onnxruntime")


def painted(path, **inputs) -> torch.Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {name: x.numpy() for name, x in inputs.items()})[0])


@pytest.mark.parametrize("names", [("one",), ("one", "two")])
def test_a_fast_network_paints_the_same(tmp_path, names):
    network = modelfile.open_fast(fast_file(tmp_path, names))
    told = onnx_file.export(network, tmp_path / "fast.onnx")
    assert told.inputs == (["picture", "mix"] if len(names) > 1 else ["picture"])
    assert told.multiple == 4
    assert told.difference < 1e-4
    pictures = torch.rand(3, 3, 20, 36)
    mix = torch.eye(len(names))[[0, -1, 0]]
    more = {"mix": mix} if len(names) > 1 else {}
    torch.testing.assert_close(
        painted(told.path, picture=pictures, **more), network(pictures, mix), atol=1e-4, rtol=1e-3
    )


def test_adain_paints_the_same(tmp_path):
    network = modelfile.open_adain(adain_file(tmp_path))
    told = onnx_file.export(network, tmp_path / "adain.onnx")
    assert (told.inputs, told.multiple) == (["picture", "style", "alpha"], 8)
    assert told.difference < 1e-3
    pictures, style = torch.rand(2, 3, 24, 40), torch.rand(1, 3, 32, 16)
    for alpha in (1.0, 0.3):
        found = painted(told.path, picture=pictures, style=style, alpha=torch.tensor(alpha))
        expected = network(pictures, [network.style(style)], alpha=alpha).clamp(0, 1)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_the_command_takes_casts_painter(tmp_path, capsys):
    output = tmp_path / "cast.onnx"
    assert run(capsys, "onnx", "cast", "--model", cast_file(tmp_path), "--output", output)[0] == 0
    network = modelfile.open_cast(tmp_path / "decoders.safetensors").to_domain("painting")
    pictures, style = torch.rand(1, 3, 24, 24), torch.rand(1, 3, 32, 16)
    found = painted(output, picture=pictures, style=style, alpha=torch.tensor(1.0))
    expected = network(pictures, [network.style(style)]).clamp(0, 1)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    network = modelfile.open_fast(fast_file(tmp_path))
    with pytest.raises(UserError, match=r"must end in \.onnx"):
        onnx_file.export(network, tmp_path / "fast.pth")
    monkeypatch.setattr(onnx_file, "_difference", lambda *_: 0.5)
    with pytest.raises(UserError, match=r"was not written: onnxruntime is 0\.5 off"):
        onnx_file.export(network, tmp_path / "fast.onnx")
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install onnx onnxruntime"):
        onnx_file.export(network, tmp_path / "fast.onnx")
    assert not list(tmp_path.glob("*.onnx"))


def test_the_command(tmp_path, capsys):
    model = fast_file(tmp_path)
    code, out, _ = run(capsys, "onnx", "fast", "--model", model, "--output", tmp_path / "x.onnx")
    assert code == 0
    assert out.startswith(f"{tmp_path / 'x.onnx'}  inputs: picture, mix; sides are multiples of 4")
    assert "is a model of arf train many" in refused(capsys, "onnx", "adain", "--model", model)
    assert "arf onnx fast needs a --model" in refused(capsys, "onnx", "fast")

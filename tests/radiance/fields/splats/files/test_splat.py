"""The .splat of web viewers."""

from __future__ import annotations

import struct

import numpy as np
import torch
from splatfiles import some

from arf.radiance.fields.splats.files import splat
from arf.radiance.fields.splats.files.reading import read_splats
from arf.radiance.fields.splats.files.splat import write_splat


def test_a_row_is_what_viewers_take_it_for(tmp_path):
    row = struct.pack("<6f8B", 1, -2, 3, 0.5, 0.25, 2, 255, 0, 51, 204, 128, 255, 128, 0)
    (tmp_path / "a.splat").write_bytes(row)
    file = read_splats(tmp_path / "a.splat")
    assert (file.name, file.up) == ("a", None)
    assert file.splats.means.tolist() == [[1, -2, 3]]
    assert file.splats.scales.tolist() == [[0.5, 0.25, 2]]
    torch.testing.assert_close(file.splats.colors, torch.tensor([[1, 0, 0.2]]))
    torch.testing.assert_close(file.splats.opacities, torch.tensor([0.8]))
    wanted = torch.nn.functional.normalize(torch.tensor([[0.0, 127, 0, -128]]), dim=1)
    torch.testing.assert_close(file.splats.quats, wanted)
    assert file.splats.rest.shape == (1, 0, 3)


def test_what_is_written_comes_back_sorted(tmp_path, monkeypatch):
    monkeypatch.setattr(splat, "BLOCK", 16)
    splats = some(100, rest=3)
    splats.quats[0], splats.colors[0, 0] = torch.tensor([1.0, 0, 0, 0]), 1.5
    write_splat(tmp_path / "a.splat", splats)
    found = read_splats(tmp_path / "a.splat").splats
    weight = found.scales.double().prod(1) * found.opacities
    order = (splats.scales.double().prod(1) * splats.opacities).argsort(descending=True)
    wanted = splats.select(order)
    assert (weight.diff() <= weight[:-1] / 100).all()
    assert torch.equal(found.means, wanted.means)
    assert torch.equal(found.scales, wanted.scales)
    assert (found.colors - wanted.colors.clamp(0, 1)).abs().max() <= 0.501 / 255
    assert (found.opacities - wanted.opacities).abs().max() <= 0.501 / 255
    assert (found.quats - wanted.quats).abs().max() < 1.2 / 128
    assert found.quats[(order == 0).nonzero().item()].tolist() == [1, 0, 0, 0]


def test_a_row_is_32_bytes_and_negative_scales_are_none(tmp_path, caplog):
    write_splat(tmp_path / "a.splat", some())
    assert (tmp_path / "a.splat").stat().st_size == 40 * 32
    rows = np.fromfile(tmp_path / "a.splat", splat.ROW)
    rows["scales"][3, 1] = -1
    rows["quats"][4] = 128
    rows.tofile(tmp_path / "b.splat")
    assert len(read_splats(tmp_path / "b.splat").splats) == 38
    assert "2 of 40 splats are not finite: left out" in caplog.text

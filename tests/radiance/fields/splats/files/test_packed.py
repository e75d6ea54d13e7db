"""Packed splats: compressed .ply, .spz."""

from __future__ import annotations

import gzip
import struct

import gsply
import numpy as np
import pytest
import torch
from splatfiles import assert_same, compressed, some

from arf.errors import UserError
from arf.radiance.fields.splats.files.reading import read_splats
from arf.radiance.fields.splats.files.spz import write_spz
from arf.radiance.fields.splats.splats import Splats, matrices

TURN = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


def data_of(splats: Splats) -> gsply.GSData:
    own = {name: tensor.numpy() for name, tensor in splats.tensors().items()}
    opacities = np.log(own["opacities"] / (1 - own["opacities"]))
    sh0, rest = (own["colors"] - 0.5) / 0.28209479, own["rest"]
    numbers = (own["means"], np.log(own["scales"]), own["quats"], opacities, sh0)
    return gsply.GSData.from_arrays(*numbers, rest if rest.size else None, format="ply")


def covariances(splats: Splats) -> torch.Tensor:
    turn = matrices(splats.quats)
    return turn @ torch.diag_embed(splats.scales**2) @ turn.mT


def assert_alike(found: Splats, wanted: Splats, places: float, share: float = 0.07) -> None:
    """The same up to what packing loses: places in units, scales and rotations as a share of the covariance, colours
    and opacities a level or so of 255."""
    assert (found.means - wanted.means).abs().max() <= places
    error = (covariances(found) - covariances(wanted)).flatten(1).norm(dim=1)
    assert (error / covariances(wanted).flatten(1).norm(dim=1)).max() < share
    assert (found.opacities - wanted.opacities).abs().max() <= 0.51 / 255
    assert (found.colors - wanted.colors).abs().max() < 0.008
    assert found.rest.shape == wanted.rest.shape


@pytest.mark.parametrize("rest", [0, 3, 8, 15])
def test_a_compressed_ply(tmp_path, rest):
    splats = some(300, rest)  # two chunks
    (tmp_path / "a.compressed.ply").write_bytes(compressed(splats))
    file = read_splats(tmp_path / "a.compressed.ply")
    assert (file.name, file.up, file.splats.degree) == ("a", None, splats.degree)
    assert_alike(file.splats, splats, places=2.01 / 1023, share=0.03)
    if rest:
        assert (file.splats.rest - splats.rest).abs().max() <= 0.51 / 32


def test_an_old_compressed_ply_has_no_bounds_of_colors(tmp_path):
    """Its colours lie between 0 and 1."""
    splats = some(300)
    whole = compressed(splats)
    (tmp_path / "new.ply").write_bytes(whole)
    head, data = whole.split(b"end_header\n", 1)
    bounds = np.frombuffer(data[: 2 * 72], "<f4").reshape(2, 18)
    lines = [line for line in head.decode().splitlines() if line[-2:] not in ("_r", "_g", "_b")]
    old = "\n".join([*lines, "end_header", ""]).encode() + bounds[:, :12].tobytes() + data[2 * 72 :]
    (tmp_path / "old.ply").write_bytes(old)
    new, old = (read_splats(tmp_path / name).splats for name in ("new.ply", "old.ply"))
    assert torch.equal(new.means, old.means)
    assert torch.equal(new.opacities, old.opacities)
    low, high = (torch.from_numpy(bounds[:, k : k + 3].copy()).repeat_interleave(256, 0)[:300] for k in (12, 15))
    torch.testing.assert_close(new.colors, (low + old.colors * (high - low)).clamp_min(0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("rest", [0, 3, 8, 15])
def test_an_spz(tmp_path, version, rest):
    splats = some(rest=rest)
    gsply.write_spz(tmp_path / "a.spz", data_of(splats), version=version)
    file = read_splats(tmp_path / "a.spz")
    assert (file.name, file.up) == ("a", (0, 1, 0))
    assert_alike(file.splats, splats, places=2**-13)
    if rest:
        assert (file.splats.rest - splats.rest).abs().max() <= 0.51 / 128


def test_an_spz_of_version_2(tmp_path):
    """By hand: 24-bit positions, opacity, colour, scale, three bytes of a quaternion."""
    header = struct.pack("<4sIIBBBB", b"NGSP", 2, 1, 0, 8, 0, 0)
    place = b"".join(struct.pack("<i", v)[:3] for v in (256, -512, 128))
    content = header + place + bytes([255, 128, 0, 255, 160, 176, 144, 128, 128, 255])
    (tmp_path / "a.spz").write_bytes(gzip.compress(content))
    splats = read_splats(tmp_path / "a.spz").splats
    assert splats.means.tolist() == [[1, -2, 0.5]]
    torch.testing.assert_close(splats.scales, torch.tensor([[1.0, 2.7182818, 0.36787944]]))
    torch.testing.assert_close(splats.quats, torch.tensor([[0.0, 0, 0, 1]]), atol=6e-3, rtol=0)
    torch.testing.assert_close(splats.opacities, torch.tensor([1.0]), atol=2e-6, rtol=0)
    torch.testing.assert_close(splats.colors[0, 1:], torch.tensor([0.0, 0.5 + 0.28209479 * 0.5 / 0.15]))


@pytest.mark.parametrize("spread", [0.001, 1.0, 1000.0])
def test_a_written_spz_comes_back_turned(tmp_path, spread):
    """x right, y up, z back, as precise as its 24 bits allow."""
    splats = some()
    splats.means *= spread
    write_spz(tmp_path / "a.spz", splats)
    file = read_splats(tmp_path / "a.spz")
    assert file.up == (0, 1, 0)
    assert_alike(file.splats.moved(TURN, torch.zeros(3), 1.0), splats, places=max(spread * 2, 1) * 2**-21)
    assert_same(read_splats(tmp_path / "a.spz").splats, file.splats, tolerance=0)


def test_an_spz_has_an_end(tmp_path):
    splats = some()
    splats.means[3, 1] = 2.0**22 - 1
    write_spz(tmp_path / "a.spz", splats)
    assert (read_splats(tmp_path / "a.spz").splats.means[3, 1] + splats.means[3, 1]).abs() <= 1
    splats.means[3, 1] = 2.0**23
    with pytest.raises(UserError, match=r"a splat lies at 8.39e\+06, and .spz ends at 4194304; take .ply"):
        write_spz(tmp_path / "b.spz", splats)
    assert not (tmp_path / "b.spz").exists()


def test_biker_is_the_same_in_both_formats(assets):
    """152,746 splats of SuperSplat, packed in two ways and in two frames."""
    files = [assets / "splats" / name for name in ("biker.compressed.ply", "biker.spz")]
    if missing := [file.name for file in files if not file.is_file()]:
        pytest.skip(f"no {', '.join(missing)} among the assets")
    ply, spz = map(read_splats, files)
    assert (ply.name, ply.up, spz.name, spz.up) == ("biker", None, "biker", (0, 1, 0))
    assert len(ply.splats) == len(spz.splats) == 152_746
    assert_alike(spz.splats.moved(TURN, torch.zeros(3), 1.0), ply.splats, places=2**-13 + 1e-6)
    height = ply.splats.means[:, 1].quantile(0.99) - ply.splats.means[:, 1].quantile(0.01)
    assert height > 2.5 * (ply.splats.means[:, 0].quantile(0.99) - ply.splats.means[:, 0].quantile(0.01))  # he stands


@pytest.mark.parametrize("backend", ["cpp", "auto", "python"])
def test_whatever_backend_is_asked_for_python_reads(tmp_path, backend):
    splats = some()
    gsply.use_backend(backend)
    write_spz(tmp_path / "a.spz", splats)
    assert gsply.active_backend() == "python"
    gsply.use_backend(backend)
    read_splats(tmp_path / "a.spz")
    assert gsply.active_backend() == "python"

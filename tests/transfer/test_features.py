"""What the network sees, against encoders made for the purpose, finite differences and the command line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import matplotlib
import pytest
import torch
from commands import refused, run
from encoders import tiny_encoder

from arf.errors import UserError
from arf.media import image
from arf.style import natural
from arf.transfer.features import FILTER, _enlarge, features, filters, heat, sensitivity, strongest
from arf.transfer.settings import FeaturesSettings

PALETTE = torch.tensor(matplotlib.colormaps["magma"].colors)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return natural.pictures(1, 64)[0, :, :48].permute(1, 2, 0).contiguous()  # [48, 64, 3]


@pytest.fixture
def files(photo, tmp_path):
    image.write(tmp_path / "photo.png", photo)
    image.write(tmp_path / "other.png", natural.pictures(2, 64)[1].permute(1, 2, 0))
    return tmp_path / "photo.png", tmp_path / "other.png"


def test_the_sheet_shows_the_filters_weights():
    encoder = tiny_encoder()
    weight = encoder.convolutions["relu1_1"].weight  # [8, 3, 3, 3]
    weight[0] = 0
    weight[0, 0, 1, 2] = 4.0  # red, at the right of the middle row
    weight[0, 2, 0, 0] = -2.0  # blue, top left
    shown = filters(encoder)
    tile = shown[8 : 8 + FILTER, 8 : 8 + FILTER].unflatten(0, (3, -1)).unflatten(2, (3, -1))  # [3, s, 3, s, 3]
    assert torch.equal(tile, tile[:, :1, :, :1].expand_as(tile))  # sharp pixels
    expected = torch.full((3, 3, 3), 0.5)
    expected[1, 2, 0], expected[0, 0, 2] = 1.0, 0.25
    torch.testing.assert_close(tile[:, 0, :, 0], expected)
    second = shown[8 : 8 + FILTER : FILTER // 3, 16 + FILTER : 16 + 2 * FILTER : FILTER // 3]  # [3, 3, 3]
    torch.testing.assert_close(second, (weight[1] / weight[1].abs().max()).permute(1, 2, 0) / 2 + 0.5)


def test_the_strongest_channel_is_found_and_its_map_lies_on_the_picture(photo):
    encoder = tiny_encoder()
    weight, bias = encoder.convolutions["relu2_1"].weight, encoder.convolutions["relu2_1"].bias
    weight[5], bias[5] = 0, 0
    weight[5, :, 1, 1] = 1000.0
    dark = torch.full((65, 63, 3), 0.5)
    dark[40:42, 20:22] = 1.0
    channels = strongest(encoder, dark, "relu2_1", 3)
    assert [len(channels), channels[0].number] == [3, 5]
    assert channels[0].share == pytest.approx(1, abs=1e-3)
    assert channels[0].caption == "channel 5 · 100.0%"
    assert channels[0].heat.shape == dark.shape
    rows, columns = (channels[0].heat == PALETTE[-1]).all(2).nonzero().T
    assert (rows - 40.5).abs().max() <= encoder.reach("relu2_1") + 2  # around the dot
    assert (columns - 20.5).abs().max() <= encoder.reach("relu2_1") + 2
    assert len(strongest(encoder, photo, "relu1_1", 100)) == 8  # all there are


def test_a_tap_is_enlarged_to_the_pixels_that_it_stands_for():
    middles = (torch.arange(5.0) + 0.5) * 4  # of cells of 4 pixels
    shown = _enlarge(middles.expand(3, 5), 4, (13, 23))
    assert shown.shape == (13, 23)
    torch.testing.assert_close(shown[:, 2:18], (torch.arange(2.0, 18.0) + 0.5).expand(13, 16))
    assert (shown[:, 18:] == 18).all()


def test_what_only_answers_to_the_border_is_not_strong():
    encoder = tiny_encoder()
    weight, bias = encoder.convolutions["relu1_1"].weight, encoder.convolutions["relu1_1"].bias
    weight[3], bias[3] = 0, 0
    weight[3, :, 1, 1], weight[3, :, 1, 0] = 1e4, -1e4  # nothing on a plain picture, but at its left border
    plain = encoder.mean.flatten().expand(20, 30, 3) + 0.1
    shares = {channel.number: channel.share for channel in strongest(encoder, plain, "relu1_1", 8)}
    assert shares[3] == pytest.approx(0, abs=1e-6)
    assert sum(shares.values()) == pytest.approx(1)


def test_shares_are_those_of_the_gram_matrix(photo):
    encoder = tiny_encoder()
    channels = strongest(encoder, photo, "relu1_2", 8)
    inside = encoder(photo.permute(2, 0, 1)[None], ["relu1_2"])["relu1_2"][0, :, 2:-2, 2:-2].flatten(1)
    energy = (inside @ inside.T).diagonal()
    assert [c.number for c in channels] == energy.argsort(descending=True).tolist()
    assert [c.share for c in channels] == pytest.approx((energy / energy.sum()).sort(descending=True).values.tolist())


@pytest.mark.parametrize("channel", [None, 3])
def test_sensitivity_is_the_length_of_a_finite_difference_gradient(photo, channel):
    encoder, pixels = tiny_encoder("average").double(), photo[:16, :20].double()

    def energy(picture):
        found = encoder(picture.permute(2, 0, 1)[None], ["relu2_1"])["relu2_1"][0]
        return float((found if channel is None else found[[channel]]).square().sum() / 2)

    found = sensitivity(encoder, pixels, "relu2_1", channel)
    assert found.shape == (16, 20)
    for y, x in [(0, 0), (5, 7), (11, 19), (15, 4)]:
        slopes = []
        for plane in range(3):
            step = torch.zeros_like(pixels)
            step[y, x, plane] = 1e-6
            slopes.append((energy(pixels + step) - energy(pixels - step)) / 2e-6)
        assert float(found[y, x]) == pytest.approx(math.hypot(*slopes), rel=1e-4)


def test_pixels_out_of_reach_of_what_is_active_do_not_count():
    encoder = tiny_encoder()
    for convolution in encoder.convolutions.values():
        convolution.bias.zero_()
    picture = encoder.mean.flatten().repeat(96, 96, 1)  # gives features of exactly 0
    picture[48, 48] += 0.4
    found = sensitivity(encoder, picture, "relu3_1")
    apart = (torch.arange(96) - 48).abs()
    apart = torch.maximum(apart[:, None], apart[None])  # [96, 96], pixels from the dot
    active = encoder.reach("relu3_1") + encoder.stride("relu3_1")  # pixels that the active positions stand for
    assert found[apart > active + encoder.reach("relu3_1")].abs().max() == 0
    assert found[apart <= encoder.reach("relu3_1")].max() > 0


def test_heat_runs_from_the_darkest_to_the_brightest_color():
    shown = heat(torch.arange(10_000.0).reshape(100, 100))
    assert torch.equal(shown[0, 0], PALETTE[0])
    assert torch.equal(shown[-1, -1], PALETTE[-1])
    assert (shown.sum(2).flatten().diff() >= -1e-6).all()
    single = torch.zeros(100, 100)
    single[3, 4] = 1e-3
    assert torch.equal(heat(single)[3, 4], PALETTE[-1])  # a single active pixel shows
    assert torch.equal(heat(torch.zeros(4, 4)), PALETTE[0].expand(4, 4, 3))


def test_everything_is_found_at_the_size_asked_for(photo):
    settings = FeaturesSettings(layers=("relu2_1", "pool1"), channels=3, size=32, device="cpu")
    seen = []
    found = features(photo, settings, photo.flip(1), lambda what, step, steps, _: seen.append((what, step == steps)))
    assert found.photo.shape == (24, 32, 3)
    assert [layer.name for layer in found.layers] == ["relu2_1", "pool1"]
    assert {what for what, done in seen if done} == {"relu2_1", "pool1"}
    for layer in found.layers:
        assert len(layer.channels) == 3
        assert layer.sensitivity.shape == layer.compared.recomposed.shape == found.photo.shape
        assert layer.compared.matches.nearest.shape == (12, 16)
    alone = features(photo, settings)
    assert alone.other is None
    assert all(layer.compared is None for layer in alone.layers)


def test_the_size_that_fits_into_memory_is_said(photo, monkeypatch):
    settings = FeaturesSettings(layers=("relu2_1",), channels=1, size=64, device="cpu")
    monkeypatch.setattr("arf.transfer.features.free_memory", lambda device: 10**6)
    with pytest.raises(UserError, match=r"--size 64 takes .* --size \d+ fits") as refusal:
        features(photo, settings)
    features(photo, replace(settings, size=int(str(refusal.value).split()[-2])))


def test_vgg19(vgg19, photo):
    shown = filters(vgg19)
    assert shown.shape[1] == 8 * (FILTER + 8) + 8
    settings = FeaturesSettings(encoder="vgg19", layers=("relu3_1",), size=64, device="cpu")
    (layer,) = features(photo, settings, photo).layers
    assert layer.compared.matches.mean_distance == pytest.approx(0, abs=1e-5)
    assert layer.compared.matches.used == 1
    assert len({channel.number for channel in layer.channels}) == 12


def test_help_imports_no_torch():
    code = (
        "import sys; from arf import cli\n"
        "try: cli.main(['features', '--help'])\n"
        "except SystemExit as end: sys.exit(bool(end.code) or any(m in sys.modules for m in ('torch', 'matplotlib')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--layers" in done.stdout


def test_the_command_writes_pictures_and_a_report(files, tmp_path, capsys):
    photo, other = files
    folder = tmp_path / "seen"
    options = ["--layers", "relu2_1", "relu3_1", "--channels", 5, "--size", 48, "--output", folder, "--device", "cpu"]
    code, out, err = run(capsys, "features", photo, "--other", other, *options, "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["report"] == str(folder / "report.html")
    assert list(result["layers"]) == ["relu2_1", "relu3_1"]
    assert len(result["layers"]["relu3_1"]["channels"]) == 5
    assert 0 < result["layers"]["relu3_1"]["mean_distance"] < 1
    assert 0 < result["layers"]["relu3_1"]["used"] <= 1
    kinds = ("activations", "sensitivity", "matches", "recomposed")
    pictures = {f"{kind}-{layer}.png" for kind in kinds for layer in ("relu2_1", "relu3_1")}
    assert {path.name for path in folder.iterdir()} == pictures | {"filters.png", "report.html"}
    assert image.read(folder / "recomposed-relu3_1.png").shape == (36, 48, 3)
    page = (folder / "report.html").read_text()
    assert "photo.png" in page
    assert "mean cosine distance" in page


def test_the_folder_and_the_preset(files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("features:\n  layers: [relu1_1]\n  channels: 2\n  size: 9999\n")
    code, out, _ = run(capsys, "features", "photo.png", "--config", "p.yaml", "--size", 32, "--quiet")
    assert code == 0
    assert out.startswith("outputs/photo-features/report.html")
    written = {path.name for path in (tmp_path / "outputs" / "photo-features").iterdir()}
    assert written == {"filters.png", "activations-relu1_1.png", "sensitivity-relu1_1.png", "report.html"}
    assert image.read("outputs/photo-features/activations-relu1_1.png").shape[1] == 2 * (32 + 8) + 8
    line = "features", "photo.png", "--layers", "relu2_1", "--size", 32
    assert "exists already, and so do 3 others; give --overwrite" in refused(capsys, *line)
    (tmp_path / "outputs" / "photo-features" / "mine.png").touch()
    assert run(capsys, *line, "--overwrite")[0] == 0
    written = {path.name for path in (tmp_path / "outputs" / "photo-features").iterdir()}  # none of other layers
    assert written == {"filters.png", "activations-relu2_1.png", "sensitivity-relu2_1.png", "report.html", "mine.png"}
    inside = "outputs/photo-features/filters.png"
    said = refused(capsys, "features", inside, "--output", "outputs/photo-features", "--overwrite")
    assert f"{inside} is read by this command" in said


def test_what_is_wrong_is_said_in_one_line(files, tmp_path, capsys):
    photo, other = files
    where = ["--output", tmp_path / "seen", "--device", "cpu"]
    unknown = refused(capsys, "features", photo, "--layers", "relu9_1", *where)
    assert "no layer relu9_1" in unknown
    assert "relu3_1" in unknown
    assert "no layer given" in refused(capsys, "features", photo, "--layers", *where)
    wrong = refused(capsys, "features", photo, "--layers", "relu1_1", "--channel", 16, *where)
    assert "relu1_1 has no channel 16; its 16 channels are 0 to 15" in wrong
    image.write(tmp_path / "line.png", torch.rand(3, 90, 3))
    small = refused(capsys, "features", tmp_path / "line.png", "--size", 60, *where)
    assert "the photo at --size 60: 60×2 pixels are too few for relu4_1, which needs 8 a side" in small
    assert "no picture at" in refused(capsys, "features", tmp_path / "none.jpg", *where)
    assert "no picture at" in refused(capsys, "features", photo, "--other", tmp_path / "none.jpg", *where)
    (tmp_path / "text.jpg").write_text("not a picture")
    assert "not a picture" in refused(capsys, "features", photo, "--other", tmp_path / "text.jpg", *where)
    assert "size is 8" in refused(capsys, "features", photo, "--size", 8, *where)
    assert "channels is 0" in refused(capsys, "features", photo, "--channels", 0, *where)
    assert not (tmp_path / "seen").exists()
    taken = refused(capsys, "features", photo, "--layers", "relu1_1", "--size", 16, "--output", other)
    assert f"cannot write {other}" in taken
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png", "other.png", "line.png", "text.jpg"}

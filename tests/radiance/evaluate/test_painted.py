"""A painting of the tiny room measured, beside frames of other programs; the page and the command."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import pytest
import torch
from tiny import FIT, STYLIZE

from arf.cli import main
from arf.errors import UserError
from arf.media import image
from arf.networks.paint import AdainPainter
from arf.networks.settings import AdainSettings
from arf.radiance.capture.photographs import Photograph
from arf.radiance.capture.views import Views
from arf.radiance.evaluate.films import UNSTYLISED, open_scene
from arf.radiance.evaluate.page import HEADER, rows, text
from arf.radiance.evaluate.painted import Evaluation, measure
from arf.radiance.evaluate.settings import EvaluateSettings
from arf.radiance.fields.seen import Seen
from arf.radiance.fit.loop import fit
from arf.radiance.paint.stylize import stylize
from arf.style import encoder

LOAD = encoder.load  # as it is, and not as most tests have it
CPU = torch.device("cpu")
QUICK = EvaluateSettings(length=96, pairs=4, photographs=3, device="cpu")
FLAGS = ["--length", "96", "--pairs", "4", "--photographs", "3", "--device", "cpu", "--quiet"]


@pytest.fixture(autouse=True)
def compact(monkeypatch) -> None:
    """The encoder that figures are measured with."""
    monkeypatch.setattr(encoder, "load", LOAD)


@pytest.fixture(scope="module")
def evaluation(stylized) -> Evaluation:
    return measure([stylized], QUICK)


@pytest.fixture(scope="module")
def plain_frames(fitted, tmp_path_factory) -> Path:
    """What another program might have rendered along the path: the fit, without paint."""
    folder = tmp_path_factory.mktemp("peer") / "plain"
    scene = open_scene(fitted, QUICK, CPU)
    for k in range(len(scene.path)):
        image.write(folder / f"frame_{k}.png", scene.pictures(k)[UNSTYLISED])  # names that sort as numbers
    return folder


def test_a_painting_stands_beside_the_field_without_paint(evaluation, stylized, paintings):
    plain, painted = evaluation.films
    assert plain.name == UNSTYLISED
    assert painted.name == f"{paintings[0].stem} ({stylized.name})"
    assert plain.structure == 0 < painted.structure
    assert 0 < plain.content < painted.content
    assert all(painted.strength[name] < plain.strength[name] for name in ("nnfm", "gram", "color"))
    for film in evaluation.films:
        assert film.consistency["short"].pairs == film.consistency["long"].pairs == 4
        assert film.consistency["long"].visible < film.consistency["short"].visible < 1
        assert 0 < film.consistency["short"].rmse < 0.1


def test_other_styles_can_be_asked_for(evaluation, stylized, paintings):
    painted = measure([stylized], QUICK, styles=paintings[1:]).films[1]
    assert painted.strength["color"] > 2 * evaluation.films[1].strength["color"]
    assert painted.consistency["long"].rmse == evaluation.films[1].consistency["long"].rmse


def test_frames_of_another_program_are_measured_as_our_own_are(fitted, plain_frames, paintings):
    plain, theirs = measure([fitted], QUICK, plain_frames, paintings).films
    for gap in ("short", "long"):
        assert theirs.consistency[gap].rmse == pytest.approx(plain.consistency[gap].rmse, rel=0.02)  # of eight bits
        assert theirs.consistency[gap].visible == plain.consistency[gap].visible
    assert theirs.strength["color"] == pytest.approx(plain.strength["color"], abs=0.002)
    assert theirs.structure < 0.02
    assert theirs.content is None


def test_the_background_is_no_style(fitted, plain_frames, paintings, monkeypatch, tmp_path):
    """The right half is said to be background, and is white in one film: no figure of colour sees it."""
    left = torch.arange(28) < 14
    for file in plain_frames.iterdir():
        image.write(tmp_path / "white" / file.name, image.read(file).where(left[:, None], 1.0))
    with_right_half = measure([fitted], QUICK, tmp_path / "white", paintings).films[1].structure
    monkeypatch.setattr(Seen, "covered", property(lambda seen: left.expand(seen.depth.shape)))
    films = [measure([fitted], QUICK, folder, paintings).films[1] for folder in (plain_frames, tmp_path / "white")]
    assert films[1].strength["color"] == films[0].strength["color"]
    assert films[1].structure != with_right_half  # of other positions
    assert films[1].consistency["short"].rmse != films[0].consistency["short"].rmse  # the film is another one


def test_frames_painted_one_by_one_agree_far_less(fitted, plain_frames, paintings, evaluation, tmp_path):
    painter = AdainPainter.open([image.read_style(paintings[0])], (), AdainSettings(device="cpu"))
    for file in plain_frames.iterdir():
        frame = image.resize(image.read(file), 112, 112)
        image.write(tmp_path / "one_by_one" / file.name, image.resize(painter(frame), 28, 28))
    theirs = measure([fitted], QUICK, tmp_path / "one_by_one", paintings[:1]).films[1]
    for gap in ("short", "long"):
        assert theirs.consistency[gap].rmse > 1.5 * evaluation.films[1].consistency[gap].rmse


def test_without_a_style_there_is_no_strength(fitted, plain_frames):
    assert all(film.strength == {} for film in measure([fitted], QUICK, plain_frames).films)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "frame_3.png").unlink(), "holds 95 pictures, and the path has 96 frames"),
        (lambda folder: image.write(folder / "frame_0.png", torch.zeros(28, 40, 3)), "40×28 pixels, and the path's"),
        (lambda folder: (folder / "frame_0.png").write_bytes(b"no picture"), "frame_0.png"),
    ],
)
def test_frames_that_are_none_of_the_path(spoil, said, fitted, plain_frames, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for file in plain_frames.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    spoil(folder)
    with pytest.raises(UserError, match=said):
        measure([fitted], QUICK, folder)


def test_a_path_that_is_too_short(stylized, room, tmp_path, capsys):
    assert main(["render", str(stylized.path), "--frames", "3", "--save-path", str(tmp_path / "path.json"),
                 "--output", str(tmp_path / "film.mp4"), "--quiet"]) == 0  # fmt: skip
    with pytest.raises(UserError, match="3 frames, and pairs are up to 7"):
        measure([stylized], replace(QUICK, path=str(tmp_path / "path.json")))


@pytest.mark.parametrize("kind", ["fisheye", "equirectangular"])
def test_a_path_of_cameras_that_are_no_pinholes(kind, stylized, tmp_path):
    path = tmp_path / "path.json"
    assert main(["render", str(stylized.path), "--frames", "9", "--save-path", str(path), "--width", "32",
                 "--height", "32", "--output", str(tmp_path / "film.mp4"), "--quiet"]) == 0  # fmt: skip
    path.write_text(json.dumps({**json.loads(path.read_text()), "camera_type": kind}))
    with pytest.raises(UserError, match=f"by pinhole cameras, and the path has {kind} ones"):
        measure([stylized], replace(QUICK, path=str(path)))


def test_paintings_of_one_fit_share_the_row_without_paint(stylized, evaluation):
    films = measure([stylized, stylized], QUICK).films
    assert films == [evaluation.films[k] for k in (0, 1, 1)]


def test_paintings_of_another_fit_have_a_row_of_their_own(stylized, room, paintings, tmp_path):
    other = fit(room, replace(FIT, steps=20), tmp_path)
    painting = stylize(other, paintings[:1], replace(STYLIZE, steps=2), tmp_path)
    films = measure([stylized, painting], QUICK).films
    name = f"waves ({painting.name})"
    assert [film.name for film in films] == [UNSTYLISED, f"waves ({stylized.name})", f"{UNSTYLISED}: {name}", name]


def test_paintings_of_another_place_are_not_compared(stylized, room, paintings, tmp_path):
    shutil.copytree(room, tmp_path / "other")
    listed = tmp_path / "other" / "transforms.json"
    meta = json.loads(listed.read_text())
    meta["frames"] = meta["frames"][1:]
    listed.write_text(json.dumps(meta))
    other = fit(tmp_path / "other", replace(FIT, steps=2), tmp_path)
    painting = stylize(other, paintings[:1], replace(STYLIZE, steps=2), tmp_path)
    with pytest.raises(UserError, match="other captures"):
        measure([stylized, painting], QUICK)


def test_a_path_keeps_its_own_shape(fitted, tmp_path):
    file = tmp_path / "path.json"
    call = ["render", str(fitted.path), "--width", "100", "--height", "40", "--frames", "60", "--save-path", str(file)]
    assert main([*call, "--output", str(tmp_path / "film.mp4"), "--quiet"]) == 0
    found = measure([fitted], replace(QUICK, path=str(file), size=64), tmp_path / "film")
    assert found.size == (26, 64)
    plain, theirs = found.films
    assert theirs.consistency["short"].rmse == pytest.approx(plain.consistency["short"].rmse, rel=0.3)


def test_rows_and_their_text(evaluation):
    table = rows(evaluation)
    assert [row["film"] for row in table] == [film.name for film in evaluation.films]
    assert all(set(row) == set(HEADER) for row in table)
    lines = text(table).splitlines()
    assert len(lines) == 3
    assert len(set(map(len, lines))) == 1
    assert "RMSE" in lines[0]
    assert "LPIPS" not in lines[0]  # frames of 28 pixels
    assert "32 pixels" in evaluation.lacks


def test_what_a_mask_leaves_out_is_in_no_figure(stylized):
    mask = torch.ones(28, 28, dtype=torch.bool)
    mask[:, 14:] = False
    plain, found = Views.photograph, []

    def spoiled(self, i: int, fill: float) -> Photograph:
        photograph = plain(self, i)
        image = photograph.image.where(mask[..., None], torch.tensor(fill))
        return replace(photograph, image=image, mask=mask)

    for fill in (0.0, 1.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Views, "photograph", partialmethod(spoiled, fill=fill))
            found.append([film.content for film in measure([stylized], QUICK).films])
    assert found[0] == found[1]
    assert found[0] != [film.content for film in measure([stylized], QUICK).films]


def test_what_was_not_seen_is_none_in_a_row(evaluation):
    film = evaluation.films[1]
    blind = replace(film.consistency["long"], rmse=math.nan, pairs=0, worst=[])
    table = rows(replace(evaluation, films=[replace(film, consistency={**film.consistency, "long": blind})]))
    assert table[0]["long_rmse"] is None
    assert table[0]["short_rmse"] > 0


def test_the_command_writes_a_page_and_figures(stylized, tmp_path, capsys):
    page = tmp_path / "room.html"
    call = ["evaluate", str(stylized.path), "--against", str(stylized.path), "--output", str(page), *FLAGS]
    assert main(call) == 0
    said = capsys.readouterr().out
    written = json.loads((tmp_path / "room.json").read_text())
    assert [row["film"] for row in written["films"]] == [UNSTYLISED, *2 * [f"waves ({stylized.name})"]]
    assert written["settings"]["length"] == 96
    assert written["runs"] == [str(stylized.path)] * 2
    assert UNSTYLISED in said
    html = page.read_text()
    assert "the pairs that agree least" in html
    assert html.count("data:image/png") >= 12
    assert main(call) == 2  # it is there already
    assert "--overwrite" in capsys.readouterr().err
    assert main([*call, "--overwrite"]) == 0


def test_the_command_measures_fits_as_before(fitted, capsys):
    assert main(["evaluate", str(fitted.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["psnr"] == pytest.approx(fitted.info["metrics"]["psnr"], abs=1e-3)
    assert not (fitted.path / "evaluation.html").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--style", "a.png"], "--style has no use for a fit without --frames"),
        (["--pairs", "3"], "--pairs has no use for a fit without --frames"),
        (["--output", "a.html"], "--output has no use for a fit without --frames"),
        (["--frames", "nowhere"], "no folder nowhere"),
        (["--frames", ".", "--output", "a.png"], "must end in .html"),
    ],
)
def test_flags_that_make_no_sense_of_a_fit(flags, said, fitted, capsys):
    assert main(["evaluate", str(fitted.path), *flags, "--quiet"]) == 2
    assert said in capsys.readouterr().err


def test_against_is_a_painting(stylized, fitted, capsys, tmp_path):
    call = ["evaluate", str(stylized.path), "--against", str(fitted.path), "--output", str(tmp_path / "a.html")]
    assert main(call) == 2
    assert "a stylize run is needed" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())

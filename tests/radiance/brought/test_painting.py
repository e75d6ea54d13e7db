"""Splats painted, filmed, exported and looked at from the command line; the file may then be gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from brought_things import downwards, thing

from arf import cli
from arf.jobs.runs import Run
from arf.media import image
from arf.metrics import psnr
from arf.radiance.fields.splats.files.reading import read_splats
from arf.radiance.opening import open_painted, open_run
from arf.radiance.viewer.opened import OpenedScene

CPU = torch.device("cpu")
VIEWS = ("--views", 5, "--view-size", 64)
QUICK = (
    *VIEWS, "--steps", 12, "--save-every", 4, "--layers", "relu2_1", "--learning-rate", 0.02, "--content-weight", 0.02,
    "--device", "cpu", "--json",
)  # fmt: skip


def called(capsys, *arguments) -> dict:
    """What a command says as JSON."""
    assert cli.main([*map(str, arguments)]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def painted(file, paintings, tmp_path, capsys) -> Run:
    made = called(capsys, "stylize", file, "--style", paintings[0], "--output", tmp_path / "outputs", *QUICK)
    return Run.open(made["run"])


def test_a_painting_changes_colours_alone(painted, file):
    scene, capture = open_painted(painted, CPU)
    field, before = scene.field, open_run(file).load("model")[0]
    assert (painted.info["fit"]["sight"]["cut_out"], capture.name) == (True, "thing")
    assert (field.splats.opacities == before["opacities"]).all()
    assert scene.drop == 0.01
    assert (scene.look.theta - field.colors).abs().mean() > 0.05
    metrics = painted.info["metrics"]
    assert metrics["columns"] == len(thing())
    assert metrics["operator_bytes_per_pixel"] < 6 * metrics["entries_per_pixel"] + 9
    assert image.read(painted.path / "preview.png").shape[0] > 4 * 40
    assert not (painted.path / "config.yml").exists()  # nerfstudio has no model for it


def test_without_matrices_it_is_the_same_painting(painted, file, paintings, tmp_path, capsys):
    arguments = ("stylize", file, "--style", paintings[0], "--output", tmp_path / "other", *QUICK)
    drawn = called(capsys, *arguments, "--no-cache")
    assert drawn["entries_per_pixel"] == 0
    one, two = (open_painted(Run.open(path), CPU)[0].look.theta for path in (painted.path, drawn["run"]))
    assert (one - two).abs().mean() < 0.02  # less the lightest 1 % of each pixel, and what Adam makes of it


def test_films_and_views_need_no_file(painted, file, tmp_path, capsys):
    file.unlink()
    said = called(capsys, "render", painted.path, "--path", "orbit", "--frames", 3, "--compare", "--json")
    frames = [image.read(Path(said["video"]).with_suffix("") / f"{k:05d}.png") for k in range(3)]
    assert frames[0].shape[0] == 1080 or frames[0].shape[1] == 2 * 1080
    before, after = frames[0].split(frames[0].shape[1] // 2, dim=1)
    assert psnr(before, after) < 25
    half = called(capsys, "render", painted.path, "--path", "orbit", "--frames", 1, "--strength", 0.5, "--json")
    between = image.read(Path(half["video"]).with_suffix("") / "00000.png")
    assert psnr(between, (before + after) / 2) > 45
    scene, capture = open_painted(painted, CPU)
    viewed = OpenedScene(scene.field, scene.look, capture.train).render(capture.train.cameras[0], 1.0, False)
    assert viewed.isfinite().all()


def test_the_painted_file_stands_where_the_first_stood(painted, file, tmp_path, capsys):
    said = called(capsys, "export", painted.path, "--json")
    assert (said["format"], said["splats"], "psnr" in said) == ("ply", len(thing()), False)
    again, first = read_splats(Path(said["file"])), read_splats(file)
    torch.testing.assert_close(again.splats.means, first.splats.means, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(again.splats.opacities, first.splats.opacities, atol=1e-5, rtol=0)
    assert again.up == (0, -1, 0)
    theta = open_painted(painted, CPU)[0].look.theta
    torch.testing.assert_close(again.splats.colors, theta.clamp_min(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("suffix", [".splat", ".spz"])
def test_other_formats_hold_the_same_splats(painted, file, tmp_path, capsys, suffix):
    called(capsys, "export", painted.path, "--output", tmp_path / f"out{suffix}", "--json")
    again, first = read_splats(tmp_path / f"out{suffix}").splats, read_splats(file).splats
    assert len(again) == len(first)
    low, high = first.means.amin(0), first.means.amax(0)
    up = suffix == ".spz"  # y up
    found = torch.stack([again.means.amin(0), again.means.amax(0)])
    if up:
        found = torch.stack([found.amin(0), found.amax(0)]) * torch.tensor([1.0, -1, -1])
        found = torch.stack([found.amin(0), found.amax(0)])
    torch.testing.assert_close(found, torch.stack([low, high]), atol=2e-3, rtol=0)


def test_an_upright_file_is_laid_down_for_viewers(file, tmp_path, capsys):
    from arf.radiance.fields.splats.files.ply import write_ply

    write_ply(tmp_path / "upright.ply", thing(), up="z")
    called(capsys, "export", tmp_path / "upright.ply", "--format", "ply", "--output", tmp_path / "down.ply", "--json")
    down = read_splats(tmp_path / "down.ply")
    expected = thing().moved(downwards(), torch.zeros(3), 1.0)
    torch.testing.assert_close(down.splats.means, expected.means, atol=1e-4, rtol=0)
    assert down.up == (0, -1, 0)
    arguments = ("--frame", "capture", "--output", tmp_path / "kept.ply", "--json")
    called(capsys, "export", tmp_path / "upright.ply", "--format", "ply", *arguments)
    kept = read_splats(tmp_path / "kept.ply")
    torch.testing.assert_close(kept.splats.means, thing().means, atol=1e-4, rtol=0)
    assert kept.up == (0, 0, 1)


def test_a_page_of_two_paintings(painted, file, paintings, tmp_path, capsys):
    other = called(capsys, "stylize", file, "--style", paintings[1], "--output", tmp_path / "other", *QUICK)
    said = called(
        capsys, "export", painted.path, other["run"], "--format", "html", "--output", tmp_path / "w.html", "--json"
    )
    page = (tmp_path / "w.html").read_text()
    assert said["bytes"] == len(page.encode())
    assert all(path.stem in page for path in paintings[:2])


def test_a_job_that_was_stopped_goes_on_to_the_same_painting(painted, file, paintings, tmp_path, capsys, monkeypatch):
    from arf.radiance.paint.painter import Painter

    advance = Painter.advance

    def stop_at_six(self):
        if self.step == 6:
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr(Painter, "advance", stop_at_six)
    arguments = ["stylize", file, "--style", paintings[0], "--output", tmp_path / "stopped", *QUICK]
    assert cli.main([*map(str, arguments)]) == 130
    monkeypatch.setattr(Painter, "advance", advance)
    capsys.readouterr()
    run = Run.open(tmp_path / "stopped", finished=False)
    called(capsys, "stylize", "--resume", run.path, "--json")
    one, two = ((path / "model.safetensors").read_bytes() for path in (painted.path, run.path))
    assert one == two


def test_runs_of_two_scenes_share_no_page(painted, tmp_path, paintings, capsys):
    from arf.radiance.fields.splats.files.ply import write_ply

    write_ply(tmp_path / "half.ply", thing().select(torch.arange(2000)))
    other = called(
        capsys, "stylize", tmp_path / "half.ply", "--style", paintings[0], "--output", tmp_path / "h", *QUICK
    )
    output = tmp_path / "w.html"
    arguments = ["export", painted.path, other["run"], "--format", "html", "--output", output]
    assert cli.main([*map(str, arguments)]) == 2
    assert "not of one fit" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(("arguments", "said"), [
    (("export", "F", "F", "--format", "ply"), "holds one run, not 2"),
    (("export", "F", "--format", "spz", "--output", "a.ply"), "must end in .spz"),
    (("export", "F", "--format", "html", "--path", "zigzag"), "no path 'zigzag'"),
    (("export", "F", "--strength", "0.5"), "is photoreal"),
    (("render", "F", "--compare"), "is photoreal"),
    (("stylize", "F", "--style", "P", "--color-resolution", "64"), "leave it out"),
    (("stylize", "F", "--style", "P", "--cameras", "none.json"), "none.json"),
    (("stylize", "F", "--style", "P", "--capture", "none"), "no capture at none"),
    (("stylize", "none.ply", "--style", "P"), "none.ply"),
    (("stylize", "F", "--style", "P", "--views", "1"), "views is 1"),
])  # fmt: skip
def test_refusals_are_one_line(file, paintings, tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    held = {"F": str(file), "P": str(paintings[0])}
    assert cli.main([held.get(a, a) for a in arguments]) == 2
    line = capsys.readouterr().err.strip()
    assert said in line
    assert line.count("\n") == 0
    assert not (tmp_path / "outputs").exists()

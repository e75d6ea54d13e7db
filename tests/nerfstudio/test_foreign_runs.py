"""Runs of plain ns-train, opened as they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from nerfstudio.cameras.rays import RayBundle
from stock import train_stock
from tiny import STYLIZE

from arf.cli import main
from arf.errors import UserError
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_painted, open_photoreal, open_run
from arf.radiance.paint.stylize import stylize

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """A run of nerfstudio's own trainer, its configuration and its model. Read only."""
    return train_stock(tmp_path_factory.mktemp("stock"))


def files_of(folder) -> dict[str, bytes]:
    found = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("events.")]  # still being written
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def test_a_stock_run_opens_as_nerfstudio_renders_it(stock):
    path, _, model = stock
    before = files_of(path)
    run = open_run(path, "fit")
    ours, capture = open_photoreal(run, CPU)
    origins, directions = capture.train.cameras[1].rays()
    traced = ours.trace(capture.train.cameras[1])
    model.eval()
    model.proposal_sampler.set_anneal(1.0)
    one = torch.ones(len(origins), 1)
    with torch.no_grad():
        theirs = model(RayBundle(origins, directions, one, camera_indices=one.int()))["rgb"]
    torch.testing.assert_close(traced.color, theirs, rtol=0, atol=2e-6)
    assert files_of(path) == before


def test_its_cameras_are_those_it_was_trained_with_poses_corrected(stock):
    path, config, model = stock
    run = open_run(path / "config.yml")
    _, capture = open_photoreal(run, CPU)
    parsed = config.pipeline.datamanager.dataparser.setup().get_dataparser_outputs("train")
    change = model.camera_optimizer(torch.arange(len(parsed.cameras))).detach()
    wanted = change[:, :, :3] @ parsed.cameras.camera_to_worlds[:, :, :3]
    torch.testing.assert_close(capture.train.cameras.poses[:, :, :3], wanted, rtol=0, atol=1e-5)
    assert not torch.equal(wanted, parsed.cameras.camera_to_worlds[:, :, :3])
    assert len(capture.train) == model.num_train_data
    assert len(capture.held_out) > 0
    moved = change[:, :, 3] + parsed.cameras.camera_to_worlds[:, :, 3]
    torch.testing.assert_close(capture.train.cameras.poses[:, :, 3], moved, rtol=0, atol=1e-5)
    assert torch.equal(capture.train.cameras.fx, parsed.cameras.fx[:, 0])
    assert [file.name for file in capture.train.files] == [path.name for path in parsed.image_filenames]


def test_a_stock_run_is_repainted_and_the_result_stands_alone(stock, paintings, tmp_path):
    path, _, _ = stock
    copy = shutil.copytree(path, tmp_path / "theirs")
    run = stylize(open_run(copy), paintings[:1], replace(STYLIZE, steps=3, color_resolution=16), tmp_path / "out")
    shutil.rmtree(copy)
    assert json.loads((run.path / "arf.json").read_text())["fit"]["parser"]["name"] == "nerfstudio-data"
    painted, capture = open_painted(run, CPU)
    photoreal, stylized = picture(painted.field, painted.look, capture.train.cameras[0]).split(3, dim=2)
    assert stylized.isfinite().all()
    assert not torch.allclose(stylized, photoreal, atol=0.02)


def test_their_fit_is_found_beside_its_painting(stock, stylized, tmp_path):
    """J11: a second painting of a folder with one run of theirs and one painting of ours."""
    path, *_ = stock
    shutil.copytree(path, tmp_path / "scene" / "nerfacto" / "2026-01-01_000000")
    shutil.copytree(stylized.path, tmp_path / "scene" / "arf" / "2026-01-02_000000")
    assert open_run(tmp_path, "fit").info["method"] == "nerfacto"
    assert open_run(tmp_path).info["kind"] == "stylize"


def test_ours_come_first_and_the_newest_of_theirs_otherwise(stock, fitted, tmp_path):
    path, _, _ = stock
    for stamp in ("2026-01-02_000000", "2026-01-01_000000"):
        shutil.copytree(path, tmp_path / "scene" / "nerfacto" / stamp)
    assert open_run(tmp_path, "fit").name == "2026-01-02_000000"
    shutil.copytree(fitted.path, tmp_path / "scene" / "arf-voxel" / "2025-01-01_000000")
    assert open_run(tmp_path, "fit").info["method"] == "arf-voxel"
    with pytest.raises(UserError, match="a stylize run is needed"):
        open_run(tmp_path, "stylize")


def test_poses_that_moved_since_training_are_refused(stock, tmp_path):
    path, _, _ = stock
    copy = shutil.copytree(path, tmp_path / "theirs")
    frame = json.loads((copy / "dataparser_transforms.json").read_text())
    frame["transform"][0][3] += 0.3
    (copy / "dataparser_transforms.json").write_text(json.dumps(frame))
    with pytest.raises(UserError, match="has changed since the run was trained"):
        open_photoreal(open_run(copy), CPU)


@pytest.mark.parametrize("command", ["stylize", "evaluate", "render", "export", "view"])
def test_a_run_that_cannot_be_traced_is_one_line_and_exit_code_two(stock, tmp_path, capsys, command):
    path, _, _ = stock
    copy = shutil.copytree(path, tmp_path / "splats")
    config = (copy / "config.yml").read_text()
    (copy / "config.yml").write_text(config.replace("nerfacto.NerfactoModelConfig", "tensorf.TensoRFModelConfig"))
    style = ["--style", "none.jpg"] if command == "stylize" else []
    assert main([command, str(copy), *style]) == 2
    said = capsys.readouterr().err.strip()
    assert "cannot be traced" in said
    assert said.count("\n") == 0

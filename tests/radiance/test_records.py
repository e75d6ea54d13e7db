"""arf.json of fits and paintings: what it may not say, whoever wrote it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import FIT, STYLIZE

from arf.cli import main
from arf.errors import UserError
from arf.jobs.runs import Run
from arf.jobs.tensors import load_tensors, save_tensors
from arf.radiance.opening import open_model, open_run
from arf.radiance.records import fit_record, paint_record, source_of

CPU = torch.device("cpu")
Change = Callable[[dict[str, Any]], object]


def copied(run: Run, folder: Path, change: Change) -> Path:
    """A copy of a run that says something else."""
    shutil.copytree(run.path, folder, ignore=shutil.ignore_patterns("events.*", "nerfstudio_models"))
    info = json.loads((folder / "arf.json").read_text())
    change(info)
    (folder / "arf.json").write_text(json.dumps(info))
    return folder


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_model(open_run(path), CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_records_are_what_was_asked(fitted, stylized, room, paintings):
    fit, painting = fit_record(fitted), paint_record(stylized)
    assert (fit.data, fit.settings, fit.parser, fit.scene) == (room.resolve(), FIT, None, "room")
    assert (painting.styles, painting.settings) == ((paintings[0],), STYLIZE)
    assert (painting.fit.run, painting.fit.settings) == (fitted.path, FIT)
    assert source_of(stylized).capture == source_of(fitted).capture == fit.capture
    assert fit.model == painting.model == fitted.info["model"]


def test_what_older_runs_lack_is_filled_in(fitted, tmp_path):
    def older(info):
        del info["capture"]
        del info["model"]["backbone"]
        for name in ("model", "allow_outside"):
            del info["settings"][name]

    open_model(open_run(copied(fitted, tmp_path / "run", older)), CPU)


def setting(**values: Any) -> Change:
    return lambda info: info["settings"].update(values)


def model(**values: Any) -> Change:
    return lambda info: info["model"].update(values)


NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.update(kind=5), "kind: expected str, got int"),
        (lambda i: i.update(kind="soup"), "is a soup run, but a fit run is needed"),
        (lambda i: i.update(finished="no"), "finished: expected bool"),
        (lambda i: i.pop("data"), "missing required field data"),
        (lambda i: i.update(data=5), "data: expected the name of a file"),
        (lambda i: i.update(data="a\0b"), "data"),
        (lambda i: i.pop("settings"), "settings: they are missing"),
        (lambda i: i.update(settings=[1]), "settings: expected object, got array"),
        (setting(zzz=1), "there is no setting 'zzz'"),
        (setting(downscale=NAN), "downscale is nan"),
        (setting(held_out=None), "held_out: expected float, got null"),
        (setting(background=7), "background: expected str, got int"),
        (setting(background="9,9,9"), "background is '9,9,9'"),
        (setting(scene="soup"), "it is one of auto, bounded, unbounded, forward"),
        (setting(seed=10**400), "seed is 100000000000…; it must be between 0 and"),
        (lambda i: i.pop("model"), "model: it is missing"),
        (lambda i: i.update(model="x"), "model: expected object, got str"),
        (lambda i: i.update(scene="../../x"), "scene is '../../x', which is no folder's name"),
        (lambda i: i.update(parser=5), "parser: expected object, got int"),
        (lambda i: i.update(parser={"name": "soup"}), "'soup', which arf does not read"),
        (lambda i: i.update(capture="0" * 16), "has changed since"),
        (model(backbone=[]), r"no backbone \[\]"),
        (model(zzz=1), "there is no setting 'zzz'"),
        (model(resolutions=[]), "there are no resolutions"),
        (model(resolutions=[10**9]), r"resolutions is 1e\+09; it must be between 2 and 1024"),
        (model(resolutions=[1024]), "a voxel grid of resolution 1024 takes .* GiB"),
        (model(step=NAN), "step is nan"),
        (model(step=1e-12), "step is 1e-12; it must be between 0.1 and 4"),
        (model(background="soup"), "background is 'soup'"),
    ],
)
def test_a_fit_that_nobody_made_is_one_line(fitted, tmp_path, change, message, monkeypatch):
    monkeypatch.setattr("arf.jobs.device.free_memory", lambda device: 2**34)
    assert re.search(message, refusal(copied(fitted, tmp_path / "run", change)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i["settings"].pop("drop_weight"), "drop_weight: it is missing"),
        (setting(drop_weight=NAN), "drop_weight is nan"),
        (setting(encoder="soup"), "it is one of compact, vgg19, vgg16"),
        (lambda i: i.update(styles=5), "styles: expected array, got int"),
        (lambda i: i.pop("styles"), "missing required field styles"),
        (lambda i: i.update(fit="x"), "fit: expected object, got str"),
        (lambda i: i["fit"].pop("run"), "missing required field run"),
        (lambda i: i["fit"].update(settings=None), "fit: settings: they are missing"),
        (lambda i: i["fit"]["settings"].update(downscale=0.1), "fit: settings: downscale is 0.1"),
        (lambda i: i.pop("model"), "missing required field model"),
    ],
)
def test_a_painting_that_nobody_made_is_one_line(stylized, tmp_path, change, message):
    assert message in refusal(copied(stylized, tmp_path / "run", change)).replace("`", "")


def test_an_unfinished_fit_needs_settings_and_no_model(fitted, tmp_path):
    def unfinished(info):
        info.update(finished=False, parser={"name": "nerfstudio-data"}, settings=None)
        del info["model"]

    run = Run.open(copied(fitted, tmp_path / "run", unfinished), "fit", finished=False)
    with pytest.raises(UserError, match="settings: it is missing"):
        fit_record(run)


CELLS, TABLE = "voxels.grid.cells", "voxels.table"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {CELLS: t[CELLS].flip(0)},
        lambda t: {CELLS: t[CELLS] + 2**40},
        lambda t: {CELLS: t[CELLS].int()},
        lambda t: {CELLS: t[CELLS][:0], "seen": t["seen"][:0], TABLE: t[TABLE][:0]},
        lambda t: {CELLS: torch.tensor(1)},
        lambda t: {"voxels.shape": torch.tensor([-1, 2, 3])},
        lambda t: {"voxels.shape": torch.tensor([2**20] * 3)},
        lambda t: {"voxels.shape": torch.tensor([2, 3])},
        lambda t: {TABLE: t[TABLE].fill_(NAN)},
        lambda t: {TABLE: t[TABLE].fill_(1e30)},
        lambda t: {TABLE: t[TABLE].int()},
        lambda t: {TABLE: torch.tensor(1.0)},
        lambda t: {"seen": t["seen"][1:]},
        lambda t: {"background": torch.tensor([0.0, float("inf"), 0.0])},
        lambda t: {"voxels.space.box": t["voxels.space.box"] * 1e-30},
        lambda t: {"zzz": torch.zeros(1)},
    ],
)  # fmt: skip
def test_a_grid_that_is_none_is_one_line(fitted, tmp_path, change):
    path = copied(fitted, tmp_path / "run", dict)
    tensors, _ = load_tensors(path / "model.safetensors", "")
    save_tensors(path / "model.safetensors", {**tensors, **change(tensors)})
    assert "do not fit its configuration" in refusal(path)


def test_a_grid_of_nothing_but_air_is_a_grid(fitted, tmp_path):
    path = copied(fitted, tmp_path / "run", dict)
    tensors, _ = load_tensors(path / "model.safetensors", "")
    save_tensors(path / "model.safetensors", {**tensors, TABLE: tensors[TABLE].clamp_max(-10)})
    field, _, capture = open_model(open_run(path), CPU)
    assert field.shoot(capture.train.cameras[0]).opacity.max() < 1e-6


@pytest.mark.parametrize(
    ("link", "command"),
    [
        ("renders", ["render", "--frames", "1"]),
        ("renders/interpolate", ["render", "--frames", "1"]),
        ("cloud.ply", ["export"]),
        ("camera_paths", ["view", "--port", "18766"]),
    ],
)
def test_links_are_not_followed_out_of_a_run(fitted, tmp_path, capsys, link, command):
    """J27: what lies there would be overwritten."""
    path, elsewhere = copied(fitted, tmp_path / "run", dict), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (path / link).parent.mkdir(exist_ok=True)
    (path / link).symlink_to(elsewhere, target_is_directory=True)
    assert main([command[0], str(path), *command[1:]]) == 2
    said = capsys.readouterr().err
    assert "leads out of" in said
    assert said.count("\n") == 1
    assert not list(elsewhere.iterdir())


def test_a_resumed_job_follows_no_links_either(stylized, tmp_path, small_encoder, capsys):
    path = copied(stylized, tmp_path / "run", lambda info: info.update(finished=False))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (path / "nerfstudio_models").symlink_to(elsewhere, target_is_directory=True)
    assert main(["stylize", "--resume", str(path)]) == 2
    assert "leads out of" in capsys.readouterr().err
    assert [file.name for file in elsewhere.iterdir()] == ["kept"]

"""Fitting from end to end on a tiny room: the run, its quality, and jobs that die in the middle."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import asdict, replace

import pytest
import torch
from tiny import FIT

from arf.errors import UserError
from arf.jobs.door import settings_from
from arf.jobs.runs import Run
from arf.metrics import psnr
from arf.radiance.asked import parse_color
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.evaluate.fidelity import evaluate
from arf.radiance.fields import kinds
from arf.radiance.fields.place import Place
from arf.radiance.fields.voxel.field import VoxelField
from arf.radiance.fit import loop
from arf.radiance.fit.loop import fit
from arf.radiance.opening import open_photoreal
from arf.radiance.settings import FitSettings

CPU = torch.device("cpu")
FILES = {"arf.json", "model.safetensors", "losses.csv", "losses.png", "config.yml", "dataparser_transforms.json"}


def model_bytes(run: Run) -> bytes:
    return (run.path / "model.safetensors").read_bytes()


def test_the_run_has_all_its_files_and_says_what_was_asked(fitted, room):
    names = {p.name for p in fitted.path.iterdir()}
    assert names >= FILES
    assert any(name.startswith("events.") for name in names)
    assert "resume.safetensors" not in names
    assert [p.name for p in (fitted.path / "nerfstudio_models").iterdir()] == ["step-000000000.ckpt"]
    info = json.loads((fitted.path / "arf.json").read_text())
    assert info == fitted.info
    assert info["kind"] == "fit"
    assert info["finished"] is True
    assert info["steps"] == 120
    assert info["data"] == str(room.resolve())
    assert settings_from(FitSettings, info["settings"], "run") == FIT
    steps = [int(line.split(",")[0]) for line in (fitted.path / "losses.csv").read_text().splitlines()[1:]]
    assert steps == [10, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90, 100, 110, 120]  # every tenth, and before a checkpoint


def test_held_out_views_are_far_better_than_any_constant(fitted, room):
    capture = load_capture(CaptureConfig(data=room))
    mean = torch.stack([capture.train.image(i) for i in range(len(capture.train))]).mean((0, 1, 2))
    views = [capture.held_out.image(i) for i in range(len(capture.held_out))]
    constant = sum(psnr(mean.expand_as(v), v) for v in views) / len(views)
    assert fitted.info["metrics"]["psnr"] > constant + 3.5  # 14.8 and about 19.8 dB
    assert 1 < fitted.info["metrics"]["samples_per_ray"] < 16


def test_opening_the_run_gives_the_measured_model_back(fitted):
    model, capture = open_photoreal(fitted, CPU)
    metrics = evaluate(model, capture.held_out)
    for name, value in metrics.items():
        assert fitted.info["metrics"][name] == pytest.approx(value, rel=1e-5)
    assert not model.training
    assert model.voxels.grid.shape == (32, 32, 21)
    assert len(model.voxels.grid.cells) < 32 * 32 * 21  # something was pruned


def test_a_fit_that_is_killed_resumes_to_the_same_bytes(fitted, room, tmp_path, killed):
    killed(f"""
from tiny import FIT
from arf.radiance.fit import loop
from arf.radiance.fit.loop import fit
def kill(what, step, *_):
    if step == 70:
        os.kill(os.getpid(), signal.SIGKILL)
fit(Path({str(room)!r}), FIT, Path({str(tmp_path)!r}), kill)
""")
    run = Run.open(tmp_path, "fit", finished=False)
    assert run.info["finished"] is False
    assert run.load("resume")[1]["step"] == 50  # after the finer grid came, before the next pruning
    assert not run.has("model")
    steps = []
    done = fit(room, FIT, tmp_path, lambda _, step, *__: steps.append(step), resume=run)
    assert steps[0] == 60  # it did not start over
    assert done.path == run.path
    assert model_bytes(done) == model_bytes(fitted)
    assert (done.path / "losses.csv").read_text() == (fitted.path / "losses.csv").read_text()
    assert not done.has("resume")


@pytest.mark.parametrize("step", [50, 100])  # the finer grid begins at 48, cells are pruned at 100
def test_a_fit_that_is_stopped_by_hand_resumes_to_the_same_bytes(fitted, room, tmp_path, step):
    def stop(what: str, now: int, *_: object) -> None:
        if now == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(room, FIT, tmp_path, stop)
    run = Run.open(tmp_path, "fit", finished=False)
    assert run.load("resume")[1]["step"] == step
    assert model_bytes(fit(room, FIT, tmp_path, resume=run)) == model_bytes(fitted)


def test_ctrl_c_waits_for_the_end_of_a_step(fitted, room, tmp_path, monkeypatch):
    losses, calls = VoxelField.losses, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 74:  # rays are drawn, nothing is learnt of them yet
            os.kill(os.getpid(), signal.SIGINT)
        return losses(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(VoxelField, "losses", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(room, FIT, tmp_path)
    run = Run.open(tmp_path, "fit", finished=False)
    assert run.load("resume")[1]["step"] == 74
    assert model_bytes(fit(room, FIT, tmp_path, resume=run)) == model_bytes(fitted)


def test_a_loss_that_turns_nan_keeps_the_last_good_state(fitted, room, tmp_path, monkeypatch):
    losses, calls = VoxelField.losses, []

    def poisoned(self, *arguments):
        calls.append(1)
        terms, samples = losses(self, *arguments)
        return (terms if len(calls) < 74 else {**terms, "rgb": terms["rgb"] * float("nan")}), samples

    monkeypatch.setattr(VoxelField, "losses", poisoned)
    with pytest.raises(UserError, match=r"step 75.*last good state is in .*--learning-rate"):
        fit(room, FIT, tmp_path)
    monkeypatch.undo()
    run = Run.open(tmp_path, "fit", finished=False)
    assert not run.has("model")
    tensors, notes = run.load("resume")
    assert notes["step"] == 50
    assert all(t.isfinite().all() for t in tensors.values())
    assert model_bytes(fit(room, FIT, tmp_path, resume=run)) == model_bytes(fitted)


def test_a_held_out_photograph_that_cannot_be_read_costs_no_step(fitted, room, tmp_path):
    """J8: the end of the fit was lost with it."""
    copy = tmp_path / "room"
    shutil.copytree(room, copy)
    (held_out,) = load_capture(CaptureConfig(data=copy)).held_out.files[:1]
    whole = held_out.read_bytes()
    held_out.write_bytes(whole[:60] + bytes(len(whole) - 60))  # damaged, as long as before
    with pytest.raises(UserError, match=held_out.name):
        fit(copy, FIT, tmp_path / "out")
    held_out.write_bytes(whole)
    run = Run.open(tmp_path / "out", "fit", finished=False)
    assert run.load("resume")[1]["step"] == FIT.steps
    phases = set()
    done = fit(copy, FIT, tmp_path / "out", lambda phase, *_: phases.add(phase), resume=run)
    assert phases == {"evaluate"}
    assert model_bytes(done) == model_bytes(fitted)


def test_a_learning_rate_that_explodes_is_a_user_error(room, tmp_path):
    with pytest.raises(UserError, match=r"lower --learning-rate \(now 1e\+30\)") as caught:
        fit(room, replace(FIT, learning_rate=1e30), tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="has not finished"):
        Run.open(tmp_path, "fit")


def test_another_seed_is_another_fit(fitted, room, tmp_path):
    short = replace(FIT, steps=12, stages=(0.9,))
    runs = [fit(room, replace(short, seed=s), tmp_path) for s in (0, 0, 1)]
    assert model_bytes(runs[0]) == model_bytes(runs[1]) != model_bytes(runs[2])


def test_unusable_settings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"3 resolutions need 2 ascending stages"):
        kinds.plan(replace(FIT, resolutions=(8, 16, 32), stages=(0.5, 0.2)), place(transparent=False))
    with pytest.raises(UserError, match="background is 'blue'"):
        parse_color("blue")
    with pytest.raises(UserError, match="no capture at"):
        fit(tmp_path / "nowhere", FIT, tmp_path / "out")
    assert not (tmp_path / "out").exists()  # nothing half-written


def place(transparent: bool) -> Place:
    box = torch.tensor([[-1.0] * 3, [1.0] * 3])
    return Place("bounded", box, box, 5, transparent)


def test_transparent_pictures_get_a_white_background():
    auto = replace(FIT, background="auto")
    assert kinds.plan(auto, place(transparent=True))["background"] == "1,1,1"
    for kind, behind in {"unbounded": "last", "forward": "last", "bounded": "0.5,0.5,0.5"}.items():
        opaque = replace(place(transparent=False), kind=kind)
        assert kinds.plan(auto, opaque)["background"] == behind
    assert kinds.plan(replace(FIT, background="last"), place(transparent=True))["background"] == "last"
    assert asdict(auto)["background"] == "auto"


def test_a_capture_that_changed_after_the_fit_is_refused(fitted, room, tmp_path):
    """C14: other photographs or poses than the run was made of would be used with a field that does not fit them."""
    moved = tmp_path / "room"
    shutil.copytree(room, moved)
    run = fit(moved, replace(FIT, steps=5, stages=(0.9,)), tmp_path / "out")
    assert run.info["capture"] == fitted.info["capture"]  # wherever it lies
    open_photoreal(run, CPU)
    (moved / "images" / sorted(p.name for p in (moved / "images").iterdir())[3]).unlink()
    with pytest.raises(UserError, match=r"has changed since .* was fitted") as caught:
        open_photoreal(run, CPU)
    assert "\n" not in str(caught.value)


def test_without_nerfacto_auto_is_splats_on_any_device(monkeypatch, caplog):
    settings, cuda = replace(FIT, backbone="auto"), torch.device("cuda")
    monkeypatch.setattr(loop, "nerfstudio_is_installed", lambda: False)
    assert loop._takes_nerfacto(settings, cuda) is False
    assert "nerfstudio is not installed, so that splats are fitted" in caplog.text
    monkeypatch.setattr(loop, "nerfstudio_is_installed", lambda: True)
    assert loop._takes_nerfacto(settings, cuda) is True
    assert loop._takes_nerfacto(settings, CPU) is loop._takes_nerfacto(FIT, cuda) is False
    assert settings.for_kind("bounded", nerfacto=True).backbone == "nerfacto"
    assert settings.for_kind("bounded").backbone == "splat"

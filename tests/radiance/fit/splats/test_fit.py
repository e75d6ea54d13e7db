"""Splats fitted from end to end on a tiny room: the run, its quality, and jobs that stop in the middle."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch

from arf import cli
from arf.errors import UserError
from arf.jobs.runs import Run
from arf.metrics import psnr
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.files.reading import read_splats
from arf.radiance.fields.splats.placing import on_surfaces
from arf.radiance.fit.loop import fit
from arf.radiance.fit.splats import start
from arf.radiance.opening import open_photoreal
from arf.radiance.settings import FitSettings

CPU = torch.device("cpu")
SPLATS = FitSettings(backbone="splat", steps=160, splats=1500, resolutions=(20,), save_every=25, device="cpu")


@pytest.fixture(autouse=True, scope="module")
def quick_start():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "STEPS", 120)  # with 80 it depends on the processor whether the start is any good
        patch.setitem(start.COARSE, "samples", 20_000)
        yield


@pytest.fixture(scope="module")
def told() -> list:
    return []


@pytest.fixture(scope="module")
def splatted(room, told, quick_start, tmp_path_factory) -> Run:
    return fit(room, SPLATS, tmp_path_factory.mktemp("splatted"), lambda *call: told.append(call))


def model(run: Run) -> bytes:
    return (run.path / "model.safetensors").read_bytes()


def test_the_run_says_what_it_is_and_opens(splatted, told):
    info = splatted.info
    assert info["model"] == {"backbone": "splat", "antialiased": True}
    assert (info["finished"], info["steps"]) == (True, 160)
    assert {path.name for path in splatted.path.iterdir()} >= {"arf.json", "model.safetensors", "losses.csv"}
    assert not (splatted.path / "resume.safetensors").exists()
    field, capture = open_photoreal(Run.open(splatted.path), CPU)
    assert isinstance(field, SplatField)
    assert field.antialiased
    assert 300 < field.count <= 1500
    assert len(capture.train) == 18
    phases = ["start"] * 12 + ["fit"] * 19 + ["evaluate"] * 3  # every tenth step, and before a checkpoint; every view
    assert [what for what, *_ in told] == phases
    assert told[30][3]["splats"] == field.count
    assert (splatted.path / "losses.csv").read_text().startswith("step,rgb,splats,psnr\n")


def test_held_out_views_are_far_better_than_any_constant(splatted, room):
    capture = load_capture(CaptureConfig(data=room))
    mean = torch.stack([capture.train.image(i) for i in range(len(capture.train))]).mean((0, 1, 2))
    views = [capture.held_out.image(i) for i in range(len(capture.held_out))]
    constant = sum(psnr(mean.expand_as(view), view) for view in views) / len(views)
    assert splatted.info["metrics"]["psnr"] > constant + 3  # 14.8 and 19.4 dB


def test_little_is_left_to_the_background(splatted):
    field, capture = open_photoreal(splatted, CPU)
    left = [1 - field.shoot(camera).opacity.mean() for camera in capture.train.cameras]
    assert sum(left) / len(left) < 0.05


def test_the_same_seed_makes_the_same_bytes_with_any_number_of_threads(splatted, room, tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if before > 1 else 2)
        again = fit(room, SPLATS, tmp_path)
    finally:
        torch.set_num_threads(before)
    assert model(again) == model(splatted)
    short = replace(SPLATS, steps=5)
    assert model(fit(room, short, tmp_path)) != model(fit(room, replace(short, seed=1), tmp_path))


@pytest.mark.parametrize(("what", "step"), [("start", 20), ("fit", 10), ("fit", 70)])
def test_a_fit_that_is_stopped_goes_on_to_the_same_bytes(splatted, room, tmp_path, what, step):
    def stop(now: str, at: int, *_: object) -> None:
        if (now, at) == (what, step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(room, SPLATS, tmp_path, stop)
    (run,) = Run.below(tmp_path)
    assert run.has("resume") == (what == "fit")
    steps = []
    done = fit(room, SPLATS, tmp_path, lambda *call: steps.append(call[:2]), resume=run)
    assert ("start" in [now for now, _ in steps]) == (what == "start")
    assert model(done) == model(splatted)


def test_a_loss_that_explodes_keeps_the_last_good_state(room, tmp_path):
    with pytest.raises(UserError, match=r"NaN or infinite at step \d+; .*lower --learning-rate"):
        fit(room, replace(SPLATS, learning_rate=1e38), tmp_path)


def test_it_is_painted_filmed_and_exported(splatted, paintings, tmp_path, small_encoder):
    def called(*words: object) -> int:
        return cli.main([*map(str, words), "--quiet"])

    out = tmp_path / "painted"
    asked = ["--style", paintings[0], "--steps", 3, "--layers", "relu2_1", "--device", "cpu", "--output", out]
    assert called("stylize", splatted.path, *asked) == 0
    assert called("render", out, "--frames", 2, "--output", tmp_path / "film.mp4") == 0
    assert called("export", out, "--format", "ply", "--output", tmp_path / "painted.ply") == 0
    assert len(read_splats(tmp_path / "painted.ply").splats) == open_photoreal(splatted, CPU)[0].count


def test_a_background_of_the_last_sample_is_refused(room, tmp_path, capsys):
    asked = ["fit", room, "--backbone", "splat", "--background", "last", "--output", tmp_path / "out"]
    assert cli.main([*map(str, asked)]) == 2
    assert "splats take a colour" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_points_of_the_capture_are_where_it_begins(room, splatted, tmp_path):
    """Those on its surfaces, in the frame of its files: no grid is fitted, and splats begin between them."""
    field, capture = open_photoreal(Run.open(splatted.path), CPU)
    turn, shift = capture.transform[:, :3].float(), capture.transform[:, 3].float()
    cameras = [*capture.train.cameras]
    found = on_surfaces(field, cameras, [torch.zeros(*camera.size, 3) for camera in cameras], 1, 1500, 0.5)
    places = (found.means / capture.scale - shift) @ turn
    copied = shutil.copytree(room, tmp_path / "room")
    names = [f"property float {name}" for name in "xyz"]
    head = ["ply", "format ascii 1.0", f"element vertex {len(places)}", *names, "end_header"]
    (copied / "points.ply").write_text("\n".join([*head, *(" ".join(map(str, p)) for p in places.tolist()), ""]))
    meta = json.loads((copied / "transforms.json").read_text())
    (copied / "transforms.json").write_text(json.dumps(meta | {"ply_file_path": "points.ply"}))
    told = []
    run = fit(copied, replace(SPLATS, steps=1), tmp_path / "out", lambda *call: told.append(call))
    assert {what for what, *_ in told} == {"fit", "evaluate"}
    begun = open_photoreal(run, CPU)[0].splats.means
    away = torch.cdist(begun, found.means).amin(1)  # in the scene's frame
    near = torch.cdist(found.means, found.means).topk(2, largest=False).values[:, 1]
    assert away.median() < 2 * near.median()
    assert away.quantile(0.9) < 2 * near.quantile(0.9)

"""nerfstudio's own tools on our runs and our methods."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import imageio
import pytest
import torch
import yaml
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.scripts.render import RenderInterpolated
from nerfstudio.utils import writer
from tools import give_ffmpeg, ns_eval, ns_export, ns_render, ns_viewer
from viewer_client import SIZE, close, shown

from arf.jobs.runs import Run
from arf.media import image
from arf.nerfstudio.models.stylized import StylizedModel
from arf.nerfstudio.models.voxel import VoxelModel
from arf.nerfstudio.parser import CaptureDataParserConfig
from arf.radiance.evaluate.fidelity import evaluate
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_model, open_photoreal, open_run

CPU = torch.device("cpu")
warnings.filterwarnings("ignore", message="Using a non-tuple sequence")


def opened_by_nerfstudio(run: Run):
    from nerfstudio.utils.eval_utils import eval_setup

    _, pipeline, checkpoint, step = eval_setup(run.path / "config.yml")
    assert checkpoint == run.path / "nerfstudio_models" / f"step-{step:09d}.ckpt"
    return pipeline


@pytest.mark.parametrize("kind", ["fitted", "stylized"])
def test_eval_setup_opens_the_run_and_renders_our_pixels(kind, request):
    run = request.getfixturevalue(kind)
    pipeline = opened_by_nerfstudio(run)
    field, painted, capture = open_model(run, CPU)
    model = pipeline.model
    assert isinstance(model, VoxelModel if kind == "fitted" else StylizedModel)
    assert not model.training
    cameras = capture.held_out.cameras
    theirs = pipeline.datamanager.eval_dataset.cameras
    torch.testing.assert_close(theirs.camera_to_worlds, cameras.poses)
    for i, camera in enumerate(cameras):
        outputs = model.get_outputs_for_camera(theirs[i : i + 1])
        shot = field.shoot(camera)
        wanted = {"rgb": shot.color.clamp(0, 1), "accumulation": shot.opacity[:, None], "depth": shot.depth[:, None]}
        if painted:
            look = painted.look
            stylized = field.render(camera, look.theta, look.background).view(-1, 3).clamp(0, 1)
            wanted |= {"rgb": stylized, "stylized": stylized, "photoreal": shot.color.clamp(0, 1)}
        assert outputs.keys() == wanted.keys()
        assert outputs["rgb"].shape == (28, 28, 3)
        assert outputs["rgb"].std() > 0.02
        origins, directions = camera.rays()
        same = model.get_outputs(RayBundle(origins, directions, torch.ones(len(origins), 1)))
        for name, values in wanted.items():
            assert torch.equal(same[name], values), name
            # nerfstudio's own rays differ in the last bits
            torch.testing.assert_close(outputs[name].flatten(0, 1), values, rtol=1e-4, atol=1e-5, msg=name)


RUNS = ["fitted", "stylized", "nerfacto", "painted_nerfacto"]


@pytest.fixture
def run(request) -> Run:
    """One of the runs, by its name."""
    return request.getfixturevalue(request.param)


def filmed(run: Run, split: str, i: int) -> torch.Tensor:
    """A view of the run [h, w, 3] as our own commands show it."""
    field, painted, capture = open_model(run, CPU)
    camera = getattr(capture, split).cameras[i]
    if painted is None:
        return picture(field, None, camera)
    return picture(field, painted.look, camera, drop=painted.drop)[..., 3:]


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_ns_render_films_our_pixels(run, tmp_path, monkeypatch):
    give_ffmpeg(monkeypatch, tmp_path / "bin")
    frames = ns_render(run, tmp_path)
    assert len(frames) == 2
    for k, frame in enumerate(frames):
        torch.testing.assert_close(frame, filmed(run, "held_out", k), rtol=0, atol=1 / 255)


def test_ns_render_makes_a_video(fitted, tmp_path, monkeypatch):
    give_ffmpeg(monkeypatch, tmp_path / "bin")
    with imageio.get_reader(ns_render(fitted, tmp_path, form="video")) as film:
        assert film.get_data(0).shape == (28, 28, 3)


def test_ns_render_interpolates_between_our_cameras(stylized, tmp_path, monkeypatch):
    give_ffmpeg(monkeypatch, tmp_path / "bin")
    RenderInterpolated(
        load_config=stylized.path / "config.yml", output_path=tmp_path / "film", interpolation_steps=1,
        output_format="images", image_format="png", rendered_output_names=["rgb", "photoreal", "depth"],
    ).main()  # fmt: skip
    frames = [image.read(file) for file in sorted((tmp_path / "film").glob("*.png"))]
    assert len(frames) >= 2
    assert frames[0].shape == (28, 3 * 28, 3)


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_ns_viewer_shows_the_run(run, monkeypatch):
    field, painted, capture = open_model(run, CPU)
    pose = capture.held_out.cameras.poses[0]
    with ns_viewer(run, monkeypatch) as client:
        client.look(pose)
        client.picture(lambda _: True)
        client.set("Max res", SIZE)
        wanted = shown(field, painted, pose)
        client.picture(lambda picture: close(picture, wanted))
        assert ("Style strength" in client.elements) == (run.info["kind"] == "stylize")


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_ns_export_writes_points_on_surfaces_in_the_models_colours(run, tmp_path):
    points, colors = ns_export(run, tmp_path)
    assert len(points) >= 500
    assert points.isfinite().all()
    seen = filmed(run, "train", 0)
    assert colors.mean(0) == pytest.approx(seen.mean((0, 1)), abs=0.25)


def test_ns_export_leaves_out_empty_space(stylized):
    pipeline = opened_by_nerfstudio(stylized)
    model = pipeline.model
    outputs = model.get_outputs_for_camera(pipeline.datamanager.train_dataset.cameras[0:1])
    rgba = model.get_rgba_image(outputs)
    assert torch.equal(rgba[..., :3], outputs["rgb"])
    assert torch.equal(rgba[..., 3:], outputs["accumulation"])


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_ns_eval_writes_the_metrics_of_the_photoreal_rendering(run, tmp_path):
    metrics = ns_eval(run, tmp_path)
    field, _, capture = open_model(run, CPU)
    wanted = evaluate(field, capture.held_out)
    assert metrics["psnr"] == pytest.approx(wanted["psnr"], abs=0.05)
    assert metrics["ssim"] == pytest.approx(wanted["ssim"], abs=0.01)


@pytest.mark.parametrize("kind", ["fitted", "stylized"])
def test_ns_evals_metrics_are_those_of_the_photoreal_rendering(kind, request, fitted):
    pipeline = opened_by_nerfstudio(request.getfixturevalue(kind))
    metrics = pipeline.get_average_eval_image_metrics()
    # a stylized run leaves out light samples: the photoreal rendering is nearly, not wholly, that of the fit
    wanted = fitted.info["metrics"]["psnr"]
    assert metrics["psnr"] == pytest.approx(wanted, abs=1e-3 if kind == "fitted" else 0.05)
    assert metrics["ssim"] == pytest.approx(fitted.info["metrics"]["ssim"], abs=1e-4 if kind == "fitted" else 0.01)


@pytest.mark.parametrize("kind", ["fitted", "stylized"])
def test_checkpoints_are_tensors_and_plain_numbers(kind, request):
    run = request.getfixturevalue(kind)
    (file,) = (run.path / "nerfstudio_models").iterdir()
    state = torch.load(file, weights_only=True)  # refuses anything else
    assert set(state) == {"step", "pipeline", "optimizers", "schedulers", "scalers"}
    saved, _ = run.load("model")
    if kind == "fitted":
        saved = {f"voxel.{name}": tensor for name, tensor in saved.items()}
    else:
        saved = {name.replace("field.", "scene.", 1).replace("look.", "colors.", 1): v for name, v in saved.items()}
    saved["device_indicator_param"] = torch.empty(0)
    assert state["pipeline"].keys() == {f"_model.{name}" for name in saved}
    for name, tensor in saved.items():
        assert torch.equal(state["pipeline"][f"_model.{name}"], tensor)


def test_config_names_the_run_and_its_capture(fitted, stylized, room):
    for run in (fitted, stylized):
        config = yaml.load((run.path / "config.yml").read_text(), Loader=yaml.Loader)
        assert config.get_base_dir() == run.path
        assert config.data == room
        parser = config.pipeline.datamanager.dataparser
        assert isinstance(parser, CaptureDataParserConfig)
        assert parser.data == room


def test_writing_a_run_leaves_the_registered_methods_as_they_were(fitted, stylized):
    from arf.nerfstudio.methods import arf_stylized, arf_voxel

    for specification in (arf_voxel, arf_stylized):
        assert specification.config.data is None
        assert specification.config.pipeline.datamanager.dataparser.data == Path()
        assert specification.config.timestamp == "{timestamp}"


def test_our_methods_are_registered():
    if "arf-voxel" not in {point.name for point in entry_points(group="nerfstudio.method_configs")}:
        pytest.skip("arf is not installed, only on the path")
    from nerfstudio.configs.method_configs import all_descriptions, all_methods

    for name in ("arf-voxel", "arf-nerfacto", "arf"):
        assert all_methods[name].method_name == name
        assert all_descriptions[name]
    from nerfstudio.plugins.registry_dataparser import discover_dataparsers

    assert "arf-capture" in discover_dataparsers()[0]


def test_ns_train_goes_coarse_to_fine_and_its_checkpoint_opens(room, tmp_path, monkeypatch):
    from nerfstudio.scripts.train import entrypoint
    from nerfstudio.utils.eval_utils import eval_setup

    options = {
        "output-dir": tmp_path, "timestamp": "now", "experiment-name": "room", "vis": "tensorboard",
        "machine.device-type": "cpu", "max-num-iterations": 30, "steps-per-save": 30, "steps-per-eval-all-images": 1000,
        "steps-per-eval-image": 1000, "pipeline.model.total-steps": 30, "pipeline.model.prune-every": 10,
        "pipeline.datamanager.train-num-rays-per-batch": 512, "data": room,
    }  # fmt: skip
    flags = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    flags += ["--pipeline.model.resolutions", "12", "24", "--pipeline.model.stages", "0.5"]
    monkeypatch.setattr(sys, "argv", ["ns-train", "arf-voxel", *flags])
    entrypoint()
    writer.EVENT_WRITERS.clear()  # nerfstudio's are global
    run = tmp_path / "room" / "arf-voxel" / "now"
    _, pipeline, _, step = eval_setup(run / "config.yml")
    assert step == 29
    voxels = pipeline.model.voxel.voxels
    assert voxels.grid.shape == (24, 24, 16)
    assert len(voxels.grid.cells) < 24 * 24 * 16
    assert pipeline.get_average_eval_image_metrics()["psnr"] > 14
    ours, capture = open_photoreal(open_run(run, "fit"), CPU)
    assert evaluate(ours, capture.held_out)["psnr"] > 14

"""nerfstudio's own tools on our runs and our methods."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import imageio
import pytest
import torch
import yaml
from arf.radiance.fields.backbones import nerfacto_config
from arf.radiance.fields.voxel.model import VoxelModel
from encoders import tiny_encoder
from nerfstudio.scripts.render import RenderInterpolated
from test_viewing import SIZE, close, shown
from tiny import STYLIZE
from tools import give_ffmpeg, ns_eval, ns_export, ns_render, ns_viewer

from arf.jobs.runs import Run
from arf.media import image
from arf.nerfstudio.nerfacto import NerfactoBackboneConfig
from arf.nerfstudio.stylized import StylizedModel
from arf.radiance.capture.capture import CaptureDataParserConfig
from arf.radiance.fit.loop import evaluate, fit
from arf.radiance.opening import open_painted, open_photoreal, open_run
from arf.radiance.paint.stylize import stylize
from arf.radiance.settings import FitSettings

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
    ours, capture = (open_photoreal if kind == "fitted" else open_painted)(run, CPU)
    assert isinstance(pipeline.model, VoxelModel if kind == "fitted" else StylizedModel)
    assert not pipeline.model.training
    cameras = capture.held_out.cameras
    theirs = pipeline.datamanager.eval_dataset.cameras
    torch.testing.assert_close(theirs.camera_to_worlds, cameras.camera_to_worlds)
    for i in range(len(cameras)):
        outputs = pipeline.model.get_outputs_for_camera(theirs[i : i + 1])
        wanted = ours.get_outputs_for_camera(cameras[i : i + 1])
        assert outputs.keys() == wanted.keys() >= {"rgb", "depth", "accumulation"}
        assert outputs["rgb"].shape == (28, 28, 3)
        assert outputs["rgb"].std() > 0.02
        for name, picture in wanted.items():
            assert torch.equal(outputs[name], picture), name


@pytest.fixture(scope="module")
def nerfacto(room, tmp_path_factory) -> Run:
    """A nerfacto with few samples and features that has learnt next to nothing. Read only."""

    def small(*parts: object) -> NerfactoBackboneConfig:
        net = {"hidden_dim": 8, "log2_hashmap_size": 8, "num_levels": 2, "max_res": 16, "use_linear": False}
        return replace(
            nerfacto_config(*parts), num_levels=2, max_res=32, hidden_dim=8, hidden_dim_color=8, appearance_embed_dim=4,
            num_proposal_samples_per_ray=(8, 6), num_nerf_samples_per_ray=4, proposal_net_args_list=[net, net],
        )  # fmt: skip

    settings = FitSettings(backbone="nerfacto", hash_size=8, rays=64, steps=3, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arf.radiance.fields.backbones.nerfacto_config", small)
        return fit(room, settings, tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="module")
def painted_nerfacto(nerfacto, paintings, tmp_path_factory) -> Run:
    """That nerfacto, repainted. Read only."""
    settings = replace(STYLIZE, steps=2, color_resolution=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())
        return stylize(nerfacto, paintings[:1], settings, tmp_path_factory.mktemp("stylized"))


RUNS = ["fitted", "stylized", "nerfacto", "painted_nerfacto"]


@pytest.fixture
def run(request) -> Run:
    """One of the runs, by its name."""
    return request.getfixturevalue(request.param)


def ours(run: Run):
    """The run as our own commands open it."""
    return (open_painted if run.info["kind"] == "stylize" else open_photoreal)(run, CPU)


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_ns_render_films_our_pixels(run, tmp_path, monkeypatch):
    give_ffmpeg(monkeypatch, tmp_path / "bin")
    frames = ns_render(run, tmp_path)
    model, capture = ours(run)
    assert len(frames) == 2
    for k, frame in enumerate(frames):
        wanted = model.get_outputs_for_camera(capture.held_out.cameras[k : k + 1])["rgb"]
        torch.testing.assert_close(frame, wanted, rtol=0, atol=1 / 255)


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
    model, capture = ours(run)
    with ns_viewer(run, monkeypatch) as client:
        client.look(capture.held_out.cameras.camera_to_worlds[0])
        client.picture(lambda _: True)
        client.set("Max res", SIZE)
        wanted = shown(model, capture.held_out.cameras.camera_to_worlds[0])
        client.picture(lambda picture: close(picture, wanted))
        assert ("Style strength" in client.elements) == (run.info["kind"] == "stylize")


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_ns_export_writes_points_on_surfaces_in_the_models_colours(run, tmp_path):
    points, colors = ns_export(run, tmp_path)
    assert len(points) >= 500
    assert points.isfinite().all()
    model, capture = ours(run)
    seen = model.get_outputs_for_camera(capture.train.cameras[0:1])["rgb"]
    assert colors.mean(0) == pytest.approx(seen.mean((0, 1)), abs=0.25)


def test_ns_export_leaves_out_empty_space(stylized):
    model, capture = open_painted(stylized, CPU)
    outputs = model.get_outputs_for_camera(capture.train.cameras[0:1])
    rgba = model.get_rgba_image(outputs)
    assert torch.equal(rgba[..., :3], outputs["rgb"])
    assert torch.equal(rgba[..., 3:], outputs["accumulation"])


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_ns_eval_writes_the_metrics_of_the_photoreal_rendering(run, tmp_path):
    metrics = ns_eval(run, tmp_path)
    model, capture = ours(run)
    wanted = evaluate(getattr(model, "backbone", model), capture.held_out)
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
    pytest.importorskip("importlib.metadata").version("arf")
    from nerfstudio.configs.method_configs import all_descriptions, all_methods

    for name in ("arf-voxel", "arf"):
        assert all_methods[name].method_name == name
        assert all_descriptions[name]
    from nerfstudio.plugins.registry_dataparser import discover_dataparsers

    assert "arf-capture" in discover_dataparsers()[0]


def test_ns_train_goes_coarse_to_fine_and_its_checkpoint_opens(room, tmp_path):
    threads = f"import torch; torch.set_num_threads({torch.get_num_threads()})"
    command = [sys.executable, "-c", f"{threads}; from nerfstudio.scripts.train import entrypoint; entrypoint()"]
    options = {
        "output-dir": tmp_path, "timestamp": "now", "experiment-name": "room", "vis": "tensorboard",
        "machine.device-type": "cpu", "max-num-iterations": 30, "steps-per-save": 30, "steps-per-eval-all-images": 1000,
        "steps-per-eval-image": 1000, "pipeline.model.total-steps": 30, "pipeline.model.prune-every": 10,
        "pipeline.datamanager.train-num-rays-per-batch": 512, "data": room,
    }  # fmt: skip
    flags = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    flags += ["--pipeline.model.resolutions", "12", "24", "--pipeline.model.stages", "0.5"]
    done = subprocess.run([*command, "arf-voxel", *flags], capture_output=True, text=True, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    run = tmp_path / "room" / "arf-voxel" / "now"
    from nerfstudio.utils.eval_utils import eval_setup

    _, pipeline, _, step = eval_setup(run / "config.yml")
    assert step == 29
    assert pipeline.model.voxels.grid.shape == (24, 24, 16)
    assert len(pipeline.model.voxels.grid.cells) < 24 * 24 * 16
    assert pipeline.get_average_eval_image_metrics()["psnr"] > 14
    ours, capture = open_photoreal(open_run(run, "fit"), CPU)
    assert evaluate(ours, capture.held_out)["psnr"] > 14

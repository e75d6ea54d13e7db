"""nerfstudio's own tools on our runs and our methods."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import yaml

from arf.radiance.capture import CaptureDataParserConfig
from arf.radiance.fit import evaluate
from arf.radiance.scene import open_photoreal, open_run, open_stylized
from arf.radiance.stylized import StylizedModel
from arf.radiance.voxel_model import VoxelModel
from arf.runs import Run

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
    ours, capture = (open_photoreal if kind == "fitted" else open_stylized)(run, CPU)
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
    from arf.radiance.methods import arf_stylized, arf_voxel

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
    assert pipeline.model.field.grid.shape == (24, 24, 16)
    assert len(pipeline.model.field.grid.cells) < 24 * 24 * 16
    assert pipeline.get_average_eval_image_metrics()["psnr"] > 14
    ours, capture = open_photoreal(open_run(run, "fit"), CPU)
    assert evaluate(ours, capture.held_out)["psnr"] > 14

"""Runs of `ns-train arf-voxel` and `arf-nerfacto`, those of arf 0.1 among them: its classes had other names."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch
from nerfactos import SMALL
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.scripts.train import main
from nerfstudio.utils import writer

from arf.nerfstudio.methods import arf_nerfacto, arf_voxel
from arf.nerfstudio.models.nerfacto import NerfactoFieldConfig
from arf.radiance.evaluate.fidelity import evaluate
from arf.radiance.opening import capture_of, open_photoreal, open_run

CPU = torch.device("cpu")
NAMES = {
    "arf.nerfstudio.models.voxel.VoxelModelConfig": "arf.radiance.voxel_model.VoxelModelConfig",
    "arf.nerfstudio.models.voxel.VoxelModel": "arf.radiance.voxel_model.VoxelModel",
    "arf.nerfstudio.models.nerfacto.NerfactoFieldConfig": "arf.radiance.nerfacto.NerfactoBackboneConfig",
    "arf.nerfstudio.models.nerfacto.NerfactoField": "arf.radiance.nerfacto.NerfactoBackbone",
    "arf.nerfstudio.parser.CaptureDataParserConfig": "arf.radiance.capture.CaptureDataParserConfig",
    "arf.nerfstudio.parser.CaptureDataParser": "arf.radiance.capture.CaptureDataParser",
    "arf.nerfstudio.parser.CaptureDataset": "arf.radiance.pictures.CaptureDataset",
}
GONE = ("allow_outside:", "model: null")  # settings of the dataparser that arf 0.1 had not


def train(config: TrainerConfig, room: Path, output: Path, steps: int) -> Path:
    config = copy.deepcopy(config)
    config.data, config.output_dir, config.timestamp, config.experiment_name = room, output, "now", "room"
    config.vis, config.machine.device_type = "tensorboard", "cpu"
    config.max_num_iterations, config.steps_per_save = steps, steps
    config.steps_per_eval_image = config.steps_per_eval_all_images = 1000
    config.pipeline.datamanager.train_num_rays_per_batch = 256
    main(config)
    writer.EVENT_WRITERS.clear()  # nerfstudio's are global
    return config.get_base_dir()


@pytest.fixture(scope="module")
def trained(room, tmp_path_factory) -> dict[str, Path]:
    """A run of each method. Read only."""
    output = tmp_path_factory.mktemp("trained")
    voxel, nerfacto = copy.deepcopy(arf_voxel.config), copy.deepcopy(arf_nerfacto.config)
    voxel.pipeline.model.resolutions, voxel.pipeline.model.stages = (12,), ()
    nerfacto.pipeline.model = NerfactoFieldConfig.of({**SMALL, "camera_optimizer": {"mode": "SO3xR3"}})
    runs = {"voxel": train(voxel, room, output, 20), "nerfacto": train(nerfacto, room, output, 3)}
    assert [run.parent.name for run in runs.values()] == ["arf-voxel", "arf-nerfacto"]
    return runs


def aged(run: Path, copied: Path) -> Path:
    """The run as arf 0.1 wrote it."""
    shutil.copytree(run, copied)
    text = (copied / "config.yml").read_text()
    for new, old in sorted(NAMES.items(), key=lambda names: -len(names[0])):
        text = text.replace(new, old)
    assert "arf.nerfstudio" not in text
    lines = [line for line in text.splitlines() if not line.strip().startswith(GONE)]
    assert len(lines) == len(text.splitlines()) - 2
    (copied / "config.yml").write_text("\n".join(lines))
    (file,) = (copied / "nerfstudio_models").iterdir()
    state = torch.load(file, weights_only=True)
    own = {k: v for k, v in state["pipeline"].items() if k not in ("_model.keys", "_model.numbers")}
    state["pipeline"] = {
        k.replace("_model.voxel.voxels.", "_model.field.").replace(".voxel.", "."): own[k] for k in own
    }
    torch.save(state, file)
    return copied


@pytest.mark.parametrize("name", ["voxel", "nerfacto"])
def test_a_run_of_ns_train_opens_and_one_of_arf_0_1_is_the_same(name, trained, tmp_path):
    new, old = open_run(trained[name], "fit"), open_run(aged(trained[name], tmp_path / "old"), "fit")
    for run in (new, old):
        assert (run.info["method"], run.info["scene"]) == (f"arf-{name}", "room")
    (field, capture), (again, same) = open_photoreal(new, CPU), open_photoreal(old, CPU)
    assert field.name == again.name == name
    assert same.fingerprint == capture.fingerprint
    assert torch.equal(same.train.cameras.poses, capture.train.cameras.poses)
    for camera in (capture.held_out.cameras[0], capture.train.cameras[3]):
        assert torch.equal(again.shoot(camera).color, field.shoot(camera).color)
    assert field.shoot(camera).color.std() > 0.01
    assert (again.values(), again.state_dict().keys()) == (field.values(), field.state_dict().keys())
    assert evaluate(field, capture.held_out)["psnr"] > 8


def test_poses_that_ns_train_corrected_are_those_of_the_run(trained):
    run = open_run(trained["nerfacto"], "fit")
    _, capture = open_photoreal(run, CPU)
    before = capture_of(run).train.cameras.poses
    apart = (capture.train.cameras.poses - before).abs().max()
    assert 0 < apart < 0.1


def test_ns_train_goes_on_with_the_grid_of_a_checkpoint(trained, room, tmp_path):
    """Its optimizer is made before: what it moves must be what was loaded."""
    config = copy.deepcopy(arf_voxel.config)
    config.pipeline.model.resolutions, config.pipeline.model.stages = (12,), ()
    config.load_dir = trained["voxel"] / "nerfstudio_models"
    later = train(config, room, tmp_path, 15)
    before, after = (open_photoreal(open_run(path, "fit"), CPU) for path in (trained["voxel"], later))
    moved = (after[0].voxels.table - before[0].voxels.table).abs().max()
    assert moved > 0.01
    scores = [evaluate(field, capture.held_out)["psnr"] for field, capture in (before, after)]
    assert scores[1] > scores[0]

"""Opening our own runs: JSON and safetensors in, models out. Nothing in a run is executed."""

from __future__ import annotations

from pathlib import Path

import torch
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.models.base_model import Model

from arf.errors import UserError
from arf.radiance.capture import Capture, CaptureDataParserConfig, load_capture
from arf.radiance.fit import parser_config
from arf.radiance.stylized import StylizedModel, StylizedModelConfig
from arf.radiance.voxel_model import VoxelModel, VoxelModelConfig
from arf.runs import Run, settings_from
from arf.settings import FitSettings


def capture_config(run: Run) -> CaptureDataParserConfig:
    """How the run's capture is read."""
    source = run.info["fit"] if run.info["kind"] == "stylize" else run.info
    return parser_config(Path(source["data"]), settings_from(FitSettings, source["settings"]))


def open_photoreal(run: Run, device: torch.device) -> tuple[VoxelModel, Capture]:
    """The fitted model of a `fit` run, and its capture."""
    capture = load_capture(capture_config(run))
    return _restore(run, backbone_config(run), capture, device), capture


def open_stylized(run: Run, device: torch.device) -> tuple[StylizedModel, Capture]:
    """The repainted model of a `stylize` run, and its capture."""
    capture = load_capture(capture_config(run))
    config = StylizedModelConfig(backbone=backbone_config(run), drop_weight=run.info["settings"]["drop_weight"])
    return _restore(run, config, capture, device), capture


def backbone_config(run: Run) -> VoxelModelConfig:
    """The backbone's configuration that arf.json kept."""
    return settings_from(VoxelModelConfig, run.info["model"])


def _restore(run: Run, config, capture: Capture, device: torch.device) -> Model:
    tensors, _ = run.load("model")
    model = config.setup(
        scene_box=SceneBox(aabb=capture.scene_box), num_train_data=len(capture.train), metadata=capture.metadata
    )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{run.path}/model.safetensors does not fit its arf.json ({reason}); make the run again"
        ) from error
    return model.to(device).eval()

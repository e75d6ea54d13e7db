"""Opening our own runs: JSON and safetensors in, models out. Nothing in a run is executed."""

from __future__ import annotations

from pathlib import Path

import torch
from nerfstudio.models.base_model import Model

from arf.errors import UserError
from arf.radiance.backbone import Backbone
from arf.radiance.backbones import build, config_of
from arf.radiance.capture import Capture, CaptureDataParserConfig, load_capture
from arf.radiance.fit import parser_config
from arf.radiance.nerfacto import NerfactoBackbone
from arf.radiance.stylized import StylizedModel, StylizedModelConfig
from arf.runs import Run, settings_from
from arf.settings import FitSettings


def capture_config(run: Run) -> CaptureDataParserConfig:
    """How the run's capture is read."""
    source = run.info["fit"] if run.info["kind"] == "stylize" else run.info
    return parser_config(Path(source["data"]), settings_from(FitSettings, source["settings"]))


def open_photoreal(run: Run, device: torch.device) -> tuple[Backbone, Capture]:
    """The fitted model of a `fit` run, and its capture, with its training poses as the fit refined them."""
    capture = load_capture(capture_config(run))
    model = _restore(run, config_of(run.info["model"]), capture, device)
    if isinstance(model, NerfactoBackbone):
        model.refined(capture.train.cameras)
    return model, capture


def open_stylized(run: Run, device: torch.device) -> tuple[StylizedModel, Capture]:
    """The repainted model of a `stylize` run, and its capture."""
    capture = load_capture(capture_config(run))
    config = StylizedModelConfig(backbone=config_of(run.info["model"]), drop_weight=run.info["settings"]["drop_weight"])
    return _restore(run, config, capture, device), capture


def _restore(run: Run, config, capture: Capture, device: torch.device) -> Model:
    tensors, _ = run.load("model")
    model = build(config, capture, device)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{run.path}/model.safetensors does not fit its arf.json ({reason}); make the run again"
        ) from error
    return model.eval()

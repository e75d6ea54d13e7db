"""The files by which ns-viewer, ns-render and ns-eval open our runs. Our own commands never read them."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.models.base_model import ModelConfig
from torch import Tensor

from arf.jobs.files import atomic_path, write_json
from arf.jobs.runs import Run
from arf.nerfstudio.models.nerfacto import NerfactoFieldConfig
from arf.nerfstudio.models.stylized import StylizedModelConfig
from arf.nerfstudio.models.voxel import VoxelModelConfig
from arf.nerfstudio.parser import CaptureDataParserConfig
from arf.nerfstudio.runs.captures import parser_config
from arf.radiance.asked import capture_config
from arf.radiance.capture.capture import CaptureConfig
from arf.radiance.capture.views import Capture
from arf.radiance.fields.field import Field
from arf.radiance.looks.painted import Painted
from arf.radiance.settings import FitSettings


def write_fit(run: Run, capture: Capture, config: CaptureConfig, field: Field) -> None:
    """Beside a fit: what nerfstudio needs to open it as a model of ours."""
    state = field.state_dict()
    if field.name == "voxel":
        model, state = VoxelModelConfig(**field.values()), {f"voxel.{name}": value for name, value in state.items()}
        state["device_indicator_param"] = torch.empty(0)
    else:
        model = NerfactoFieldConfig.of(field.values())
    _write(run, capture, CaptureDataParserConfig.of(config), model, state)


def write_painting(run: Run, capture: Capture, painted: Painted) -> None:
    """Beside a painting: the same."""
    values = {"backbone": painted.field.name, **painted.field.values()}
    state = {f"scene.{name}": value for name, value in painted.field.state_dict().items()}
    state |= {f"colors.{name}": value for name, value in painted.look.tensors().items()}
    state["device_indicator_param"] = torch.empty(0)
    model = StylizedModelConfig(field_values=values, drop_weight=painted.drop)
    _write(run, capture, parser_of(run), model, state)


def parser_of(run: Run) -> DataParserConfig:
    """The dataparser of the capture that a run was made of."""
    from arf.jobs.door import settings_from

    source = run.info["fit"] if run.info["kind"] == "stylize" else run.info
    if source.get("parser"):
        return parser_config(source["parser"])
    settings = source["settings"]
    settings = settings if isinstance(settings, FitSettings) else settings_from(FitSettings, settings, run.path)
    return CaptureDataParserConfig.of(capture_config(Path(source["data"]), settings))


def _write(run: Run, capture: Capture, parser: DataParserConfig, model: ModelConfig, state: dict[str, Tensor]) -> None:
    """Write config.yml, dataparser_transforms.json and nerfstudio_models/step-000000000.ckpt.

    config.yml holds Python objects, as nerfstudio wants it; the checkpoint holds tensors and plain numbers only, since
    torch loads nothing else by default.
    """
    from arf.nerfstudio import config  # imports nerfstudio's trainer: not needed to import this file

    trainer = config.trainer(run.info["method"], model)
    trainer.output_dir = run.path.parents[2].resolve()
    trainer.experiment_name, trainer.timestamp = run.info["scene"], run.name
    trainer.data = parser.data.resolve()
    parser.data = trainer.data
    trainer.pipeline.datamanager.data = trainer.data
    trainer.pipeline.datamanager.dataparser = parser
    with atomic_path(run.path / "config.yml") as temporary:
        temporary.write_text(yaml.dump(trainer), encoding="utf-8")
    transform = {"transform": capture.transform.tolist(), "scale": float(capture.scale)}
    write_json(run.path / "dataparser_transforms.json", transform)
    with atomic_path(run.path / "nerfstudio_models" / "step-000000000.ckpt") as temporary:
        state = {f"_model.{name}": value.cpu() for name, value in state.items()}
        torch.save({"step": 0, "pipeline": state, "optimizers": {}, "schedulers": {}, "scalers": {}}, temporary)

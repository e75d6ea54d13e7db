"""The files by which ns-viewer, ns-render and ns-eval open our runs. Our own commands never read them."""

from __future__ import annotations

import torch
import yaml
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.models.base_model import ModelConfig
from torch import Tensor

from arf.jobs.files import atomic_path, below, write_json
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
from arf.radiance.records import source_of


def write_fit(run: Run, capture: Capture, config: CaptureConfig, field: Field) -> None:
    """Beside a fit: what nerfstudio needs to open it as a model of ours."""
    state = field.state_dict()
    if field.name == "voxel":
        model, state = VoxelModelConfig(**field.values()), {f"voxel.{name}": value for name, value in state.items()}
        state["device_indicator_param"] = torch.empty(0)
    else:
        model = NerfactoFieldConfig.of(field.values())
    _write(run, capture, CaptureDataParserConfig.of(config), f"arf-{field.name}", model, state)


def write_painting(run: Run, capture: Capture, painted: Painted) -> None:
    """Beside a painting: the same."""
    values = {"backbone": painted.field.name, **painted.field.values()}
    state = {f"scene.{name}": value for name, value in painted.field.state_dict().items()}
    state |= {f"colors.{name}": value for name, value in painted.look.tensors().items()}
    state["device_indicator_param"] = torch.empty(0)
    model = StylizedModelConfig(field_values=values, drop_weight=painted.drop)
    _write(run, capture, parser_of(run), "arf", model, state)


def parser_of(run: Run) -> DataParserConfig:
    """The dataparser of the capture that a run was made of."""
    source = source_of(run)
    if source.parser is not None:
        return parser_config(source.parser)
    return CaptureDataParserConfig.of(capture_config(source.data, source.settings))


def _write(
    run: Run, capture: Capture, parser: DataParserConfig, method: str, model: ModelConfig, state: dict[str, Tensor]
) -> None:
    """Write config.yml, dataparser_transforms.json and nerfstudio_models/step-000000000.ckpt.

    config.yml holds Python objects, as nerfstudio wants it; the checkpoint holds tensors and plain numbers only, since
    torch loads nothing else by default.
    """
    from arf.nerfstudio import config  # imports nerfstudio's trainer: not needed to import this file

    trainer = config.trainer(method, model)
    above = run.path.resolve().parents  # outputs/scene/method, where nobody has moved it
    trainer.output_dir = above[min(2, len(above) - 1)]
    trainer.experiment_name, trainer.timestamp = capture.name, run.name
    trainer.data = parser.data.resolve()
    parser.data = trainer.data
    trainer.pipeline.datamanager.data = trainer.data
    trainer.pipeline.datamanager.dataparser = parser
    with atomic_path(run.path / "config.yml") as temporary:
        temporary.write_text(yaml.dump(trainer), encoding="utf-8")
    transform = {"transform": capture.transform.tolist(), "scale": float(capture.scale)}
    write_json(run.path / "dataparser_transforms.json", transform)
    with atomic_path(below(run.path, "nerfstudio_models", "step-000000000.ckpt")) as temporary:
        state = {f"_model.{name}": value.cpu() for name, value in state.items()}
        torch.save({"step": 0, "pipeline": state, "optimizers": {}, "schedulers": {}, "scalers": {}}, temporary)

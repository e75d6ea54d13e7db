"""The files by which ns-viewer, ns-render and ns-eval open our runs. Our own commands never read them."""

from __future__ import annotations

import copy

import torch
import yaml
from nerfstudio.models.base_model import Model, ModelConfig

from arf.files import atomic_path, write_json
from arf.radiance.capture import Capture, CaptureDataParserConfig
from arf.runs import Run


def write_nerfstudio_files(
    run: Run, capture: Capture, parser: CaptureDataParserConfig, config: ModelConfig, model: Model
) -> None:
    """Write config.yml, dataparser_transforms.json and nerfstudio_models/step-000000000.ckpt.

    config.yml holds Python objects, as nerfstudio wants it; the checkpoint holds tensors and plain numbers only, since
    torch loads nothing else by default.
    """
    from arf.radiance import methods  # builds configurations: not needed to import this file

    specification = {"arf-voxel": methods.arf_voxel, "arf-nerfacto": methods.arf_nerfacto}.get(run.info["method"])
    trainer = copy.deepcopy(specification.config) if specification else methods.stylized_trainer()
    trainer.output_dir = run.path.parents[2].resolve()
    trainer.experiment_name, trainer.timestamp = run.info["scene"], run.name
    trainer.data = parser.data.resolve()
    trainer.machine.device_type = "cuda" if torch.cuda.is_available() else "cpu"
    parser.data = trainer.data
    trainer.pipeline.datamanager.data = trainer.data
    trainer.pipeline.datamanager.dataparser = parser
    trainer.pipeline.model = config
    with atomic_path(run.path / "config.yml") as temporary:
        temporary.write_text(yaml.dump(trainer), encoding="utf-8")
    transform = {"transform": capture.transform.tolist(), "scale": float(capture.scale)}
    write_json(run.path / "dataparser_transforms.json", transform)
    with atomic_path(run.path / "nerfstudio_models" / "step-000000000.ckpt") as temporary:
        state = {f"_model.{name}": value.cpu() for name, value in model.state_dict().items()}
        torch.save({"step": 0, "pipeline": state, "optimizers": {}, "schedulers": {}, "scalers": {}}, temporary)

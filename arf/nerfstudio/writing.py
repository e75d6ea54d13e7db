"""The files by which ns-viewer, ns-render and ns-eval open our runs. Our own commands never read them."""

from __future__ import annotations

import torch
import yaml
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.models.base_model import Model, ModelConfig

from arf.jobs.files import atomic_path, write_json
from arf.jobs.runs import Run
from arf.radiance.capture.capture import Capture


def write_nerfstudio_files(
    run: Run, capture: Capture, parser: DataParserConfig, config: ModelConfig, model: Model
) -> None:
    """Write config.yml, dataparser_transforms.json and nerfstudio_models/step-000000000.ckpt.

    config.yml holds Python objects, as nerfstudio wants it; the checkpoint holds tensors and plain numbers only, since
    torch loads nothing else by default.
    """
    from arf.nerfstudio import config as ns_config  # imports nerfstudio's trainer: not needed to import this file

    trainer = ns_config.trainer(run.info["method"], config)
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
        state = {f"_model.{name}": value.cpu() for name, value in model.state_dict().items()}
        torch.save({"step": 0, "pipeline": state, "optimizers": {}, "schedulers": {}, "scalers": {}}, temporary)

"""Opening runs, our own and those of ns-train: models and captures out. Nothing in a run is executed."""

from __future__ import annotations

from pathlib import Path

import torch
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor

from arf.errors import UserError
from arf.jobs.runs import Run, settings_from
from arf.nerfstudio.nerfacto import NerfactoBackbone
from arf.nerfstudio.reading import check_frame, is_nerfstudio_run, read_nerfstudio_run
from arf.nerfstudio.reading import parser_config as nerfstudio_parser
from arf.nerfstudio.stylized import StylizedModel, StylizedModelConfig
from arf.radiance.capture.capture import Capture, load_capture
from arf.radiance.fields.backbone import Backbone
from arf.radiance.fields.backbones import build, config_of
from arf.radiance.fit.fit import parser_config
from arf.radiance.settings import FitSettings


def open_run(path: str | Path, kind: str | None = None) -> Run:
    """`Run.open` of finished runs, which also takes a run of ns-train (nerfacto, arf-nerfacto, arf-voxel) as a fit.

    Args:
        path: a run, its config.yml, or a folder that holds some (the newest is taken, one of ours if there is any).

    Raises:
        UserError: as `Run.open` and `read_nerfstudio_run`.
    """
    path = Path(path)
    path = path.parent if path.name == "config.yml" else path
    if kind == "stylize" or not path.is_dir() or Run.below(path):
        return Run.open(path, kind)
    found = [file.parent for file in path.glob("**/config.yml") if is_nerfstudio_run(file.parent)]
    return foreign_fit(max(found, key=lambda p: p.name)) if found else Run.open(path, kind)


def foreign_fit(path: Path) -> Run:
    """A run of ns-train as a fit of ours; nothing is written into it."""
    theirs = read_nerfstudio_run(path)
    info = {"kind": "fit", "method": theirs.method, "scene": theirs.scene, "finished": True, "settings": None}
    return Run(path, {**info, "data": theirs.parser["data"], "parser": theirs.parser, "model": theirs.model})


def capture_config(run: Run) -> DataParserConfig:
    """How the run's capture is read."""
    source = run.info["fit"] if run.info["kind"] == "stylize" else run.info
    if source.get("parser"):
        return nerfstudio_parser(source["parser"])
    return parser_config(Path(source["data"]), settings_from(FitSettings, source["settings"]))


def open_photoreal(run: Run, device: torch.device) -> tuple[Backbone, Capture]:
    """The fitted model of a `fit` run, and its capture, with its training poses as the fit refined them."""
    capture = load_capture(capture_config(run))
    if run.info.get("parser"):
        check_frame(run.path, capture.transform, capture.scale)
        tensors = read_nerfstudio_run(run.path).state
    else:
        tensors, _ = run.load("model")
    model = _restore(run, config_of(run.info["model"]), tensors, capture, device)
    if isinstance(model, NerfactoBackbone):
        model.refined(capture.train.cameras)
    return model, capture


def open_stylized(run: Run, device: torch.device) -> tuple[StylizedModel, Capture]:
    """The repainted model of a `stylize` run, and its capture."""
    capture = load_capture(capture_config(run))
    config = StylizedModelConfig(backbone=config_of(run.info["model"]), drop_weight=run.info["settings"]["drop_weight"])
    tensors, _ = run.load("model")
    return _restore(run, config, tensors, capture, device), capture


def _restore(
    run: Run, config: ModelConfig, tensors: dict[str, Tensor], capture: Capture, device: torch.device
) -> Model:
    model = build(config, capture, device)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{run.path}: its weights do not fit its configuration ({reason}); make the run again"
        ) from error
    return model.eval()

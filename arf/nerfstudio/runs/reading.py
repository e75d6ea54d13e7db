"""Runs of ns-train, of nerfacto, splatfacto or ours: what config.yml and the checkpoint say, with nothing executed."""

from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.jobs.runs import Run
from arf.nerfstudio.models.nerfacto import INSTALL_TCNN, NerfactoFieldConfig, has_tcnn
from arf.nerfstudio.models.voxel import VoxelModelConfig
from arf.nerfstudio.runs.captures import PARSERS, parser_config, recorded_frame
from arf.nerfstudio.runs.plain import CLASS, checked, load_plain
from arf.nerfstudio.runs.splatfacto import SPLATFACTO, model_values, splats_of

CONFIG, MODELS = "config.yml", "nerfstudio_models"
# classes of models as config.yml spells them, now and in arf 0.1
VOXEL = ("arf.nerfstudio.models.voxel.VoxelModelConfig", "arf.radiance.voxel_model.VoxelModelConfig")
NERFACTO = (
    "nerfstudio.models.nerfacto.NerfactoModelConfig", "arf.nerfstudio.models.nerfacto.NerfactoFieldConfig",
    "arf.radiance.nerfacto.NerfactoBackboneConfig",
)  # fmt: skip
HASH_GRID = "field.mlp_base.model."  # the first weights of nerfacto; their names tell torch from tinycudann


@dataclass
class NerfstudioRun:
    """A run as nerfstudio's Trainer left it. `model` and `parser` are JSON.

    Attributes:
        path: the run directory.
        method: "nerfacto", "nerfacto-big", "splatfacto", "arf-voxel", ...
        scene: nerfstudio's name of the experiment.
        step: of the checkpoint.
        model: what `arf.radiance.fields.kinds.build` takes; a nerfacto's `implementation` is what the weights were
            really made with.
        parser: `name` of the dataparser and its fields; `data` is absolute.
        state: the model's state_dict without the weights of its metrics; of splatfacto, the tensors of `Splats` and
            the background.
    """

    path: Path
    method: str
    scene: str
    step: int
    model: dict[str, Any]
    parser: dict[str, Any]
    state: dict[str, Tensor]


def read_nerfstudio_run(path: str | Path) -> NerfstudioRun:
    """Read a run of ns-train: configuration and newest checkpoint.

    Raises:
        UserError: another method, a damaged or missing file, a capture that has gone, a checkpoint that holds more than
            tensors and numbers, or one of tinycudann where that is not installed.
    """
    path = Path(path)
    config = load_plain(path / CONFIG)
    method, scene = (_last_name(_get(path, config, key)) for key in ("method_name", "experiment_name"))
    model = _model_values(path, config, method)
    parser = _parser_values(path, config)
    step, state = _read_checkpoint(path)
    if model["backbone"] == "nerfacto":
        model["implementation"] = _implementation(path, state)
    elif model["backbone"] == "splat":
        state = splats_of(state, config["pipeline"]["model"], path)
    return NerfstudioRun(path, method, scene, step, model, parser, state)


def foreign_fit(path: Path) -> Run:
    """A run of ns-train as a fit of ours; nothing is written into it."""
    theirs = read_nerfstudio_run(path)
    info = {"kind": "fit", "method": theirs.method, "scene": theirs.scene, "finished": True, "settings": None}
    return Run(path, {**info, "data": theirs.parser["data"], "parser": theirs.parser, "model": theirs.model})


def state_of(run: Run) -> dict[str, Tensor]:
    """The tensors of the field of a run of ns-train."""
    return read_nerfstudio_run(run.path).state


def _get(path: Path, config: Any, *keys: str) -> Any:
    """A value inside config.yml."""
    for i, key in enumerate(keys):
        if not isinstance(config, dict) or key not in config:
            missing = f"{path / CONFIG} has no {'.'.join(keys[: i + 1])}"
            raise UserError(f"{missing}: it is damaged or of another nerfstudio than 1.1; train again")
        config = config[key]
    return config


def _last_name(value: Any) -> str:
    """The last part of what may be a path, since runs of ours are named after it."""
    return Path(str(value)).name.strip(".") or "unnamed"


def _attributes(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if not str(key).startswith("_")}


def _model_values(path: Path, config: Any, method: str) -> dict[str, Any]:
    node = _get(path, config, "pipeline", "model")
    _get(path, node, CLASS)
    where, values = f"pipeline.model of {path / CONFIG}", _attributes(node)
    if node[CLASS] in VOXEL:
        values.pop("prompt", None)
        checked(VoxelModelConfig, values, where)
        return {"backbone": "voxel", **values}
    if node[CLASS] == SPLATFACTO:
        return model_values(values, where)
    if node[CLASS] not in NERFACTO:
        known = "nerfacto, of splatfacto or of `arf fit`"
        raise UserError(f"{path} is a run of {method}, which cannot be traced; give a run of {known}")
    poses = {"mode": _get(path, config, "pipeline", "model", "camera_optimizer", "mode")}
    checked(CameraOptimizerConfig, poses, where)
    checked(NerfactoFieldConfig, {key: v for key, v in values.items() if key != "camera_optimizer"}, where)
    return {"backbone": "nerfacto", **values, "camera_optimizer": poses}


def _parser_values(path: Path, config: Any) -> dict[str, Any]:
    node = _get(path, config, "pipeline", "datamanager", "dataparser")
    kind, where = str(_get(path, node, CLASS)), f"the dataparser of {path / CONFIG}"
    values = {**_attributes(node), "name": PARSERS.get(kind, kind)}
    # ns-train copies its --data into the datamanager, whose own goes over the dataparser's
    data = config["pipeline"]["datamanager"].get("data") or config.get("data") or values.get("data")
    parser_config({**values, "data": data}, where)
    if not os.path.exists(data):  # which, unlike Path.exists, takes a name of any length
        remedy = "put the capture back there"
        if not Path(data).is_absolute():
            remedy += ", or start arf in the folder where ns-train was started"
        raise UserError(f"{path} was trained on {Path(data).absolute()}, which is not there; {remedy}")
    return {**values, "data": str(Path(data).absolute()), "frame": recorded_frame(path)}


class _Unread:
    """Stands for the numpy scalars, and their dtypes, that a stock checkpoint has among its learning rates.

    Nobody reads them here, so numpy's own unpickling, which trusts its input, need not run.
    """

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


NUMPY = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")  # of numpy 1, of 2, of both


def _newest_checkpoint(path: Path) -> Path | None:
    files = [file for file in (path / MODELS).glob("step-*.ckpt") if file.stem[5:].isdecimal()]
    return max(files, key=lambda file: int(file.stem[5:]), default=None)


def _read_checkpoint(path: Path) -> tuple[int, dict[str, Tensor]]:
    """Step and model of the newest checkpoint."""
    file = _newest_checkpoint(path)
    if file is None:
        raise UserError(f"{path / MODELS} holds no step-*.ckpt yet; train on until nerfstudio has saved one")
    if refusal := cannot_read(file, "checkpoint"):
        raise refusal
    damaged = UserError(f"{file} is cut short or corrupt; restore it, or train again")
    if not _is_whole(file):
        raise damaged
    try:
        with torch.serialization.safe_globals([(_Unread, name) for name in NUMPY]):  # mapped: no size is taken on trust
            checkpoint = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{file} holds more than tensors and numbers and is not loaded, since that could run code; train again"
        ) from error
    except Exception as error:  # torch checks its input little: RuntimeError, EOFError, KeyError, ...
        raise damaged from error
    try:
        step, pipeline = checkpoint["step"], checkpoint["pipeline"]
        state = {key.removeprefix("_model."): v for key, v in pipeline.items() if key.startswith("_model.")}
    except (TypeError, KeyError, AttributeError) as error:
        raise damaged from error
    if type(step) is not int or not all(_is_plain(v, file.stat().st_size) for v in state.values()):
        raise damaged
    if all(key.startswith("module.") for key in state):  # trained on several GPUs
        state = {key.removeprefix("module."): v for key, v in state.items()}
    state = {key.removeprefix("voxel."): v for key, v in state.items() if not key.startswith("lpips.")}
    return step, state


def _is_whole(file: Path) -> bool:
    """Whether it is an archive as torch writes it, which compresses nothing: no more comes out than the file holds."""
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(entry.file_size for entry in archive.infolist()) <= file.stat().st_size
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _is_plain(value: Any, most: int) -> bool:
    """Whether a value of a checkpoint is a tensor of at most so many bytes: strides may repeat a number for ever."""
    return isinstance(value, Tensor) and value.layout == torch.strided and value.numel() * value.itemsize <= most


def _implementation(path: Path, state: dict[str, Tensor]) -> str:
    """torch or tcnn: nerfstudio takes torch without a word where tinycudann is missing, whatever config.yml says."""
    if f"{HASH_GRID}0.hash_table" in state:
        return "torch"
    if f"{HASH_GRID}params" not in state:
        raise UserError(f"{path}: its checkpoint has no {HASH_GRID}*, so nerfstudio 1.1 did not make it; train again")
    if not has_tcnn():
        raise UserError(
            f"{path} was trained with tinycudann, which is not installed here or finds no GPU: install it "
            f"({INSTALL_TCNN}), or train with --pipeline.model.implementation torch"
        )
    return "tcnn"

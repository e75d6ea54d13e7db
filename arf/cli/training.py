"""The commands that train networks, and hand them on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction

from arf.cli.common import Output, Replacing, progress
from arf.errors import UserError
from arf.jobs.outputs import check_outputs, inputs_of, result_path
from arf.networks.settings import ANY_STYLE, FastSettings
from arf.training.settings import Method, TrainSettings


@dataclass
class Train:
    """Train a network on folders of pictures; several GPUs by: torchrun --nproc-per-node=N -m arf train ..."""

    method: Positional[Method | None] = None
    """adain: any style. fast: one style. many: several in one network. cast: any style, by contrast."""
    content: Path | None = None
    """Folder of photographs."""
    style: UseAppendAction[tuple[Path, ...]] = ()
    """adain, cast: folder of paintings. fast: the picture. many: pictures, each with --style, or a folder."""
    init: Path | None = None
    """A model to begin with. adain, fast, cast: it is trained further; cast may also begin with one of adain. many:
    with just the styles that it has it is trained further; others are added to it by training their own rows alone,
    and those that it has stay as they are."""
    config: Path | None = None
    """Preset; flags win over it."""
    resume: Path | None = None
    """An unfinished run to go on with, in place of everything else but --device, --workers, --save-every and
    --sample-every."""
    settings: OmitArgPrefixes[TrainSettings] = field(default_factory=TrainSettings)
    common: OmitArgPrefixes[Output] = field(default_factory=Output)


@dataclass
class Onnx:
    """Write a network as an ONNX file, and check it against PyTorch with onnxruntime."""

    method: Positional[Literal["adain", "cast", "fast", "many"]]
    """adain, cast: encoder and decoder. fast, many: a network of one style or many."""
    model: str | None = None
    """The network, as in `arf adain`, `arf cast` and `arf fast`; one that comes with arf when left out."""
    encoder_weights: Path | None = None
    """adain, cast: weights file of the encoder, as in `arf adain`."""
    output: Path | None = None
    """File to write (.onnx). By default outputs/<model>-<method>.onnx."""
    common: OmitArgPrefixes[Replacing] = field(default_factory=Replacing)


def _train(command: Train) -> dict[str, Any]:
    from arf.jobs.presets import unless_preset
    from arf.jobs.runs import Run
    from arf.training.settings import SHAPE, going_on, unused
    from arf.training.train import record_of, train

    if command.resume:
        run = Run.open(command.resume, "training", finished=False)
        if run.info["finished"]:
            raise UserError(f"{run.path} has finished; begin a new run, or train it further with --init {run.path}")
        record = record_of(run)
        asked, settings = record.asked, going_on(record.settings, command.settings)
        method, content, style, init = asked.method, asked.content, asked.style, asked.init
    else:
        run, method, content, style, init = None, command.method, command.content, command.style, command.init
        settings = command.settings
        if method is None:
            raise UserError("say what to train: arf train adain, fast, many or cast")
        if content is None:
            raise UserError("no photographs: give a folder of them with --content")
        idle = [*unused(method), *(SHAPE if init else ())]
        settings = unless_preset(settings, command.config, "train", idle)
    with progress(command.common) as bars:
        run = train(method, content, style, settings, command.common.output, init, bars, run)
    if run is None:  # the first process has said it
        return {}
    metrics = run.info["metrics"]
    skipped = f"\n{metrics['skipped']} files could not be read" if metrics["skipped"] else ""
    model = run.path / "model.safetensors"
    return {
        "run": run.path, "model": model, **metrics,
        "say": f"{model}{skipped}\nlook at {run.path / 'preview.png'}",
    }  # fmt: skip


def _onnx(command: Onnx) -> dict[str, Any]:
    from arf.jobs.locks import sole_writer
    from arf.networks import modelfile
    from arf.networks.onnx_file import export
    from arf.networks.paint import open_any_style

    if command.method == "fast" and command.model is None:
        raise UserError("arf onnx fast needs a --model; arf onnx many has one that comes with arf")
    made_of = [Path(command.model).stem] if command.model else []
    output = command.output or result_path(*made_of, what=command.method, suffix=".onnx")
    check_outputs([output], inputs_of(command), command.common.overwrite)
    if settings_of := ANY_STYLE.get(command.method):
        model = command.model or settings_of.model
        network = open_any_style(settings_of(model=model, encoder_weights=command.encoder_weights))
    else:
        network = modelfile.open_fast(command.model or FastSettings.model)
    with sole_writer(output, command.common.overwrite):
        told = export(network, output)
    styles = f"; mix: weights of {', '.join(network.names)}" if "mix" in told.inputs else ""
    checked = "not checked: onnxruntime is not installed"
    if told.difference is not None:
        checked = f"at most {told.difference:.1g} from PyTorch's"
    inputs = ", ".join(told.inputs)
    return {
        **vars(told),
        "say": f"{told.path}  inputs: {inputs}; sides are multiples of {told.multiple}{styles}; {checked}",
    }


COMMANDS = {"train": (Train, _train), "onnx": (Onnx, _onnx)}

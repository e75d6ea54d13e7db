"""`arf train`: from folders of pictures to a trained network."""

from __future__ import annotations

import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from arf.errors import UserError
from arf.jobs.checks import changed
from arf.jobs.door import admit, settings_of_run
from arf.jobs.runs import INFO, Run
from arf.media.image import pictures_in
from arf.networks import modelfile
from arf.networks.adain import AdainNetwork
from arf.networks.cast import CastNetwork
from arf.networks.settings import ANY_STYLE
from arf.training.adain import AdainTrainee
from arf.training.cast import CastTrainee
from arf.training.data import check_readable
from arf.training.fast import FastTrainee
from arf.training.loop import Loop, Progress, finish, folder_of
from arf.training.processes import Team, team
from arf.training.settings import Method, TrainSettings
from arf.training.trainee import Trainee


def train(
    method: Method,
    content: Path,
    style: tuple[Path, ...],
    settings: TrainSettings,
    output: Path = Path("outputs"),
    init: Path | None = None,
    progress: Progress | None = None,
    resume: Run | None = None,
) -> Run | None:
    """Train a network on the pictures of folders and write a run with `model.safetensors`.

    Started by torchrun, it is one of several processes; only the first returns the run.

    Args:
        content: folder of photographs.
        style: adain, cast: folders of paintings. fast: the picture. many: pictures, or folders of them.
        init: a model to begin with. adain, fast, cast: it is trained further; cast may also begin with one of adain.
            many: with just the styles that it has it is trained further; others are added to it, and those that it
            has stay as they are.
        progress: called every few steps.
        resume: an unfinished run to go on with; its own inputs and settings must be the ones given.

    Raises:
        UserError: bad input, or a loss that is not finite.
        KeyboardInterrupt: passed on after the state has been saved.
    """
    settings.check(method)
    settings = settings.for_method(method)
    contents = pictures_in(content)
    if not style:
        raise UserError("no style: give --style, a picture or a folder of them")
    if missing := [path for path in style if not path.exists()]:
        raise UserError(f"no picture or folder at {missing[0]}; check --style")
    styles = [file for path in style for file in ([path] if path.is_file() else pictures_in(path))]
    for folder in (contents, *([styles] if method in ANY_STYLE else [])):
        check_readable(folder)
    drawn = {"photographs": _listing(contents), "styles": _listing(styles)}
    if resume and (other := [what for what in drawn if record_of(resume).drawn.get(what) != drawn[what]]):
        raise UserError(f"cannot go on: the {other[0]} are not those that {resume.path} began with; put them back")
    with team(settings.device) as processes:
        if settings.batch % processes.ranks:
            raise UserError(f"batch is {settings.batch}; it must be a multiple of the {processes.ranks} processes")
        torch.manual_seed(settings.seed)
        trainee = _trainee(method, contents, styles, settings, init, processes)
        asked = {"method": method, "content": content, "style": style, "init": init}
        scene = folder_of(styles)
        if resume:
            run = resume
        elif processes.leads:
            run = Run.create(output, scene, method, kind="training", asked=asked, drawn=drawn, settings=settings)
        else:
            run = Run.at(output, scene, method)
        with run.at_work() if processes.leads else nullcontext():
            loop = Loop(trainee, settings, run, processes)
            loop.train(progress)
            return finish(loop)


@dataclass
class Asked:
    """What a training was asked for beside its settings."""

    method: Method
    content: Path
    style: tuple[Path, ...]
    init: Path | None


@dataclass
class Record:
    """What arf.json says of a training.

    Attributes:
        drawn: what its pictures were, see `_listing`.
    """

    asked: Asked
    settings: TrainSettings
    drawn: dict[str, dict[str, Any]]


def record_of(run: Run) -> Record:
    """
    Raises:
        UserError: its arf.json is damaged.
    """
    where = run.path / INFO
    record = admit(Record, run.info, where, "make the run again")
    record.settings = settings_of_run(TrainSettings, run.info["settings"], f"{where}: settings")
    return record


def _trainee(
    method: Method, contents: list[Path], styles: list[Path], settings: TrainSettings, init: Path | None, team: Team
) -> Trainee:
    if method == "adain":
        begun = _adain_start(init, settings) if init else None
        return AdainTrainee(contents, styles, settings, team.device, begun)
    if method == "cast":
        return CastTrainee(contents, styles, settings, team, _cast_start(init, settings) if init else None)
    if method == "fast" and len(styles) > 1:
        raise UserError(f"{len(styles)} style pictures; a fast network has one: name it, or use arf train many")
    if len({path.stem for path in styles}) < len(styles):
        raise UserError("two style pictures have one name; styles are chosen by name: rename one")
    if method == "many" and settings.norm == "batch":
        raise UserError("many styles need --norm instance; batch norm has one set of statistics")
    network = modelfile.open_fast(init) if init else None
    if network:
        _check_shape(settings, norm=network.architecture.norm, width=network.architecture.width)
    if network and (method == "many") != (network.architecture.styles > 1):
        kind = "many" if method == "fast" else "fast"
        raise UserError(f"{init} is a model of arf train {kind}; arf train {method} cannot begin with it")
    if method == "many" and network:
        names = {path.stem for path in styles}
        if names != set(network.names) and (twice := sorted(names & set(network.names))):
            raise UserError(
                f"{init} has a style {twice[0]!r} already; name new styles alone, to add them, or exactly those that "
                "it has, to train it further"
            )
    return FastTrainee(contents, styles, settings, team.device, network)


def _adain_start(init: Path, settings: TrainSettings) -> AdainNetwork:
    """A network whose file can be written again: with one of arf's encoders."""
    path = modelfile.find(init, "adain-")
    if path.suffix != ".safetensors":
        raise UserError(
            f"{path} is a published decoder; training begins with one of arf train adain, or without --init"
        )
    network = modelfile.open_adain(path, settings.encoder_weights)
    _check_shape(settings, encoder=network.encoder.name)
    return network


def _cast_start(init: Path, settings: TrainSettings) -> CastNetwork:
    """CAST's network, or one that begins with AdaIN's decoder in both directions."""
    path = modelfile.find(init, "adain-")
    if path.suffix == ".safetensors" and modelfile.kind_of(path) == "adain":
        begun = _adain_start(init, settings)
        return CastNetwork(begun.encoder, begun.decoder)
    network = modelfile.open_cast(init, settings.encoder_weights)
    _check_shape(settings, encoder=network.encoder.name)
    return network


def _check_shape(settings: TrainSettings, **shape: Any) -> None:
    """Raises UserError where another shape was asked for than that of the network to begin with."""
    for name, value in shape.items():
        if name in changed(settings) and getattr(settings, name) != value:
            raise UserError(f"{name} is {getattr(settings, name)}, and that of --init is {value}; leave out --{name}")


def _listing(files: list[Path]) -> dict[str, Any]:
    """What tells folders of pictures from others: the draws of a training follow from it."""
    names = "\n".join(file.name for file in files)
    return {"files": len(files), "names": f"{zlib.crc32(names.encode(errors='surrogateescape')):08x}"}

"""Opening runs, our own and those of ns-train: fields and captures out. Nothing in a run is executed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.jobs.tensors import check_tensors
from arf.radiance.asked import capture_config
from arf.radiance.brought.views import Renderings, capture_of_sight
from arf.radiance.capture.capture import LISTS, load_capture
from arf.radiance.capture.views import Capture
from arf.radiance.extras import nerfstudio
from arf.radiance.fields import kinds
from arf.radiance.fields.field import Field
from arf.radiance.fields.place import Place
from arf.radiance.fields.stored import restore
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import FIELD, LOOK, Painted
from arf.radiance.records import REMEDY, Origin, PaintRecord, Source, fit_record, paint_record, source_of
from arf.radiance.settings import SplatSettings
from arf.style.color import Affine

MODEL = "model.safetensors"
SPLATS = (".ply", ".splat", ".spz")
Tensors = dict[str, Tensor]


def open_run(
    path: str | Path, kind: str | None = None, splats: SplatSettings | None = None, allow_outside: bool = False
) -> Run:
    """`Run.open` of finished runs, which also takes a run of ns-train (nerfacto, splatfacto, arf-nerfacto, arf-voxel)
    as a fit, and splats: a file, or a run folder of 3D Gaussian Splatting.

    Args:
        path: a run, its config.yml, or a folder that holds some (the newest is taken, one of ours if there is any).
        splats: from where splats are looked at, where they bring no cameras.
        allow_outside: whether the capture that they name may name pictures outside of its folder.

    Raises:
        UserError: as `Run.open`; a run that is no scene's, or says what cannot be; or a run of ns-train that cannot be
            read here.
    """
    path = Path(path)
    if is_splats(path):
        if kind == "stylize":
            raise UserError(f"{path} holds splats, but a stylize run is needed")
        return _brought(path, splats or SplatSettings(), allow_outside=allow_outside)
    run = _found(path.parent if path.name == "config.yml" else path, kind)
    source_of(run)
    if splats not in (None, SplatSettings()):
        raise UserError(f"{run.path} has cameras of its own: flags for splats are for files that bring none")
    return run


def reopened(origin: Origin) -> Run:
    """The fit under a painting, to go on with that.

    Raises:
        UserError: as `open_run`, or they are other splats than they were.
    """
    if origin.sight is not None:
        return _brought(origin.run, SplatSettings(), origin)
    return open_run(origin.run, "fit")


def is_splats(path: Path) -> bool:
    """Whether a path is meant as a file of splats, or is a run folder of 3D Gaussian Splatting."""
    is_file = path.suffix.lower() in SPLATS and not os.path.isdir(path)  # which, unlike Path.is_dir, never raises
    return is_file or os.path.isdir(path / "point_cloud")


def files_behind(run: Run) -> list[Path]:
    """What is read of a run, and of its capture to know the cameras: not to be written over."""
    source = source_of(run)
    listed = [] if source.sight else [source.data, *(source.data / name for name in LISTS)]
    return [*run.files, *listed]


def _brought(path: Path, settings: SplatSettings, earlier: Source | None = None, allow_outside: bool = False) -> Run:
    from arf.radiance.brought.scene import bring  # numba imports slowly

    return bring(path, settings, earlier, allow_outside)


def _found(path: Path, kind: str | None) -> Run:
    if kind == "stylize" or not path.is_dir() or any(kind in (None, run.kind) for run in Run.below(path)):
        return Run.open(path, kind)
    found = [file.parent for file in path.glob("**/config.yml") if _is_theirs(file.parent)]
    if not found:
        return Run.open(path, kind)
    if room := nerfstudio("runs.reading"):
        return room.foreign_fit(max(found, key=lambda p: p.name))
    raise UserError(f"{found[0]} is a run of ns-train, which nerfstudio opens: pip install nerfstudio")


def _is_theirs(path: Path) -> bool:
    """Whether a directory is a run of nerfstudio's that has a checkpoint, and none of ours."""
    return not (path / "arf.json").exists() and any((path / "nerfstudio_models").glob("step-*.ckpt"))


def capture_of(run: Run, allow_outside: bool = False) -> Capture:
    """The capture that a run was made of.

    Args:
        allow_outside: whether its files may name pictures outside of its folder. What the run says of that does not
            count, since it may be a stranger's.

    Raises:
        UserError: it has gone, or it is another than it was.
    """
    source = source_of(run)
    if source.sight is not None:
        return capture_of_sight(source, run.info.get("scene", "scene"))
    if source.parser is not None:
        room = nerfstudio("runs.captures")
        if room is None:
            raise UserError(f"{run.path} came from a run of ns-train, which nerfstudio opens: pip install nerfstudio")
        capture = room.load_foreign(source.parser, allow_outside)
    else:
        settings = replace(source.settings, allow_outside=allow_outside)
        capture = load_capture(capture_config(source.data, settings))
    if source.capture not in (None, capture.fingerprint):
        raise UserError(
            f"the capture {source.data} has changed since {run.path} was fitted: other photographs or other poses "
            "than it had; restore it, or fit again"
        )
    return capture


def open_photoreal(run: Run, device: torch.device, allow_outside: bool = False) -> tuple[Field, Capture]:
    """The field of a `fit` run, and its capture, with its training poses as the fit refined them."""
    record, capture = fit_record(run), capture_of(run, allow_outside)
    tensors = nerfstudio("runs.reading").state_of(run) if record.parser is not None else run.load("model")[0]
    field = _restored(run, tensors, record.model, capture, device)
    capture.train.cameras = field.refined(capture.train.cameras)
    return field, _rendered(capture, field)


def open_painted(run: Run, device: torch.device, allow_outside: bool = False) -> tuple[Painted, Capture]:
    """The repainted scene of a `stylize` run, and its capture."""
    record, capture = paint_record(run), capture_of(run, allow_outside)
    tensors, _ = run.load("model")
    if "colors.keys" in tensors:
        return _of_old(run, tensors, record, capture, device), capture
    field = _restored(run, _below(tensors, FIELD), record.model, capture, device)
    like = _like_look(field.count)
    rest = {name: value for name, value in tensors.items() if not name.startswith(FIELD)}
    check_tensors(rest, {LOOK + name: tensor for name, tensor in like.items()}, run.path / MODEL, REMEDY)
    look = Look.of_tensors(_below(tensors, LOOK)).to(device)
    return Painted(field, look, record.settings.dropped(field.drop)), _rendered(capture, field)


def open_model(run: Run, device: torch.device, allow_outside: bool = False) -> tuple[Field, Painted | None, Capture]:
    """What a run of either kind shows: its field, and the painting if it is one."""
    if run.kind == "stylize":
        painted, capture = open_painted(run, device, allow_outside)
        return painted.field, painted, capture
    field, capture = open_photoreal(run, device, allow_outside)
    return field, None, capture


def _of_old(run: Run, tensors: Tensors, record: PaintRecord, capture: Capture, device: torch.device) -> Painted:
    """A painting of arf 0.1 before it had columns: colours of the vertices that some view saw, by their number in the
    grid. All others were photoreal ones, recoloured."""
    old = _below(tensors, "colors.")
    painted = old["keys"].flatten()
    like = {"shape": torch.zeros(3).long(), "keys": painted.long(), **_like_look(len(painted))}
    check_tensors(old, like, run.path / MODEL, REMEDY)
    field = _restored(run, _below(tensors, "backbone."), record.model, capture, device)
    rows = field.adopt(tuple(old["shape"].tolist()), old["keys"].long().to(device))
    look = Look.of_tensors(old).to(device)
    theta = look.recolor.apply(field.colors)
    theta[rows] = look.theta
    return Painted(field, replace(look, theta=theta), record.settings.dropped(field.drop))


def _rendered(capture: Capture, field: Field) -> Capture:
    """A capture, its photographs rendered where it has none."""
    if isinstance(capture.train, Renderings):
        capture.train.field = field
    return capture


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _like_look(columns: int) -> Tensors:
    """The tensors of a look, as they must be."""
    return Look(torch.zeros(columns, 3), torch.zeros(3), Affine.identity()).tensors()


def _restored(run: Run, tensors: Tensors, model: dict[str, Any], capture: Capture, device: torch.device) -> Field:
    try:
        field = kinds.build(model, Place.of(capture), device)
    except UserError as error:
        raise UserError(f"{run.path}: {error}") from error
    restore(field, tensors, run.path, REMEDY)
    if isinstance(field, torch.nn.Module):
        field.eval()
    return field

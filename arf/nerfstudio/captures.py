"""Captures of runs of ns-train: read by our own readers, in the frame that the run recorded.

A run names the dataparser that it was trained through. None is ever started: some load pickles, ask at the terminal or
run programs. What matters of it is its frame, which the run records, and which photographs it trained on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig
from nerfstudio.data.dataparsers.colmap_dataparser import ColmapDataParserConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.data.utils.dataparsers_utils import get_train_eval_split_fraction, get_train_eval_split_interval
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import read_json
from arf.nerfstudio.parser import CaptureDataParserConfig
from arf.nerfstudio.plain import checked
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.capture.poses import to_square
from arf.radiance.capture.views import Capture, Views

FRAME = "dataparser_transforms.json"
READ: dict[str, type[DataParserConfig]] = {
    "arf-capture": CaptureDataParserConfig,
    "nerfstudio-data": NerfstudioDataParserConfig,
    "blender-data": BlenderDataParserConfig,
    "colmap": ColmapDataParserConfig,
}
FORMATS = {"nerfstudio-data": "nerfstudio", "blender-data": "blender", "colmap": "colmap"}
PARSERS = {f"{kind.__module__}.{kind.__name__}": name for name, kind in READ.items()}  # as config.yml spells them
PARSERS["arf.radiance.capture.CaptureDataParserConfig"] = "arf-capture"  # in arf 0.1


def parser_config(values: dict[str, Any], where: str = "the dataparser of the run") -> DataParserConfig:
    """The configuration of the dataparser that a run names, from the plain values of `NerfstudioRun.parser`; `where`
    begins an error.

    Raises:
        UserError: a dataparser or setting that is not read here.
    """
    if values.get("name") not in READ:
        raise UserError(f"{where} is {values.get('name')!r}, which arf does not read; it reads {', '.join(READ)}")
    kind = READ[values["name"]]
    return kind(**checked(kind, {key: value for key, value in values.items() if key != "name"}, where))


def load_foreign(values: dict[str, Any], run: Path) -> Capture:
    """The capture of a run of ns-train, as it was trained: its frame, its training views in their order.

    Args:
        values: those of `NerfstudioRun.parser`.
        run: the run's folder, which has recorded the frame.

    Raises:
        UserError: the capture has gone, cannot be read, or has changed since.
    """
    parser = parser_config(values)
    if isinstance(parser, CaptureDataParserConfig):
        capture = load_capture(parser.capture_config())
        check_frame(run, capture.transform, capture.scale)
        return capture
    kind = FORMATS[values["name"]]
    capture = load_capture(CaptureConfig(data=parser.data, format=kind, scene="unbounded"))
    frame = recorded_frame(run)
    if frame is None:
        raise UserError(f"{run / FRAME} is missing, by which its capture is read; restore it, or train again")
    capture = _in_frame(capture, *frame)
    return _split_as(capture, parser)


def recorded_frame(run: str | Path) -> tuple[Float[Tensor, "3 4"], float] | None:
    """Transform and scale that a run recorded, x' = scale · (R x + t); None where it recorded none.

    Raises:
        UserError: the file is damaged.
    """
    file = Path(run) / FRAME
    if not file.exists():
        return None
    try:
        recorded = read_json(file)
        transform, scale = torch.tensor(recorded["transform"], dtype=torch.float64), float(recorded["scale"])
        if transform.shape != (3, 4):
            raise ValueError(f"transform of shape {tuple(transform.shape)}")
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{file} is damaged ({reason}); restore it, or train again") from error
    return transform, scale


def check_frame(run: str | Path, transform: Float[Tensor, "3 4"], scale: float) -> None:
    """Compare the frame of a capture with the one the run was trained in.

    Tolerances are in scene units, for means of float32 poses differ a little between machines. A run that did not
    record its frame passes.

    Raises:
        UserError: the frames differ: the poses of the capture have changed since.
    """
    recorded = recorded_frame(run)
    if recorded is None:
        return
    then, size = recorded
    now = transform.double().cpu()
    turned = torch.allclose(then[:, :3], now[:, :3], rtol=0, atol=1e-4)
    moved = torch.allclose(size * then[:, 3], scale * now[:, 3], rtol=1e-5, atol=1e-4)
    if not (turned and moved and abs(scale - size) <= 1e-4 * abs(size)):
        raise UserError(
            f"the capture has changed since {run} was trained: its poses give another frame than {FRAME} has; "
            "restore the capture, or train again"
        )


def _in_frame(capture: Capture, transform: Float[Tensor, "3 4"], scale: float) -> Capture:
    """The same capture in another scene frame."""
    back = torch.linalg.inv(to_square(capture.transform))  # [4, 4]

    def moved(views: Views) -> Views:
        poses = views.cameras.poses.double().clone()
        poses[:, :, 3] /= capture.scale
        world = back[:3] @ to_square(poses)  # [n, 3, 4]
        there = transform @ to_square(world)
        there[:, :, 3] *= scale
        return replace(views, cameras=replace(views.cameras, poses=there.float()))

    return replace(
        capture, train=moved(capture.train), held_out=moved(capture.held_out), transform=transform, scale=scale
    )


def _split_as(capture: Capture, parser: DataParserConfig) -> Capture:
    """The capture's views, parted as a dataparser of nerfstudio's parts them. Blender's has files of its own."""
    if isinstance(parser, BlenderDataParserConfig):
        return capture
    both = [*((f, capture.train, i) for i, f in enumerate(capture.train.files)),
            *((f, capture.held_out, i) for i, f in enumerate(capture.held_out.files))]  # fmt: skip
    both.sort(key=lambda view: str(view[0]))  # nerfstudio's order
    files = [file for file, _, _ in both]
    train, held_out = _their_split(files, parser)

    def chosen(indices: np.ndarray) -> Views:
        parts = [both[i][1].select([both[i][2]]) for i in indices.tolist()]
        return _joined(parts)

    return replace(capture, train=chosen(train), held_out=chosen(held_out))


def _their_split(files: list[Path], parser: DataParserConfig) -> tuple[np.ndarray, np.ndarray]:
    if parser.eval_mode == "fraction":
        return get_train_eval_split_fraction(files, parser.train_split_fraction)
    if parser.eval_mode == "interval":
        return get_train_eval_split_interval(files, parser.eval_interval)
    everything = np.arange(len(files))
    if parser.eval_mode == "filename":
        train = np.array(["train" in file.name for file in files])
        return everything[train], everything[~train]
    return everything, everything  # "all"


def _joined(parts: list[Views]) -> Views:
    """Views one after the other."""
    first = parts[0]
    cameras = first.cameras
    names = ("poses", "fx", "fy", "cx", "cy", "width", "height")
    values = {name: torch.cat([getattr(part.cameras, name) for part in parts]) for name in names}
    return replace(first, cameras=replace(cameras, **values), sources=[s for part in parts for s in part.sources])

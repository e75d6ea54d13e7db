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
from arf.radiance.capture.files import Finder
from arf.radiance.capture.formats.colmap import read_colmap
from arf.radiance.capture.formats.transforms import read_nerfstudio
from arf.radiance.capture.poses import place, to_square
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
Frame = tuple[Float[Tensor, "3 4"], float]  # transform and scale: x_scene = scale · (R x_world + t)
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
    own = {key: value for key, value in values.items() if key not in ("name", "frame")}
    return kind(**checked(kind, own, where))


def load_foreign(values: dict[str, Any]) -> Capture:
    """The capture of a run of ns-train, as it was trained: its frame, its training views in their order.

    Args:
        values: those of `NerfstudioRun.parser`; `frame` is the recorded one.

    Raises:
        UserError: the capture has gone, cannot be read, or has changed since.
    """
    parser, recorded = parser_config(values), values.get("frame")
    if isinstance(parser, CaptureDataParserConfig):
        capture = load_capture(parser.capture_config())
        _check_frame(recorded, (capture.transform, capture.scale), parser.data)
        return capture
    capture = load_capture(CaptureConfig(data=parser.data, format=FORMATS[values["name"]], scene="unbounded"))
    expected = _expected_frame(parser)
    if expected is not None:
        _check_frame(recorded, expected, parser.data)
    frame = expected if expected is not None else _as_frame(recorded) if recorded else None
    if frame is None:
        raise UserError(f"the run did not record the frame of {parser.data} ({FRAME} is missing); train again")
    return _split_as(_in_frame(capture, *frame), parser)


def recorded_frame(run: str | Path) -> dict[str, Any] | None:
    """`transform` and `scale` that a run recorded, x' = scale · (R x + t); None where it recorded none.

    Raises:
        UserError: the file is damaged.
    """
    file = Path(run) / FRAME
    if not file.exists():
        return None
    recorded = read_json(file)
    try:
        transform, scale = _as_frame(recorded)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{file} is damaged ({reason}); restore it, or train again") from error
    return {"transform": transform.tolist(), "scale": scale}


def _as_frame(recorded: dict[str, Any]) -> Frame:
    transform, scale = torch.tensor(recorded["transform"], dtype=torch.float64), float(recorded["scale"])
    if transform.shape != (3, 4):
        raise ValueError(f"transform of shape {tuple(transform.shape)}")
    return transform, scale


def _expected_frame(parser: DataParserConfig) -> Frame | None:
    """The frame in which a dataparser of nerfstudio's puts a capture; None where that is not known here."""
    finder = Finder(parser.data if parser.data.is_dir() else parser.data.parent)
    if isinstance(parser, BlenderDataParserConfig):
        return torch.eye(4, dtype=torch.float64)[:3], float(parser.scale_factor)
    orientation = parser.orientation_method
    if isinstance(parser, NerfstudioDataParserConfig):
        path = parser.data if parser.data.is_file() else parser.data / "transforms.json"
        orientation = read_json(path).get("orientation_override", orientation)
        reading = read_nerfstudio(path, finder)
    elif parser.assume_colmap_world_coordinate_convention:
        reading = read_colmap(parser.data, finder, None)
    else:
        return None
    if parser.center_method not in ("poses", "focus"):
        return None
    poses = torch.from_numpy(np.stack([shot.pose for shot in reading.shots]))
    placement = place(poses, orientation, parser.center_method)
    scale = (placement.scale if parser.auto_scale_poses else 1.0) * parser.scale_factor
    return replace(reading, placement=replace(placement, scale=scale)).world


def _check_frame(recorded: dict[str, Any] | None, now: Frame, data: Path) -> None:
    """Compare the frame of a capture with the one a run was trained in.

    Tolerances are in scene units, for means of float32 poses differ a little between machines. A run that did not
    record its frame passes.

    Raises:
        UserError: the frames differ: the poses of the capture have changed since.
    """
    if recorded is None:
        return
    (then, size), (transform, scale) = _as_frame(recorded), now
    turned = torch.allclose(then[:, :3], transform[:, :3], rtol=0, atol=1e-4)
    moved = torch.allclose(size * then[:, 3], scale * transform[:, 3], rtol=1e-5, atol=1e-4)
    if not (turned and moved and abs(scale - size) <= 1e-4 * abs(size)):
        raise UserError(
            f"the capture {data} has changed since the run was trained: its poses give another frame than {FRAME} has; "
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

"""Captures of runs of ns-train: read by our own readers, in the frame that the run recorded.

A run names the dataparser that it was trained through. None is ever started: some load pickles, ask at the terminal or
run programs. What matters of it is its frame, which the run records, and which photographs it trained on.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from nerfstudio.cameras.camera_utils import auto_orient_and_center_poses
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig
from nerfstudio.data.dataparsers.colmap_dataparser import ColmapDataParserConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.data.utils.dataparsers_utils import get_train_eval_split_fraction, get_train_eval_split_interval
from nerfstudio.utils.colors import get_color
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import read_json
from arf.nerfstudio.parser import CaptureDataParserConfig
from arf.nerfstudio.runs.plain import checked
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.capture.files import Finder
from arf.radiance.capture.formats.colmap import GRAVITY as TURNED
from arf.radiance.capture.formats.colmap import read_colmap
from arf.radiance.capture.formats.transforms import read_blender, read_nerfstudio
from arf.radiance.capture.poses import Orientation, Placement, place, to_square
from arf.radiance.capture.shots import Reading, Shot, cube, plain_name
from arf.radiance.capture.views import Capture

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
Frame = tuple[Float[Tensor, "3 4"], float]  # transform and scale: x_scene = scale · (R x_world + t)
GRAVITY = torch.from_numpy(TURNED[:, :3].copy())
# what nerfstudio takes for the `applied_transform` of a transforms.json that has none and lies beside a COLMAP model
APPLIED = torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]], dtype=torch.float64)


def parser_config(values: dict[str, Any], where: str = "the dataparser of the run") -> DataParserConfig:
    """The configuration of the dataparser that a run names, from the plain values of `NerfstudioRun.parser`; `where`
    begins an error.

    Raises:
        UserError: a dataparser or setting that is not read here.
    """
    name = values.get("name")
    if not isinstance(name, str) or name not in READ:
        raise UserError(f"{where} is {name!r}, which arf does not read; it reads {', '.join(READ)}")
    kind = READ[name]
    own = {key: value for key, value in values.items() if key not in ("name", "frame")}
    return kind(**checked(kind, own, where))


def load_foreign(values: dict[str, Any], allow_outside: bool = False) -> Capture:
    """The capture of a run of ns-train, as it was trained: its frame, its training views in their order.

    Args:
        values: those of `NerfstudioRun.parser`; `frame` is the recorded one.
        allow_outside: see `CaptureConfig`. What the run says of that does not count, since it may be a stranger's.

    Raises:
        UserError: the capture has gone, cannot be read, or has changed since.
    """
    parser, recorded = parser_config(values), values.get("frame")
    if isinstance(parser, CaptureDataParserConfig):
        capture = load_capture(replace(parser.capture_config(), allow_outside=allow_outside))
        _check_frame(recorded, (capture.transform, capture.scale), parser.data)
        return capture
    root = parser.data if parser.data.is_dir() else parser.data.parent
    layout = _Layout(parser)
    reading = READERS[values["name"]](parser, Finder(root, allow_outside), layout)
    _check_frame(recorded, layout.frame(reading, recorded), parser.data)
    config = CaptureConfig(
        data=parser.data,
        format=FORMATS[values["name"]],
        downscale=getattr(parser, "downscale_factor", None),
        background=_alpha_color(parser),
        scene="unbounded",
        allow_outside=allow_outside,
    )
    return load_capture(config, reading)


def recorded_frame(run: str | Path) -> dict[str, Any] | None:
    """`transform` and `scale` that a run recorded, x' = scale · (R x + t); None where it recorded none.

    Raises:
        UserError: the file is damaged.
    """
    file = Path(run) / FRAME
    if not file.exists():
        return None
    transform, scale = _as_frame(read_json(file), file)
    return {"transform": transform.tolist(), "scale": scale}


def _as_frame(recorded: Any, where: object = "the frame that the run recorded") -> Frame:
    try:
        transform, scale = torch.tensor(recorded["transform"], dtype=torch.float64), float(recorded["scale"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"{type(error).__name__}: {str(error)[:80]}"
        raise UserError(f"{where} is damaged ({reason}); restore it, or train again") from error
    if transform.shape != (3, 4) or not transform.isfinite().all() or not 0 < scale < inf:
        raise UserError(f"{where} is damaged (it is no similarity); restore it, or train again")
    return transform, scale


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
    turned = torch.allclose(then[:, :3], transform[:, :3].double(), rtol=0, atol=1e-4)
    moved = torch.allclose(size * then[:, 3], scale * transform[:, 3].double(), rtol=1e-5, atol=1e-4)
    if not (turned and moved and abs(scale - size) <= 1e-4 * abs(size)):
        raise UserError(
            f"the capture {data} has changed since the run was trained: its poses give another frame than {FRAME} has; "
            "restore the capture, or train again"
        )


# --- the dataparsers of nerfstudio that are known here: what they list, where they put it, how they part it -----------


class _Layout:
    """Where such a dataparser puts a capture."""

    def __init__(self, parser: DataParserConfig) -> None:
        self.parser = parser
        self.orientation = ""

    def __call__(self, poses: Float[Tensor, "n 3 4"], override: Orientation | None) -> Placement:
        parser, axes = self.parser, torch.eye(3, dtype=torch.float64)
        self.orientation = override or parser.orientation_method
        if not getattr(parser, "assume_colmap_world_coordinate_convention", True):
            axes = GRAVITY  # it did not turn COLMAP's world as our reader does
        own = axes.T @ poses
        placement = place(own, self.orientation, parser.center_method)
        rotation = _their_pca(own) if self.orientation == "pca" else placement.rotation
        positions = (own[:, :, 3] - placement.centre) @ rotation.T  # [n, 3]
        scale = parser.scale_factor / (positions.abs().max().item() if parser.auto_scale_poses else 1.0)
        return Placement(rotation @ axes.T, axes @ placement.centre, scale)

    def frame(self, reading: Reading, recorded: Any) -> Frame:
        """As nerfstudio records it: x_scene = scale · (R (A x + a) + t), also where A has a scale of its own."""
        transform = reading.placement.transform
        if reading.applied is not None:
            turned = transform[:, :3] @ reading.applied
            transform = torch.cat([turned[:, :3], turned[:, 3:] + transform[:, 3:]], 1)
        if self.orientation == "pca" and recorded is not None:  # may say upside down, of poses that are not
            then = _as_frame(recorded)[0]
            transform = torch.cat([transform[:1], transform[1:] * (transform[1:, :3] * then[1:, :3]).sum().sign()])
        return transform, reading.placement.scale * reading.applied_scale


def _their_pca(poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, "3 3"]:
    """The rotation of nerfstudio 1.1.5: the inverse of the principal axes; where that is upside down, it mirrors the
    second pose and the third and turns none."""
    turned, _ = auto_orient_and_center_poses(to_square(poses).float(), "pca", "poses")
    return turned[0, :, :3].double() @ poses[0, :, :3].T


def _nerfstudio(parser: NerfstudioDataParserConfig, finder: Finder, layout: _Layout) -> Reading:
    path = parser.data if parser.data.is_file() else parser.data / "transforms.json"
    reading = read_nerfstudio(path, finder, layout)
    if reading.applied is None and (parser.data / "colmap" / "sparse" / "0").exists():
        reading = replace(reading, applied=APPLIED)
    meta = read_json(path)
    listed = any(f"{split}_filenames" in meta for split in ("train", "val", "test"))
    return _as_parsed(reading, parser, listed)


def _colmap(parser: ColmapDataParserConfig, finder: Finder, layout: _Layout) -> Reading:
    if parser.images_path != Path("images"):
        raise UserError(f"the run was trained on photographs in {parser.images_path}; arf looks for them in images")
    number = parser.colmap_path.name
    reading = read_colmap(parser.data, finder, int(number) if number.isdecimal() else None, layout)
    listed = any((parser.data / f"{split}_list.txt").exists() for split in ("train", "test", "validation"))
    return _as_parsed(reading, parser, listed)


def _blender(parser: BlenderDataParserConfig, finder: Finder, _: _Layout) -> Reading:
    reading = read_blender(parser.data, finder)
    return replace(reading, placement=replace(reading.placement, scale=parser.scale_factor))


READERS = {"nerfstudio-data": _nerfstudio, "blender-data": _blender, "colmap": _colmap}


def _as_parsed(reading: Reading, parser: DataParserConfig, listed: bool) -> Reading:
    """In the box and with the split that the dataparser was told; `listed`: the capture has a split of its own."""
    shots = reading.shots if listed else _parted(reading.shots, parser)
    return replace(reading, shots=shots, scene_box=cube(parser.scene_scale))


def _parted(shots: list[Shot], parser: DataParserConfig) -> list[Shot]:
    names = [shot.name for shot in shots]
    everything = range(len(shots))
    if parser.eval_mode == "all":
        train, held_out = everything, everything
    elif parser.eval_mode == "filename":
        train = [i for i in everything if "train" in plain_name(names[i]).name]
        held_out = [i for i in everything if i not in train]
    elif parser.eval_mode == "interval":
        train, held_out = get_train_eval_split_interval(names, max(1, parser.eval_interval))
    else:
        train, held_out = get_train_eval_split_fraction(names, min(max(parser.train_split_fraction, 0.0), 1.0))
    return [replace(shots[i], held_out=out) for part, out in ((train, False), (held_out, True)) for i in part]


def _alpha_color(parser: DataParserConfig) -> tuple[float, float, float]:
    """Behind transparent pictures."""
    named = getattr(parser, "alpha_color", None)
    try:
        return tuple(get_color(named or "white").tolist())
    except ValueError as error:
        raise UserError(f"the dataparser of the run has the alpha_color {named!r}, which is none") from error

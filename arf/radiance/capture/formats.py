"""The four kinds of capture: which one a folder is, and how nerfstudio reads it.

Every reader checks its files first, so that nerfstudio's parsers only meet what they can parse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from nerfstudio.cameras.cameras import CAMERA_MODEL_TO_TYPE, Cameras
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.dataparsers.colmap_dataparser import ColmapDataParser, ColmapDataParserConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.utils.rich_utils import CONSOLE

from arf.errors import UserError
from arf.jobs.files import read_json
from arf.radiance.capture.llff import POSES, LLFFDataParserConfig
from arf.radiance.capture.pictures import choose_folder, match_pictures, picture_folders, picture_size
from arf.radiance.capture.poses import check_pose, to_square

Format = Literal["nerfstudio", "blender", "colmap", "llff"]
Kind = Literal["bounded", "unbounded", "forward"]

SCENE_BOX = "arf_scene_box"  # key of transforms.json: [[x0, y0, z0], [x1, y1, z1]] in the frame of its poses
NAMED_SPLIT = ("frame_train_", "frame_eval_")  # how `ns-process-data images --eval-data` names pictures
MODELS = ("sparse/0", "colmap/sparse/0", "sparse")  # where a COLMAP model lies
LOOKED_FOR = f"transforms.json, transforms_train.json, {POSES}, a COLMAP model in {', '.join(MODELS)}"


@dataclass
class Reading:
    """What a capture lists, in one parser frame, before missing pictures are dropped and a split is made.

    Cameras have the size of the pictures on disk, which are `factor` times smaller than the photographs were.
    """

    train: DataparserOutputs
    held_out: DataparserOutputs | None  # None: the capture has no split of its own
    kind: Kind
    factor: int = 1
    bounds: tuple[float, float] | None = None


def detect(data: Path) -> Format:
    """The format of a capture folder or of a transforms.json.

    Raises:
        UserError: no such capture, or of no known format.
    """
    if not data.exists():
        raise UserError(f"no capture at {data}: there is no such file or folder")
    if data.is_file():
        if data.suffix == ".json":
            return "blender" if data.name == "transforms_train.json" else "nerfstudio"
        raise UserError(f"{data} is no capture; name its folder or its transforms.json")
    if (data / "transforms.json").exists():
        return "nerfstudio"
    if (data / "transforms_train.json").exists():
        return "blender"
    if (data / POSES).exists():
        return "llff"
    if _find_model(data):
        return "colmap"
    raise UserError(f"{data} is of no known format; looked for {LOOKED_FOR}")


def read(data: Path, fmt: Format, downscale: float) -> Reading:
    """Read a capture of a known format; `downscale` chooses among images_N folders, nothing is resized.

    Raises:
        UserError: a file is missing, damaged, or describes no cameras.
    """
    root = data if data.is_dir() else data.parent
    if fmt == "nerfstudio":
        return _read_nerfstudio(data if data.is_file() else root / "transforms.json", downscale)
    readers: dict[str, Callable[[Path, float], Reading]] = {
        "blender": _read_blender,
        "colmap": _read_colmap,
        "llff": _read_llff,
    }
    return readers[fmt](root, downscale)


def _read_nerfstudio(path: Path, downscale: float) -> Reading:
    meta = _read_transforms(path)
    _check_intrinsics(meta, path)
    bounded = SCENE_BOX in meta
    fixed = {"orientation_method": "none", "center_method": "none", "auto_scale_poses": False}
    named = [next((p for p in NAMED_SPLIT if Path(f["file_path"]).name.startswith(p)), None) for f in meta["frames"]]
    split = set(named) == set(NAMED_SPLIT)
    parser = NerfstudioDataParserConfig(
        data=path,
        downscale_factor=1,
        eval_mode="filename" if split else "all",
        **(fixed if bounded else {"center_method": "focus"}),
    ).setup()
    with _nerfstudio_reads(path):
        train = parser.get_dataparser_outputs("train")
        own = next((s for s in ("test", "val") if meta.get(f"{s}_filenames")), "test" if split else None)
        held_out = parser.get_dataparser_outputs(own) if own else None
        parts = [train, held_out] if held_out else [train]
        for part in parts:
            _set_camera_types(part, meta, path.parent)
            _undo_applied_scale(part, meta)
    factor = _choose_pictures(parts, downscale)
    for part in parts:
        part.image_filenames = [_with_suffix(p) for p in part.image_filenames]
        if factor > 1:
            match_pictures(part.cameras, part.image_filenames, factor)
        if bounded:
            _fit_to_box(part, _scene_box(meta, path))
    return Reading(train, held_out, "bounded" if bounded else "unbounded", factor)


def _choose_pictures(parts: list[DataparserOutputs], downscale: float) -> int:
    """Point the outputs, in place, to images_N beside their folder `images`, where that holds as many of their pictures
    and fits the downscale. Returns N.
    """
    files = [path for part in parts for path in part.image_filenames]
    folders = {path.parent for path in files}
    if len(folders) > 1 or (folder := folders.pop()).name != "images":
        return 1
    there = {
        n: sum(_with_suffix(beside / path.name).is_file() for path in files)
        for n, beside in picture_folders(folder.parent).items()
    }
    most = max(there.values(), default=0)
    complete = {n: folder.with_name(f"images_{n}") for n, count in there.items() if count == most > 0}
    factor = choose_folder(complete, downscale) if complete else 1
    if factor > 1:
        for part in parts:
            part.image_filenames = [complete[factor] / path.name for path in part.image_filenames]
    return factor


def _set_camera_types(outputs: DataparserOutputs, meta: dict[str, Any], root: Path) -> None:
    """Each frame's own camera_model, in place: nerfstudio's parser reads the capture's alone, and several cameras, as
    ns-process-data writes them, have none in common."""
    if "camera_model" in meta:
        return
    models = {root / frame["file_path"]: frame.get("camera_model") for frame in meta["frames"]}
    types = [CAMERA_MODEL_TO_TYPE[models[p] or "OPENCV"].value for p in outputs.image_filenames]
    outputs.cameras.camera_type = torch.tensor(types).view_as(outputs.cameras.camera_type)


def _undo_applied_scale(outputs: DataparserOutputs, meta: dict[str, Any]) -> None:
    """Make x_parser = scale · (T x_world) of the transform, in place, where the poses of the file were scaled.

    They are x = k (A x_world + a); nerfstudio 1.1.5 puts k into the scale alone, so that its translation R a + t, with
    t in units of the file, is that of no frame. It must be R a + t / k.
    """
    k = meta.get("applied_scale", 1.0)
    if k == 1:
        return
    transform = outputs.dataparser_transform
    applied = torch.tensor(meta.get("applied_transform", np.eye(4)[:3].tolist()), dtype=transform.dtype)  # [3, 4]
    turned = transform[:, :3] @ torch.linalg.inv(applied[:, :3]) @ applied[:, 3:]  # [3, 1] R a
    moved = turned + (transform[:, 3:] - turned) / k
    outputs.dataparser_transform = torch.cat([transform[:, :3], moved], 1)


def _read_blender(root: Path, _: float) -> Reading:
    # nerfstudio's Blender parser fails when the first picture is missing, so its few lines of maths are done here.
    train = _blender_outputs(root / "transforms_train.json")
    files = [root / f"transforms_{split}.json" for split in ("test", "test_subset", "val")]
    tests = [_blender_outputs(path) for path in files if path.exists()]
    # The most complete split wins: a full transforms_test.json, or the subset that lists what was kept of it.
    held_out = max(tests, key=lambda t: np.mean([p.exists() for p in t.image_filenames]), default=None)
    return Reading(train, held_out, "bounded")


def _blender_outputs(path: Path) -> DataparserOutputs:
    meta = _read_transforms(path)
    angle = meta.get("camera_angle_x")
    if not isinstance(angle, float | int) or not 0 < angle < np.pi:
        raise UserError(f"{path}: camera_angle_x must be an angle in radians, not {angle!r}")
    files = [_with_suffix(path.parent / f["file_path"]) for f in meta["frames"]]
    width, height = next((picture_size(p) for p in files if p.exists()), (2, 2))
    poses = np.stack([np.asarray(f["transform_matrix"], dtype=np.float32)[:3] for f in meta["frames"]])
    cameras = Cameras(
        camera_to_worlds=torch.from_numpy(poses),
        fx=float(0.5 * width / np.tan(0.5 * angle)),
        fy=float(0.5 * width / np.tan(0.5 * angle)),
        cx=width / 2,
        cy=height / 2,
        width=width,
        height=height,
    )
    return DataparserOutputs(files, cameras, scene_box=SceneBox(torch.tensor([[-1.5] * 3, [1.5] * 3])))


def _read_colmap(root: Path, downscale: float) -> Reading:
    model = _find_model(root)
    if model is None:
        where = ", ".join(f"{root / m}" for m in MODELS)
        raise UserError(f"no COLMAP model: looked for cameras and images, .bin or .txt, in {where}")
    folders = picture_folders(root)
    if not folders:
        raise UserError(f"{root}: no pictures in images or images_N; put the photographs there")
    factor = choose_folder(folders, downscale)
    parser = _CheckedColmap(
        ColmapDataParserConfig(
            data=root,
            colmap_path=model.relative_to(root),
            images_path=folders[factor].relative_to(root),
            downscale_factor=1,
            eval_mode="all",
            load_3D_points=False,
        )
    )
    with _nerfstudio_reads(model):
        train = parser.get_dataparser_outputs("train")
        held_out = parser.get_dataparser_outputs("test") if parser.has_split() else None
    for part in [train, held_out] if held_out else [train]:
        match_pictures(part.cameras, part.image_filenames, factor)
    return Reading(train, held_out, "unbounded", factor)


def _read_llff(root: Path, downscale: float) -> Reading:
    outputs = LLFFDataParserConfig(data=root, downscale=downscale).setup().get_dataparser_outputs()
    return Reading(outputs, None, **outputs.metadata)


class _CheckedColmap(ColmapDataParser):
    """nerfstudio's COLMAP parser, with every pose checked before one bad frame spoils the mean of all."""

    def _get_all_images_and_cameras(self, recon_dir: Path) -> dict[str, Any]:
        meta = super()._get_all_images_and_cameras(recon_dir)
        for frame in meta["frames"]:
            check_pose(frame["transform_matrix"], f"{recon_dir}: {Path(frame['file_path']).name}")
        return meta

    def has_split(self) -> bool:
        return all((self.config.data / f"{split}_list.txt").exists() for split in ("train", "test"))

    def _get_image_indices(self, image_filenames: list[Path], split: str) -> np.ndarray:
        if self.has_split():
            return super()._get_image_indices(image_filenames, split)
        return np.arange(len(image_filenames))


def _find_model(root: Path) -> Path | None:
    def complete(model: Path) -> bool:
        return any(all((model / f"{stem}{ext}").exists() for stem in ("cameras", "images")) for ext in (".bin", ".txt"))

    return next((root / m for m in MODELS if complete(root / m)), None)


def _read_transforms(path: Path) -> dict[str, Any]:
    """The JSON of a capture, with `frames` whose poses are sound."""
    meta = read_json(path)
    frames = meta.get("frames") if isinstance(meta, dict) else None
    if not isinstance(frames, list) or not frames:
        raise UserError(f"{path}: 'frames' is missing or empty; it must list the photographs")
    for i, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise UserError(f"{path}: frame {i} has no 'file_path'; name its photograph")
        if "transform_matrix" not in frame:
            raise UserError(f"{path}: frame {frame['file_path']} has no 'transform_matrix'; export its pose")
        check_pose(frame["transform_matrix"], f"{path}: frame {frame['file_path']}")
    return meta


def _check_intrinsics(meta: dict[str, Any], path: Path) -> None:
    for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
        for frame in [meta] if key in meta else meta["frames"]:
            where = f"{path}: frame {frame['file_path']}" if "file_path" in frame else f"{path}"
            if key not in frame:
                raise UserError(f"{where} lacks '{key}'; give it at the top level or in every frame")
            value = frame[key]
            if not isinstance(value, float | int) or not np.isfinite(value) or (value <= 0 and key not in ("cx", "cy")):
                raise UserError(f"{where}: '{key}' is {value!r}; it must be a positive number of pixels")
    scale = meta.get("applied_scale", 1.0)
    if not isinstance(scale, float | int) or not np.isfinite(scale) or scale <= 0:
        raise UserError(f"{path}: applied_scale is {scale!r}; it must be a positive number")


def _scene_box(meta: dict[str, Any], path: Path) -> torch.Tensor:
    try:
        box = torch.tensor(meta[SCENE_BOX], dtype=torch.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {SCENE_BOX} is not a list of numbers; write [[x0, y0, z0], [x1, y1, z1]]") from error
    if box.shape != (2, 3) or not torch.isfinite(box).all() or not (box[0] < box[1]).all():
        raise UserError(f"{path}: {SCENE_BOX} is no box; write [[x0, y0, z0], [x1, y1, z1]] with x0 < x1 and so on")
    return box


def _fit_to_box(outputs: DataparserOutputs, box: torch.Tensor) -> None:
    """Move the box's centre to the origin and its longest side to [−1, 1], in place; axes stay as they are."""
    centre, scale = box.mean(0), 2 / (box[1] - box[0]).max().item()
    poses = outputs.cameras.camera_to_worlds.clone()
    poses[:, :, 3] = (poses[:, :, 3] - centre) * scale
    outputs.cameras.camera_to_worlds = poses
    shift = torch.cat([torch.eye(3), -centre[:, None] / outputs.dataparser_scale], dim=1)
    outputs.dataparser_transform = shift @ to_square(outputs.dataparser_transform)
    outputs.dataparser_scale *= scale
    outputs.scene_box = SceneBox(aabb=(box - centre) * scale)


def _with_suffix(path: Path) -> Path:
    """The file itself, or, as Blender and instant-ngp write names without suffix, the picture of that name."""
    if path.is_file():
        return path
    candidates = (path.with_name(path.name + suffix) for suffix in (".png", ".jpg", ".jpeg"))
    return next((c for c in candidates if c.is_file()), path)


@contextmanager
def _nerfstudio_reads(path: Path) -> Iterator[None]:
    """Silence nerfstudio's console and turn what its parsers raise into one line."""
    before, CONSOLE.quiet = CONSOLE.quiet, True
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # assertions, KeyError, struct.error, ...: the parsers check little
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        reason = f"{type(error).__name__}: {reason}"
        raise UserError(f"{path} cannot be read ({reason}); export the capture again") from error
    finally:
        CONSOLE.quiet = before

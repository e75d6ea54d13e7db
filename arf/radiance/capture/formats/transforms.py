"""Captures in JSON: nerfstudio's and instant-ngp's transforms.json, Blender's transforms_train.json and its like.

`frames` lists `file_path`, `transform_matrix` (camera-to-world, OpenGL's axes) and perhaps `mask_path`; intrinsics lie
there or at the root (see `intrinsics`). `applied_transform` and `applied_scale` say how the poses came
from the capture's world: x = k (A x_world + a).
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import read_json
from arf.radiance.capture.files import Finder
from arf.radiance.capture.formats.intrinsics import resolve, short
from arf.radiance.capture.formats.points import PointFile
from arf.radiance.capture.poses import Layout, Orientation, Placement, check_pose, place
from arf.radiance.capture.shots import Reading, Shot, cube, listed_names, plain_name

log = logging.getLogger(__name__)
SCENE_BOX = "arf_scene_box"  # key of transforms.json: [[x0, y0, z0], [x1, y1, z1]] in the frame of its poses
NAMED_SPLIT = ("frame_train_", "frame_eval_")  # how `ns-process-data images --eval-data` names pictures
BLENDER_BOX = 1.5  # half a side of what Blender's scenes lie in
ORIENTATIONS = ("up", "vertical", "pca", "none")


def read_nerfstudio(path: Path, finder: Finder, layout: Layout | None = None) -> Reading:
    """A transforms.json. With `arf_scene_box` it is bounded, and the box becomes the scene; else, or where a layout is
    asked for, it is unbounded, and is laid out by all frames that it lists, as nerfstudio does.

    Raises:
        UserError: missing, damaged, or describes no cameras.
    """
    meta = _read(path)
    frames = sorted(meta["frames"], key=lambda frame: plain_name(frame["file_path"]))
    poses = [_pose(frame, path) for frame in frames]
    orientation = meta.get("orientation_override")
    if "orientation_override" in meta and orientation not in ORIENTATIONS:
        raise UserError(f"{path}: orientation_override is not one of {', '.join(ORIENTATIONS)}")
    if SCENE_BOX in meta and layout is None:
        box = _scene_box(meta, path)  # [2, 3]
        middle, scale = box.mean(0), 2 / (box[1] - box[0]).max().item()
        placement = Placement(torch.eye(3, dtype=torch.float64), middle, scale)
        kind, scene_box = "bounded", ((box - middle) * scale).float()
    else:
        placement = (layout or _layout)(torch.from_numpy(np.stack(poses)), orientation)
        kind, scene_box = "unbounded", cube()
    split = _split(frames, meta, path)
    shots = [_shot(frames[i], poses[i], meta, path, finder, held_out) for i, held_out in split.items()]
    return Reading(
        shots,
        placement,
        kind,
        scene_box,
        applied=_applied(meta, path),
        applied_scale=_positive(meta, "applied_scale", path),
        points=_points(meta, path, finder),
    )


def _layout(poses: Float[Tensor, "n 3 4"], orientation: Orientation | None) -> Placement:
    return place(poses, orientation or "up", "focus")


def read_blender(root: Path, finder: Finder) -> Reading:
    """transforms_train.json, and for evaluation transforms_test.json, _test_subset.json or _val.json."""
    path = root / "transforms_train.json"
    meta = _read(path)
    half = BLENDER_BOX * _positive(meta, "aabb_scale", path)
    train = [_shot(frame, _pose(frame, path), meta, path, finder, None) for frame in meta["frames"]]
    tests = []
    for split in ("test", "test_subset", "val"):
        other = root / f"transforms_{split}.json"
        if other.exists():
            theirs = _read(other)
            tests.append([_shot(frame, _pose(frame, other), theirs, other, finder, True) for frame in theirs["frames"]])
    # The most complete split wins: a full transforms_test.json, or the subset that lists what was kept of it.
    held_out = max(tests, key=lambda shots: np.mean([bool(shot.files) for shot in shots]), default=[])
    placement = Placement(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    return Reading([*train, *held_out], placement, "bounded", cube(half))


def _read(path: Path) -> dict[str, Any]:
    """The JSON of a capture, with `frames` that name their pictures."""
    meta = read_json(path)
    frames = meta.get("frames") if isinstance(meta, dict) else None
    if not isinstance(frames, list) or not frames:
        raise UserError(f"{path}: 'frames' is missing or empty; it must list the photographs")
    for i, frame in enumerate(frames):
        if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
            raise UserError(f"{path}: frame {i} has no 'file_path'; name its photograph")
    return meta


def _pose(frame: dict[str, Any], path: Path) -> Float64[np.ndarray, "3 4"]:
    name = frame["file_path"]
    if "transform_matrix" not in frame:
        raise UserError(f"{path}: frame {name} has no 'transform_matrix'; export its pose")
    return check_pose(frame["transform_matrix"], f"{path}: frame {name}")[:3]


def _shot(
    frame: dict[str, Any],
    pose: Float64[np.ndarray, "3 4"],
    meta: dict[str, Any],
    path: Path,
    finder: Finder,
    held_out: bool | None,
) -> Shot:
    name = frame["file_path"]
    files = _pictures(name, path, finder)
    return Shot(
        name=name,
        pose=pose,
        lens=partial(resolve, frame, meta, path=path, name=name),
        files=files,
        mask=_mask(frame, path, finder) if files else None,
        held_out=held_out,
    )


def _pictures(name: str, path: Path, finder: Finder) -> dict[int, Path]:
    """The pictures of a frame by factor: in the folder that it names and, where that is `images`, in images_N."""
    parent, inner = _images(name)
    files = {1: finder.find(name, where=path)}
    if parent is not None:
        others = [n for n in finder.factors(parent) if n > 1]
        files |= {n: finder.find(inner, f"{parent}/images_{n}", where=path) for n in others}
    return {n: file for n, file in files.items() if file}


def _images(name: str) -> tuple[str | None, str]:
    """Where the folder `images` of a name lies, and the name below it; None without such a folder."""
    parts = plain_name(name).parts
    if "images" not in parts[:-1]:
        return None, name
    at = parts.index("images")
    return str(PurePosixPath(*parts[:at])), str(PurePosixPath(*parts[at + 1 :]))


def _mask(frame: dict[str, Any], path: Path, finder: Finder) -> Path | None:
    """The mask that a frame names, or one in the folder `masks` beside `images`."""
    name = frame["file_path"]
    if "mask_path" not in frame:
        parent, inner = _images(name)
        return None if parent is None else finder.find(inner, f"{parent}/masks", where=path)
    mask = frame["mask_path"]
    found = finder.find(mask, where=path) if isinstance(mask, str) else None
    if found is None:
        raise UserError(f"{path}: frame {name} names the mask {short(mask)}, which is missing; restore it or its entry")
    return found


def _split(frames: list[dict[str, Any]], meta: dict[str, Any], path: Path) -> dict[int, bool | None]:
    """Which frames take part, by index, and whether each is held out; None where the capture has no split."""
    names = [plain_name(frame["file_path"]) for frame in frames]
    lists = {split: meta[f"{split}_filenames"] for split in ("train", "test", "val") if meta.get(f"{split}_filenames")}
    for split, listed in lists.items():
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise UserError(f"{path}: {split}_filenames is not a list of names")
    if not lists:
        prefixes = [next((p for p in NAMED_SPLIT if name.name.startswith(p)), None) for name in names]
        named = set(prefixes) == set(NAMED_SPLIT)
        return {i: prefix == NAMED_SPLIT[1] if named else None for i, prefix in enumerate(prefixes)}
    if "train" not in lists:
        raise UserError(f"{path}: the list of filenames for split train is missing; add train_filenames")
    other = next((split for split in ("test", "val") if split in lists), None)
    train = listed_names(lists["train"], names, f"{path}: train_filenames", needed=True)
    if other is None:
        return {i: None for i, name in enumerate(names) if name in train}
    held_out = listed_names(lists[other], names, f"{path}: {other}_filenames")
    return {i: name in held_out for i, name in enumerate(names) if name in train | held_out}


def _scene_box(meta: dict[str, Any], path: Path) -> Float[Tensor, "2 3"]:
    try:
        box = torch.tensor(meta[SCENE_BOX], dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(f"{path}: {SCENE_BOX} is not a list of numbers; write [[x0, y0, z0], [x1, y1, z1]]") from error
    sound = box.shape == (2, 3) and bool(torch.isfinite(box).all()) and bool((box[0] < box[1]).all())
    if not sound or not 1e-9 < (box[1] - box[0]).max() < 1e9 or box.abs().max() > 1e10:
        raise UserError(f"{path}: {SCENE_BOX} is no box; write [[x0, y0, z0], [x1, y1, z1]] with x0 < x1 and so on")
    return box


def _points(meta: dict[str, Any], path: Path, finder: Finder) -> PointFile | None:
    """The points that `ply_file_path` names, in the frame of the poses; as in nerfstudio not enlarged by applied_scale
    yet."""
    name = meta.get("ply_file_path")
    if name is None:
        return None
    found = finder.find(name, where=path) if isinstance(name, str) else None
    if found is None:
        log.warning("%s names the points %s, which are missing; going on without", path, short(name))
        return None
    return PointFile(found, _positive(meta, "applied_scale", path) * np.eye(3, 4))


def _applied(meta: dict[str, Any], path: Path) -> Float[Tensor, "3 4"] | None:
    if "applied_transform" not in meta:
        return None
    try:
        applied = np.asarray(meta["applied_transform"], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        applied = np.zeros(0)
    if applied.shape not in ((3, 4), (4, 4)) or not np.isfinite(applied).all() or not np.linalg.det(applied[:3, :3]):
        raise UserError(f"{path}: applied_transform is no rigid motion [3, 4]; export the capture again")
    return torch.from_numpy(applied[:3].copy())


def _positive(meta: dict[str, Any], key: str, path: Path) -> float:
    value = meta.get(key, 1.0)
    if isinstance(value, bool) or not isinstance(value, float | int) or not 1e-9 < value < 1e9:
        raise UserError(f"{path}: {key} is {short(value)}; it must be a positive number")
    return float(value)

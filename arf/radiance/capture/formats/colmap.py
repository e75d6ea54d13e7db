"""COLMAP models: `cameras` and `images`, .bin or .txt, beside the photographs in `images`.

The two files are read here (https://colmap.github.io/format.html), and not by pycolmap 4.2: that ends names in text at
the first blank, wants the points as well, and takes a quaternion of zeros for a rotation. Poses are world-to-camera
quaternions (w, x, y, z) and translations with y down and z forwards; the scene is turned as nerfstudio does, so that
COLMAP's guess of gravity, −y, is +z.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import Float64

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.radiance.capture.files import Finder
from arf.radiance.capture.formats.points import PointFile, find_points
from arf.radiance.capture.lens import MODELS, Lens, is_known
from arf.radiance.capture.poses import Layout, check_pose, place
from arf.radiance.capture.shots import Reading, Shot, cube, listed_names, plain_name

log = logging.getLogger(__name__)

PLACES = ("sparse", "colmap/sparse", ".")  # where models lie, or folders of models
LOOKED_FOR = "sparse/0, sparse/1, …, colmap/sparse/0, …, sparse or the folder itself"
LARGEST = 100_000  # pixels of a side
GRAVITY = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]])  # COLMAP's world to nerfstudio's
POINT = 24  # bytes of a point that an image sees


@dataclass(frozen=True)
class Image:
    """A registered photograph.

    Attributes:
        pose: float64 [3, 4] camera-to-world, OpenGL's axes, in COLMAP's world.
    """

    name: str
    lens: Lens
    pose: Float64[np.ndarray, "3 4"]


def find_models(root: Path) -> list[Path]:
    """Folders of a capture that hold a COLMAP model."""
    folders = [root / place for place in PLACES[:2]]
    nested = [child for folder in folders if folder.is_dir() for child in sorted(folder.iterdir())]
    return [folder for folder in [*nested, *folders, root] if _suffix(folder)]


def read_colmap(root: Path, finder: Finder, model: int | None = None, layout: Layout | None = None) -> Reading:
    """The model with the most photographs, or the one in the folder of that number.

    Raises:
        UserError: no such model, a damaged one, or no folder with pictures.
    """
    path, images = _choose(root, model)
    factors = finder.factors()
    if not factors:
        raise UserError(f"{root}: no pictures in images or images_N; put the photographs there")
    split = _split(root, images)
    shots = []
    for i, image in enumerate(images):
        if i not in split:
            continue
        folders = {n: "images" if n == 1 else f"images_{n}" for n in factors}
        files = {n: finder.find(image.name, folder, where=path) for n, folder in folders.items()}
        shots.append(
            Shot(
                name=image.name,
                pose=_turned(image.pose),
                lens=lambda _, lens=image.lens: lens,
                files={n: file for n, file in files.items() if file},
                mask=finder.find(image.name, "masks", where=path),
                held_out=split[i],
            )
        )
    poses = torch.from_numpy(np.stack([_turned(image.pose) for image in images]))
    applied = torch.from_numpy(GRAVITY.copy())
    placement = layout(poses, None) if layout else place(poses, "up", "poses")
    points = find_points(path)
    return Reading(
        shots, placement, "unbounded", cube(), applied=applied, points=points and PointFile(points, GRAVITY.copy())
    )


def read_model(path: Path) -> list[Image]:
    """The photographs of a model, in the order of their numbers.

    Raises:
        UserError: a file is damaged, or describes no camera.
    """
    suffix = _suffix(path)
    for name in ("cameras", "images"):
        if refusal := cannot_read(path / f"{name}{suffix}", "COLMAP file"):
            raise refusal
    cameras, images = (_binary_cameras, _binary_images) if suffix == ".bin" else (_text_cameras, _text_images)
    try:
        lenses = {number: _lens(path, number, *values) for number, *values in cameras(path / f"cameras{suffix}")}
        rows = sorted(images(path / f"images{suffix}"), key=lambda row: row[0])
    except UserError:
        raise
    except Exception as error:  # struct.error, UnicodeDecodeError, IndexError, KeyError, ...
        reason = (str(error) or type(error).__name__).splitlines()[0][:80]
        raise UserError(f"{path} cannot be read ({reason}); export the model again") from error
    found = []
    for _, pose, camera, name in rows:
        if camera not in lenses:
            raise UserError(f"{path}: {name} was taken by camera {camera}, which is missing; export the model again")
        found.append(Image(name, lenses[camera], _camera_to_world(pose, f"{path}: {name}")))
    if not found:
        raise UserError(f"{path} has no registered photograph; run COLMAP's mapper again")
    return found


def _choose(root: Path, model: int | None) -> tuple[Path, list[Image]]:
    paths = find_models(root)
    if not paths:
        raise UserError(f"no COLMAP model in {root}: looked for cameras and images, .bin or .txt, in {LOOKED_FOR}")
    if model is not None:
        chosen = [path for path in paths if path.name == str(model)]
        if not chosen:
            there = ", ".join(str(path.relative_to(root)) for path in paths)
            raise UserError(f"{root} has no COLMAP model {model}; it has {there}")
        return chosen[0], read_model(chosen[0])
    models = [(path, read_model(path)) for path in paths]
    path, images = max(models, key=lambda found: len(found[1]))  # the first of the largest
    if others := [f"{p.relative_to(root)} ({len(i)})" for p, i in models if p != path]:
        message = "%s: reading %s (%d photographs), the largest COLMAP model; --model N reads another: %s"
        log.warning(message, root, path.relative_to(root), len(images), ", ".join(others))
    return path, images


def _split(root: Path, images: list[Image]) -> dict[int, bool | None]:
    """Which images take part, by index, and whether each is held out: by train_list.txt and test_list.txt, if both are
    there."""
    lists = [root / f"{split}_list.txt" for split in ("train", "test")]
    if not all(path.is_file() for path in lists):
        return dict.fromkeys(range(len(images)))
    names = [plain_name(image.name) for image in images]
    lines = [filter(None, path.read_text("utf-8", "replace").splitlines()) for path in lists]
    train = listed_names(lines[0], names, str(lists[0]), needed=True)
    held_out = listed_names(lines[1], names, str(lists[1]))
    return {i: name in held_out for i, name in enumerate(names) if name in train | held_out}


def _suffix(folder: Path) -> str | None:
    """The kind of a model's files, .bin before .txt; None where it is not whole."""
    kinds = (".bin", ".txt")
    return next((k for k in kinds if all(os.path.isfile(folder / f"{n}{k}") for n in ("cameras", "images"))), None)


def _lens(path: Path, number: int, model: str, width: int, height: int, params: tuple[float, ...]) -> Lens:
    where = f"{path}: camera {number}"
    if not is_known(model):
        raise UserError(f"{where} has the unknown model {model[:40]}; undistort the photographs with COLMAP")
    if not (0 < width <= LARGEST and 0 < height <= LARGEST):
        raise UserError(f"{where} is {width}×{height} pixels; export the model again")
    if len(params) != MODELS[model]:
        raise UserError(f"{where} has {len(params)} parameters; {model} has {MODELS[model]}")
    return Lens(model, params, width, height)


def _camera_to_world(pose: tuple[float, ...], where: str) -> Float64[np.ndarray, "3 4"]:
    """OpenGL's camera-to-world of COLMAP's (w, x, y, z, tx, ty, tz)."""
    quaternion, translation = np.array(pose[:4]), np.array(pose[4:])
    length = np.linalg.norm(quaternion)
    if not np.isfinite(pose).all() or not 1e-9 < length < 1e9:
        raise UserError(f"{where}: the pose is not finite; remove the frame or export the cameras again")
    w, x, y, z = quaternion / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + 2 * w * cross + 2 * cross @ cross  # world to camera
    matrix = np.concatenate([rotation.T * [1, -1, -1], -rotation.T @ translation[:, None]], axis=1)
    return check_pose(matrix, where)


def _turned(pose: Float64[np.ndarray, "3 4"]) -> Float64[np.ndarray, "3 4"]:
    return GRAVITY[:, :3] @ pose


Camera = tuple[int, str, int, int, tuple[float, ...]]  # number, model, width, height, parameters
Row = tuple[int, tuple[float, ...], int, str]  # number, pose, camera's number, name


def _text_lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8-sig") as file:
        yield from (line.strip("\r\n") for line in file)


def _text_cameras(path: Path) -> Iterator[Camera]:
    for line in _text_lines(path):
        if line.strip() and not line.startswith("#"):
            number, model, width, height, *params = line.split()
            yield int(number), model, int(width), int(height), tuple(map(float, params))


def _text_images(path: Path) -> Iterator[Row]:
    """Two lines each, the second for its points. The name is what follows the ninth number, blanks and all."""
    lines = _text_lines(path)
    for line in lines:
        if line.strip() and not line.startswith("#"):
            number, *pose, camera, name = line.split(maxsplit=9)
            if len(pose) != 7:
                raise ValueError(f"{name.strip()} has a line of {len(pose) + 3} words, not of ten")
            yield int(number), tuple(map(float, pose)), int(camera), name.rstrip()
            next(lines, None)


def _binary_cameras(path: Path) -> Iterator[Camera]:
    names = list(MODELS)
    with open(path, "rb") as file:
        for _ in range(_unpack(file, "<Q")[0]):
            number, kind, width, height = _unpack(file, "<iiQQ")
            if not 0 <= kind < len(names):
                raise UserError(f"{path.parent}: camera {number} has the unknown model {kind}; export it as text")
            yield number, names[kind], width, height, _unpack(file, f"<{MODELS[names[kind]]}d")


def _binary_images(path: Path) -> Iterator[Row]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        for _ in range(_unpack(file, "<Q")[0]):
            number, *pose, camera = _unpack(file, "<i7di")
            name = b"".join(iter(lambda: _unpack(file, "<c")[0], b"\0"))
            (points,) = _unpack(file, "<Q")
            if file.tell() + points * POINT > size:
                raise ValueError("it is cut short")
            file.seek(points * POINT, os.SEEK_CUR)
            yield number, tuple(pose), camera, name.decode()


def _unpack(file: BinaryIO, layout: str) -> tuple:
    data = file.read(struct.calcsize(layout))
    if len(data) < struct.calcsize(layout):
        raise ValueError("it is cut short")
    return struct.unpack(layout, data)

"""Captures that are none: every format's files, and the photographs that they name.

A new key of transforms.json goes into `TRANSFORMS`; other formats have a table each.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spoil
from good import CALLS
from PIL import Image
from spoil import keys

FIT = CALLS["fit"].replace("{capture}", "{bad}")


def frame(**values: Any) -> spoil.Change:
    """Other values of some keys of the first frame."""
    return lambda meta: meta["frames"][0].update(values)


def pose(value: Any, row: int = 0, column: int = 0) -> spoil.Change:
    return lambda meta: meta["frames"][0]["transform_matrix"][row].__setitem__(column, value)


def every_frame(**values: Any) -> spoil.Change:
    return lambda meta: [frame.update(values) for frame in meta["frames"]]


TRANSFORMS: dict[str, spoil.Change] = {
    "empty": "",
    "truncated": '{"frames": [',
    "a list": "[]",
    "null": "null",
    "no frames": keys('{"frames": []}'),
    "frames is an object": keys('{"frames": {"a": 1}}'),
    "frames of numbers": keys('{"frames": [1, 2]}'),
    "nested 100000 deep": "[" * 100_000,
    "UTF-16": '{"frames": []}'.encode("utf-16"),
    "bytes": b"\xff\xfe\x00\x01",
    "NaN in a pose": pose(nan),
    "infinity in a pose": pose(inf, 0, 3),
    "a pose of 1e300": pose(1e300, 0, 3),
    "a pose of 1e30": pose(1e30, 0, 3),
    "a string in a pose": pose("x"),
    "a huge integer in a pose": pose(10**400),
    "null in a pose": pose(None),
    "a pose of 2x2": frame(transform_matrix=[[1, 0], [0, 1]]),
    "a pose is a number": frame(transform_matrix=5),
    "all poses the same": every_frame(transform_matrix=np.eye(4).tolist()),
    "all poses zero": every_frame(transform_matrix=np.zeros((4, 4)).tolist()),
    "fl_x 0": keys('{"fl_x": 0}'),
    "fl_x negative": keys('{"fl_x": -3}'),
    "fl_x NaN": keys('{"fl_x": NaN}'),
    "fl_x a string": keys('{"fl_x": "12"}'),
    "fl_x tiny": keys('{"fl_x": 1e-300}'),
    "fl_x of 1e-9": keys('{"fl_x": 1e-9}'),
    "w negative": keys('{"w": -32}'),
    "w of 1e9": keys('{"w": 1000000000, "h": 1000000000}'),
    "cx NaN": keys('{"cx": NaN}'),
    "k1 NaN": keys('{"k1": NaN}'),
    "k1 a string": keys('{"k1": "a"}'),
    "k1 of 1e30": keys('{"k1": 1e30}'),
    "camera_model unknown": keys('{"camera_model": "PERISCOPE"}'),
    "camera_model a list": keys('{"camera_model": []}'),
    "applied_scale 0": keys('{"applied_scale": 0}'),
    "applied_transform of 2x2": keys('{"applied_transform": [[1, 2], [3, 4]]}'),
    "scene box inverted": keys('{"arf_scene_box": [[1, 1, 1], [0, 0, 0]]}'),
    "scene box NaN": keys('{"arf_scene_box": [[NaN, 0, 0], [1, 1, 1]]}'),
    "scene box of 1e-40": keys('{"arf_scene_box": [[0, 0, 0], [1e-40, 1e-40, 1e-40]]}'),
    "scene box far away": keys('{"arf_scene_box": [[1e6, 1e6, 1e6], [1000001, 1000001, 1000001]]}'),
    "train_filenames of others": keys('{"train_filenames": ["x"], "test_filenames": ["y"]}'),
    "train_filenames a number": keys('{"train_filenames": 3}'),
    "file_path a number": frame(file_path=3),
    "file_path empty": frame(file_path=""),
    "file_path a folder": frame(file_path="images"),
    "file_path is text": frame(file_path="transforms.json"),
    "file_path 5000 long": frame(file_path="a" * 5000),
    "file_path with NUL": frame(file_path="a\0b"),
    "file_path a device": frame(file_path="/dev/zero"),
    "file_path leads out": every_frame(file_path="../../../../etc/passwd"),
    "file_path with a newline": every_frame(file_path="images/a\nb\x1b[31m.png"),
    "all pictures missing": every_frame(file_path="gone.png"),
    "one photograph": lambda meta: meta.update(frames=meta["frames"][:1]),
    "mask_path missing": every_frame(mask_path="gone.png"),
    "mask_path a number": every_frame(mask_path=3),
    "mask_path is text": every_frame(mask_path="transforms.json"),
    "depth_file_path a number": every_frame(depth_file_path=3),
    "orientation_override": keys('{"orientation_override": "x"}'),
    "ply_file_path gone": keys('{"ply_file_path": "gone.ply"}'),
    "fisheye_crop_radius a string": keys('{"fisheye_crop_radius": "x", "camera_model": "OPENCV_FISHEYE"}'),
}
FORGIVEN = {
    "mask_path missing", "depth_file_path a number", "ply_file_path gone", "train_filenames of others",
    "orientation_override", "file_path a folder", "file_path empty", "file_path 5000 long", "file_path with NUL",
    "file_path a device", "scene box far away", "camera_model a list", "fisheye_crop_radius a string",
}  # fmt: skip


@pytest.mark.parametrize("what", TRANSFORMS)
def test_transforms(what, judge, good, at):
    judge(FIT, spoil.capture(at, good.capture, TRANSFORMS[what]), may=what in FORGIVEN)


BLENDER = {"no angle": {}, "angle 0": {"camera_angle_x": 0}, "angle NaN": {"camera_angle_x": nan}}
BLENDER |= {"angle a string": {"camera_angle_x": "1"}, "angle pi": {"camera_angle_x": 3.2}}


@pytest.mark.parametrize("what", BLENDER)
def test_blender(what, judge, good, at):
    def change(meta: dict) -> None:
        for key in ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x"):
            meta.pop(key, None)
        meta.update(BLENDER[what])

    spoil.capture(at, good.capture, change)
    (at / "transforms.json").rename(at / "transforms_train.json")
    judge(FIT, at)


@pytest.mark.parametrize("what", spoil.NO_FILES)
def test_transforms_that_are_no_file(what, judge, at):
    spoil.NO_FILES[what](at / "transforms.json")
    judge(FIT, at)


PLACES: dict[str, Callable] = {
    "missing": lambda good, at: at / "x",
    "empty folder": lambda good, at: at,
    "a picture": lambda good, at: good.photo,
    "a loop": lambda good, at: spoil.loop(at / "x"),
    "a fifo": lambda good, at: spoil.fifo(at / "x.json"),
    "a socket": lambda good, at: spoil.server(at / "x"),
    "a device": lambda good, at: Path("/dev/zero"),
    "escape in its name": lambda good, at: at / "a\x1b[31m\nb",
    "NUL-free but 5000 long": lambda good, at: at / ("a" * 5000),
}


@pytest.mark.parametrize("what", PLACES)
def test_places(what, judge, good, at):
    judge(FIT, PLACES[what](good, at))


def replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: (path.unlink(), make(path))


PHOTOGRAPHS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("x"),
    "of another size": lambda path: Image.new("RGB", (7, 9)).save(path),
    "a bomb": lambda path: path.write_bytes(spoil.png(100000, 100000)),
    "a dangling link": replaced(lambda path: path.symlink_to("/nowhere/x.png")),
    "a device": replaced(lambda path: path.symlink_to("/dev/zero")),
    **{what: replaced(make) for what, make in spoil.NO_FILES.items()},
}
SKIPPED = {"a dangling link", "a device", *spoil.NO_FILES}  # and counted


@pytest.mark.parametrize("what", PHOTOGRAPHS)
def test_photographs(what, judge, good, at):
    capture = shutil.copytree(good.capture, at / "capture")
    PHOTOGRAPHS[what](min((capture / "images").iterdir()))
    judge(FIT, capture, may=what in SKIPPED)


def count(n: int) -> bytes:
    return struct.pack("<Q", n)


def image(camera: int, name: bytes) -> bytes:
    return count(1) + struct.pack("<i7di", 1, 1, 0, 0, 0, 0, 0, 0, camera) + name


ONE = count(1) + struct.pack("<iiQQ", 1, 1, 32, 32) + struct.pack("<4d", 30, 30, 16, 16)
COLMAP = {
    "empty cameras.bin": (b"", b""),
    "cameras.bin of 2^60": (count(2**60), count(2**60)),
    "images.bin of 2^60": (ONE, count(2**60)),
    "no images": (ONE, count(0)),
    "unknown model": (count(1) + struct.pack("<iiQQ", 1, 99, 32, 32) + bytes(32), count(0)),
    "image of no camera": (ONE, image(77, b"a.png\0" + count(0))),
    "name without end": (ONE, image(1, b"a" * 5000)),
    "points of 2^60": (ONE, image(1, b"a.png\0" + count(2**60))),
    "NaN": (count(1) + struct.pack("<iiQQ", 1, 1, 32, 32) + struct.pack("<4d", *[nan] * 4), image(1, b"00.png\0")),
}


@pytest.mark.parametrize("what", COLMAP)
def test_colmap(what, judge, good, at):
    (at / "images").symlink_to(good.capture / "images")
    model = at / "sparse" / "0"
    model.mkdir(parents=True)
    for name, content in zip(("cameras", "images", "points3D"), (*COLMAP[what], count(0)), strict=True):
        (model / f"{name}.bin").write_bytes(content)
    judge(FIT, at)


COLMAP_TEXT = {
    "empty": ("", ""),
    "words": ("1 PINHOLE a b c d", ""),
    "too few": ("1 PINHOLE 32", "1 1 0 0"),
    "NaN": ("1 PINHOLE 32 32 nan nan nan nan", "1 1 0 0 0 0 0 0 1 a.png\n\n"),
    "huge": ("1 PINHOLE 1" + "0" * 400 + " 32 30 30 16 16", "1 1 0 0 0 0 0 0 1 a.png\n\n"),
    "bytes": ("\x00\x01\udcff", ""),
}


@pytest.mark.parametrize("what", COLMAP_TEXT)
def test_colmap_text(what, judge, good, at):
    (at / "images").symlink_to(good.capture / "images")
    model = at / "sparse" / "0"
    model.mkdir(parents=True)
    for name, content in zip(("cameras", "images", "points3D"), (*COLMAP_TEXT[what], ""), strict=True):
        (model / f"{name}.txt").write_bytes(os.fsencode(content))
    judge(FIT, at)


LLFF = {
    "empty": b"",
    "text": b"hello",
    "claims 10^12 rows": spoil.npy((10**12, 17)),
    "claims 3 columns": spoil.npy((8, 3)),
    "NaN": np.full((8, 17), nan),
    "zeros": np.zeros((8, 17)),
    "strings": np.full((8, 17), "x"),
    "complex": np.full((8, 17), 1j),
    "one row": np.zeros((1, 17)),
    "a pickle": np.array([{"a": 1}] * 8, dtype=object),
}


@pytest.mark.parametrize("what", LLFF)
def test_llff(what, judge, good, at):
    (at / "images").symlink_to(good.capture / "images")
    array, path = LLFF[what], at / "poses_bounds.npy"
    path.write_bytes(array) if isinstance(array, bytes) else np.save(path, array, allow_pickle=True)
    judge(FIT, at)


@pytest.mark.parametrize("command", ["render", "evaluate", "stylize", "view", "export"])
@pytest.mark.parametrize("what", ["gone", "empty", "NaN in a pose", "nested 100000 deep", "a fifo"])
def test_captures_of_runs(command, what, judge, good, at):
    data = at / "capture"
    if what != "gone":
        data.mkdir()
        if what == "a fifo":
            os.mkfifo(data / "transforms.json")
        else:
            spoil.capture(data, good.capture, TRANSFORMS[what])
    run = spoil.run(spoil.folder(at / "run"), good.fit, keys(json.dumps({"data": str(data)})))
    judge(CALLS[command].replace("{fit}", "{bad}"), run, may=command == "export")  # of the field alone

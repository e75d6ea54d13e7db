"""Splats that somebody brings to a command: files that are none, cameras that do not fit, places to write to.

A new way for a file to be wrong goes into test_splats.py; what the commands make of files, into `FILES`. A new way to
give cameras goes into `CAMERAS`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spoil
import torch
from good import OF_SPLATS, VIEWS, ending
from splatfiles import columns, some, write_rows

from arf.radiance.fields.splats.files.ply import write_ply

BROUGHT = {name: call.replace("{splats}", "{bad}") for name, call in OF_SPLATS.items()}
MAKING = ending(BROUGHT)


def changed(**parts: Any) -> Callable[[Any, Path], Path]:
    """A file of splats with other numbers in all of them."""

    def make(good, at):
        splats = some(50)
        for name, value in parts.items():
            getattr(splats, name)[:] = torch.as_tensor(value)
        write_ply(at / "x.ply", splats)
        return at / "x.ply"

    return make


def without(*names: str) -> Callable[[Any, Path], Path]:
    """A .ply that lacks some properties."""

    def make(good, at):
        rows = {name: column for name, column in columns(some()).items() if name not in names}
        return write_rows(at / "x.ply", rows)

    return make


def named(name: str, content: bytes | str | None = "hello") -> Callable[[Any, Path], Path]:
    return lambda good, at: spoil.file(at, good.splats.read_bytes() if content is None else content, name)


def run_folder(spoiled: Callable[[Path], object]) -> Callable[[Any, Path], Path]:
    """A run folder of 3D Gaussian Splatting with something wrong in it."""

    def make(good, at):
        place = at / "run" / "point_cloud" / "iteration_7"
        place.mkdir(parents=True)
        shutil.copy(good.splats, place / "point_cloud.ply")
        spoiled(place / "point_cloud.ply")
        return at / "run"

    return make


def instead(make: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: (path.unlink(), make(path))


def linked(target: str) -> Callable[[Any, Path], Path]:
    def make(good, at):
        (at / "x.ply").symlink_to(target)
        return at / "x.ply"

    return make


def header(count: str) -> Callable[[Any, Path], Path]:
    """A .ply that says that it holds other splats."""
    return lambda good, at: spoil.file(
        at, good.splats.read_bytes().replace(b"element vertex 200", f"element vertex {count}".encode()), "x.ply"
    )


FILES: dict[str, Callable[[Any, Path], Path]] = {
    "missing .ply": lambda good, at: at / "x.ply",
    "missing .splat": lambda good, at: at / "x.splat",
    "missing .spz": lambda good, at: at / "x.spz",
    "empty": named("x.ply", ""),
    "text": named("x.ply"),
    "text .splat": named("x.splat"),
    "text .spz": named("x.spz"),
    "a picture": lambda good, at: spoil.file(at, good.photo.read_bytes(), "x.ply"),
    "cut short": lambda good, at: spoil.cut(at, good.splats),
    "10^14 splats": header("1" + "0" * 14),
    "no splats": header("0"),
    "no opacity": without("opacity"),
    "no colours": without("f_dc_0", "f_dc_1", "f_dc_2"),
    "a point cloud": without("opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))),
    "NaN alone": changed(means=nan),
    "quaternions of 0": changed(quats=0.0),
    "all transparent": changed(opacities=0.0),
    "too small to be seen": changed(scales=1e-30, opacities=0.004),
    "NUL in its name": lambda good, at: at / "a\0b.ply",
    "NUL in a folder's name": lambda good, at: at / "a\0b",
    "escape in its name": lambda good, at: at / "a\x1b[31m\nb.ply",
    "escape in the name of text": named("a\x1b[31m\r\nb.ply"),
    "5000 long": lambda good, at: at / ("a" * 5000 + ".ply"),
    "no UTF-8 in its name": lambda good, at: Path(os.fsdecode(os.fsencode(at) + b"/\xff\xfe.ply")),
    "below a file": lambda good, at: good.splats / "x.ply",
    "a link to a device": linked("/dev/zero"),
    "a link to nowhere": linked("/nowhere/x.ply"),
    "a folder of splats": lambda good, at: (shutil.copy(good.splats, at), at)[1],
    "a run without splats": run_folder(lambda path: path.unlink()),
    "a run of text": run_folder(lambda path: path.write_text("hello")),
    "a run of cameras that are text": run_folder(lambda path: (path.parents[2] / "cameras.json").write_text("hello")),
    "a run of no cameras": run_folder(lambda path: (path.parents[2] / "cameras.json").write_text("[]")),
    "a run of an object of cameras": run_folder(lambda path: (path.parents[2] / "cameras.json").write_text("{}")),
    **{f"{what} in a run": run_folder(instead(make)) for what, make in spoil.NO_FILES.items()},
    **{what: lambda good, at, make=make: make(at / "x.ply") for what, make in spoil.NO_FILES.items()},
}
EVERYWHERE = {"missing .ply", "cut short", "a point cloud", "NaN alone", "a fifo", "a run of text", "all transparent"}
EVERYWHERE |= {"escape in the name of text", "a link to a device"}
CASES = [(command, what) for command in BROUGHT for what in FILES if command == "export" or what in EVERYWHERE]


@pytest.mark.parametrize(("command", "what"), CASES)
def test_files(command, what, judge, good, at):
    judge(BROUGHT[command], FILES[what](good, at))


ODD: dict[str, Callable[[Any, Path], Path]] = {  # as good as they can be
    "one splat": lambda good, at: (write_ply(at / "x.ply", some(1)), at / "x.ply")[1],
    "two splats": lambda good, at: (write_ply(at / "x.ply", some(2)), at / "x.ply")[1],
    "all in one place": changed(means=1.0),
    "all in one place far away": changed(means=9e9),
    "as large as can be": changed(scales=9e9),
    "as small as can be": changed(scales=1e-30),
    "as bright as can be": changed(colors=9e9),
    "as dark as can be": changed(colors=-9e9),
    "as far as can be": changed(means=torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 2e9),
    "needles": changed(scales=torch.tensor([9e9, 1e-20, 1e-20])),
    "some NaN": changed(colors=torch.tensor([[nan] * 3] * 25 + [[0.5, 0, 0]] * 25)),
}
FEW = ("stylize", "render", "export html", "export points", "export spz")


@pytest.mark.parametrize("command", FEW)
@pytest.mark.parametrize("what", ODD)
def test_odd_splats(command, what, judge, good, at):
    """Whatever becomes of them, it is a result or a line."""
    judge(MAKING[command], ODD[what](good, at), may=True)


NAMED: dict[str, Callable[[Any, Path], Path]] = {  # what is made of them goes into folders of their names
    "two dots for a name": named("...ply", None),
    "one dot for a name": named("..ply", None),
    "no name but its formats": named(".compressed.ply", None),
    "a backslash in its name": named("a\\b.ply", None),
    "an escape in its name": named("a\x1b[31m\n<script>.ply", None),
    "a long name": named("a" * 251 + ".ply", None),
    "a point of the compass": named("é‮\u2028.ply", None),
}


@pytest.mark.parametrize("call", [BROUGHT["stylize"], f"export {{bad}} {VIEWS} --format html"])
@pytest.mark.parametrize("what", NAMED)
def test_names(call, what, judge, good, at, tmp_path):
    assert judge(call, NAMED[what](good, at), may=True)
    made = [path for path in (tmp_path / "out").rglob("*") if path.name in ("arf.json", "walk.html")]
    assert len(made) == 1
    assert len(made[0].relative_to(tmp_path / "out").parts) == (5 if "stylize" in call else 3)


ENTRY = {
    "id": 0, "img_name": "0", "width": 40, "height": 30, "fx": 50.0, "fy": 50.0,
    "position": [0.0, 0.0, -6.0], "rotation": np.eye(3).tolist(),
}  # fmt: skip


def listed(**values: Any) -> str:
    """A cameras.json of two, the second of which is odd."""
    return json.dumps([{**ENTRY, "position": [1.0, 0.0, -6.0]}, {**ENTRY, **values}])


def path(camera: dict[str, Any] | None = None, **values: Any) -> str:
    """A camera path of two, the second of which is odd."""
    matrix = [1, 0, 0, 0, 0, 0, -1, -6, 0, 1, 0, 0, 0, 0, 0, 1]
    one = {"camera_to_world": matrix, "fov": 50, "aspect": 1}
    whole = {"camera_type": "perspective", "render_width": 16, "render_height": 16, "fps": 8}
    return json.dumps({**whole, "camera_path": [one, {**one, **(camera or {})}], **values})


MIRRORED, TURNED = np.diag([-1, 1, 1]).tolist(), np.diag([1, -1, -1]).tolist()
CAMERAS: dict[str, str | bytes] = {
    "empty": "",
    "bytes": b"\xff\xfe",
    "a list of nothing": "[]",
    "a list of one": json.dumps([ENTRY]),
    "a list of numbers": "[1, 2]",
    "a list of lists": "[[], []]",
    "null": "null",
    "a word": '"x"',
    "deep": "[" * 100_000,
    "an object": "{}",
    "no fx": listed(fx=None),
    "fx 0": listed(fx=0),
    "fx negative": listed(fx=-50),
    "fx NaN": listed(fx=nan),
    "fx of 10^400": listed(fx=10**400),
    "fx of words": listed(fx="50"),
    "fx true": listed(fx=True),
    "width 0": listed(width=0),
    "width of 10^9": listed(width=10**9),
    "width of 10^400": listed(width=10**400),
    "width NaN": listed(width=nan),
    "height a list": listed(height=[30]),
    "position of two": listed(position=[0, 0]),
    "position NaN": listed(position=[0, 0, nan]),
    "position of 10^400": listed(position=[0, 0, 10**400]),
    "position of 1e300": listed(position=[0, 0, 1e300]),
    "position of words": listed(position=["a", "b", "c"]),
    "position ragged": listed(position=[[1], [1, 2], 3]),
    "rotation of 2x2": listed(rotation=[[1, 0], [0, 1]]),
    "rotation of zeros": listed(rotation=np.zeros((3, 3)).tolist()),
    "rotation NaN": listed(rotation=[[nan] * 3] * 3),
    "rotation that mirrors": listed(rotation=MIRRORED),
    "rotation that scales": listed(rotation=(2 * np.eye(3)).tolist()),
    "rotation null": listed(rotation=None),
    "cameras that look away": json.dumps([{**ENTRY, "rotation": TURNED}, {**ENTRY, "rotation": TURNED}]),
    "a path of nothing": path(camera_path=[]),
    "a path of one": json.dumps({**json.loads(path()), "camera_path": json.loads(path())["camera_path"][:1]}),
    "a path that looks away": path(camera_path=json.loads(path().replace("-6", "6"))["camera_path"]),
    "a path of panoramas": path(camera_type="equirectangular"),
    "a path of fisheyes": path(camera_type="fisheye"),
    "a path of soup": path(camera_type="soup"),
    "a path of 10^9 pixels": path(render_width=10**9, render_height=10**9),
    "a path of NaN": path({"camera_to_world": [nan] * 16}),
    "a path of 10^400": path({"camera_to_world": [10**400] * 16}),
    "a path of zeros": path({"camera_to_world": [0] * 16}),
    "a path of 15 numbers": path({"camera_to_world": [0] * 15}),
    "a path of fov 0": path({"fov": 0}),
    "a path of fov 180": path({"fov": 180}),
}


@pytest.mark.parametrize("what", CAMERAS)
def test_cameras(what, judge, at):
    judge(f"{OF_SPLATS['export']} --cameras {{bad}}", spoil.file(at, CAMERAS[what], "c.json"))


@pytest.mark.parametrize("command", ["export", "view"])
@pytest.mark.parametrize("flag", ["--cameras", "--capture"])
@pytest.mark.parametrize("what", ["missing", *spoil.NO_FILES])
def test_cameras_that_are_no_file(what, flag, command, judge, at):
    judge(f"{OF_SPLATS[command]} {flag} {{bad}}", spoil.NO_FILES.get(what, lambda path: path)(at / "c.json"))


ODD_CAMERAS: dict[str, str] = {  # of which something can be made
    "the same twice": json.dumps([ENTRY, ENTRY]),
    "as large as can be": json.dumps([{**ENTRY, "width": 16384, "height": 16384, "fx": 16384, "fy": 16384}] * 2),
    "as narrow as can be": listed(width=1, height=16384, fx=50, fy=16384),
    "as long as can be": listed(fx=40_000, fy=30_000),
    "as short as can be": listed(fx=0.4, fy=0.3),
    "as far as can be": listed(position=[9e9, 0, 0]),
    "many": json.dumps([ENTRY] * 300),
    "names that are none": listed(img_name=5),
}


@pytest.mark.parametrize("command", ["stylize", "render", "export points"])
@pytest.mark.parametrize("what", ODD_CAMERAS)
def test_odd_cameras(what, command, judge, at):
    judge(f"{OF_SPLATS[command]} --cameras {{bad}}", spoil.file(at, ODD_CAMERAS[what], "c.json"), may=True)


def test_views_that_are_too_small_for_a_layer(judge, at):
    cameras = spoil.file(at, json.dumps([{**ENTRY, "width": 12}, {**ENTRY, "width": 12}]), "c.json")
    call = OF_SPLATS["stylize"].replace("relu2_1", "relu5_1")
    assert "looked at in 12×30 pixels" in judge(f"{call} --cameras {{bad}}", cameras)


def listed_run(good, at: Path) -> Path:
    """A run folder of 3D Gaussian Splatting with its cameras."""
    run = run_folder(lambda path: None)(good, at)
    spoil.file(run, listed(), "cameras.json")
    return run


KEPT = {  # what is read, under a name that is written to
    "the file": "export {bad}/x.ply --output {bad}/x.ply",
    "a link to the file": "export {bad}/x.ply --output {bad}/link.ply",
    "another name of the file": "export {bad}/x.ply --output {bad}/other.ply",
    "one of several files": "export {splats} {bad}/x.ply --format html --output {bad}/x.html",
    "the file of a run": "export {bad}/run --output {bad}/run/point_cloud/iteration_7/point_cloud.ply",
    "the cameras of a run": "render {bad}/run --frames 1 --output {out}/o.mp4 --save-path {bad}/run/cameras.json",
    "the cameras": "export {bad}/x.ply --cameras {bad}/c.html --output {bad}/c.html",
    "the file's film": "render {bad}/x.ply --frames 1 --output {out}/o.mp4 --save-path {bad}/x.ply",
    "the ride": "export {bad}/x.ply --path {bad}/c.html --output {bad}/c.html",
    "the film's path": "render {bad}/x.ply --path {bad}/p.json --output {out}/o.mp4 --save-path {bad}/p.json",
    "arf.json": "render {bad}/painted --frames 1 --output {out}/o.mp4 --save-path {bad}/painted/arf.json",
    "a model": "render {bad}/painted --frames 1 --output {out}/o.mp4 --save-path {bad}/painted/model.safetensors",
    "a capture": "render {fit} --frames 1 --output {out}/o.mp4 --save-path {capture}/transforms.json",
}


@pytest.mark.parametrize("what", KEPT)
def test_what_is_read_is_not_written_over(what, judge, good, at):
    shutil.copy(good.splats, at / "x.ply")
    (at / "link.ply").symlink_to(at / "x.ply")
    (at / "other.ply").hardlink_to(at / "x.ply")
    listed_run(good, at)
    spoil.file(at, listed(), "c.html")
    (at / "x.html").symlink_to(at / "x.ply")
    spoil.file(at, path(), "p.json")
    spoil.run(spoil.folder(at / "painted"), good.painted_splats, lambda info: None)
    flags = "" if what in ("arf.json", "a model", "a capture") else f" {VIEWS}"
    assert "read by this command" in judge(f"{KEPT[what]}{flags} --overwrite", at)


PRESETS = {
    "a flag for splats": "export: {views: 3}",
    "a section for splats": "splats: {views: 3}",
    "a format that is none": "export: {format: soup}",
    "a format that is a number": "export: {format: 5}",
    "count a string": "export: {count: many}",
    "count 0": "export: {count: 0}",
    "count NaN": "export: {count: .nan}",
    "a frame that is none": "export: {frame: nowhere}",
    "a path that is a list": "export: {path: [orbit]}",
    "a path that is none": "export: {path: nowhere}",
    "a path with NUL": 'export: {path: "a\\0b.json"}',
    "a path with an escape": 'export: {path: "a\\e[31m\\nb.json"}',
}


@pytest.mark.parametrize("what", PRESETS)
def test_presets(what, judge, at):
    judge(f"{OF_SPLATS['export html']} --config {{bad}}", spoil.file(at, PRESETS[what], "p.yaml"))


def test_a_path_with_nul_for_a_film(judge, good, at):
    preset = spoil.file(at, 'render: {path: "a\\0b"}', "p.yaml")
    judge(f"render {{painted_splats}} --frames 1 --config {preset}")
    preset = spoil.file(at, 'render: {path: "a\\0b.json"}', "p.yaml")
    judge(f"render {{painted_splats}} --frames 1 --config {preset}")

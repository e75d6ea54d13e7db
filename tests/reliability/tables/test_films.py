"""Camera paths, videos, and states of films.

A new key of a camera path goes into `PATHS`, a new kind of video that is none into `VIDEOS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spoil
from good import CALLS

RENDER = CALLS["render"].replace("--frames 1", "--path {bad}")
CAMERA = {"camera_to_world": np.eye(4).ravel().tolist(), "fov": 50, "aspect": 1}
MATRIX = CAMERA["camera_to_world"]


def path(**values: Any) -> str:
    whole = {"camera_type": "perspective", "render_width": 16, "render_height": 16, "fps": 8, "camera_path": [CAMERA]}
    return json.dumps({**whole, **values})


def camera(**values: Any) -> str:
    return path(camera_path=[CAMERA, {**CAMERA, **values}])


PATHS = {
    "empty": "",
    "a list": "[]",
    "deep": "[" * 100_000,
    "no frames": path(camera_path=[]),
    "frames an object": path(camera_path={}),
    "frames null": path(camera_path=None),
    "frame a number": path(camera_path=[5]),
    "NaN in a pose": camera(camera_to_world=[nan, *MATRIX[1:]]),
    "15 numbers": camera(camera_to_world=MATRIX[1:]),
    "strings in a pose": camera(camera_to_world=["a"] * 16),
    "null in a pose": camera(camera_to_world=[None] * 16),
    "zeros": camera(camera_to_world=[0] * 16),
    "1e38 away": camera(camera_to_world=[*MATRIX[:3], 1e38, *MATRIX[4:]]),
    "1e300 away": camera(camera_to_world=[*MATRIX[:3], 1e300, *MATRIX[4:]]),
    "10^400 away": camera(camera_to_world=[*MATRIX[:3], 10**400, *MATRIX[4:]]),
    "ragged pose": camera(camera_to_world=[[1, 2], [3]]),
    "deep pose": camera(camera_to_world=json.loads("[" * 200 + "]" * 200)),
    "fov 0": camera(fov=0),
    "fov 180": camera(fov=180),
    "fov NaN": camera(fov=nan),
    "fov a string": camera(fov="50"),
    "fov 1e-300": camera(fov=1e-300),
    "fov true": camera(fov=True),
    "width -1": path(render_width=-1),
    "width 0.2": path(render_width=0.2),
    "width 1e9": path(render_width=1e9),
    "width NaN": path(render_width=nan),
    "width a string": path(render_width="16"),
    "width 10^400": path(render_width=10**400),
    "fps 0": path(fps=0),
    "fps 1e9": path(fps=1e9),
    "fps NaN": path(fps=nan),
    "fps 1e-300": path(fps=1e-300),
    "seconds 0": path(fps=None, seconds=0),
    "seconds 1e-300": path(fps=None, seconds=1e-300),
    "seconds NaN": path(fps=None, seconds=nan),
    "type unknown": path(camera_type="soup"),
    "type a list": path(camera_type=[1]),
    "version": path(version=3),
}
MAY = {"fov true", "width 0.2", "1e38 away", "fps 1e9"}


@pytest.mark.parametrize("what", PATHS)
def test_camera_paths(what, judge, at):
    judge(RENDER, spoil.file(at, PATHS[what], "path.json"), may=what in MAY)


@pytest.mark.parametrize("what", ["missing", *spoil.NO_FILES])
def test_camera_paths_that_are_no_file(what, judge, at):
    judge(RENDER, spoil.NO_FILES.get(what, lambda path: path)(at / "path.json"))


def test_a_camera_path_that_is_a_picture(judge, good):
    judge(RENDER, good.photo)


VIDEO = CALLS["video"].replace("{video}", "{bad}")
VIDEOS: dict[str, Callable] = {
    "missing": lambda good, at: at / "x.mp4",
    "empty": lambda good, at: spoil.file(at, "", "x.mp4"),
    "text": lambda good, at: spoil.file(at, "hello", "x.mp4"),
    "a picture": lambda good, at: good.photo,
    "cut short": lambda good, at: spoil.cut(at, good.video, 0.6),
    "sound alone": lambda good, at: good.sound,
    "endless device": lambda good, at: Path("/dev/zero"),
    "zeros inside": lambda good, at: spoil.file(at, good.video.read_bytes()[:400] + bytes(9000), "x.mp4"),
    "a playlist": lambda good, at: spoil.file(at, "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "x.m3u8"),
    "a playlist named .mp4": lambda good, at: spoil.file(at, "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "x.mp4"),
    "a concat list": lambda good, at: spoil.file(at, f"ffconcat version 1.0\nfile {good.video}\n", "x.ffconcat"),
    "concat:": lambda good, at: f"concat:{good.video}|{good.video}",
    "http:": lambda good, at: "http://127.0.0.1:9/x.mp4",
    "pipe:": lambda good, at: "pipe:0",
    "subfile:": lambda good, at: f"subfile,,start,0,end,0,,:{good.video}",
    "a newline in its name": lambda good, at: at / "a\nb.mp4",
    "an escape in its name": lambda good, at: spoil.file(at, "hello", "a\x1b[31mb.mp4"),
    **{what: lambda good, at, make=make: make(at / "x.mp4") for what, make in spoil.NO_FILES.items()},
}


@pytest.mark.parametrize("what", VIDEOS)
def test_videos(what, judge, good, at):
    judge(VIDEO, VIDEOS[what](good, at))


def test_a_dash_in_front(judge):
    judge("video --style mosaic --output {out}/o.mp4 -- -x.mp4")


RESUME = f"{CALLS['video']} --resume".replace("{out}", "{bad}")


@pytest.mark.parametrize("content", ["nothing", "", "x", "[]"])
def test_states(content, judge, at):
    if content != "nothing":
        parts = spoil.folder(at / "o.parts")
        spoil.file(parts, content, "state.safetensors")
    judge(RESUME, at)

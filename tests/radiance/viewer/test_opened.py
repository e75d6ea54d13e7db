"""`arf view RUN` as a command: what a visitor of its process sees of a run, and how it ends."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from visitors import Visitor, close, free_port

from arf import cli
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.viewer.opened import OpenedScene
from arf.radiance.viewer.world import Gaze, World

CPU = torch.device("cpu")


SIDE = 90  # of the pictures that are compared; those that are seen may be larger


def shrunk(picture: Tensor) -> Tensor:
    return interpolate(picture.permute(2, 0, 1)[None], (SIDE, SIDE), mode="area")[0].permute(1, 2, 0)


@contextmanager
def viewing(run: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """`arf view` in a process of its own, ready for visitors."""
    port = free_port()
    command = [sys.executable, "-m", "arf", "view", str(run), "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line == f"http://127.0.0.1:{port}  {run}\n", line + process.stderr.read()
        yield process, port
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def bare(stylized, tmp_path) -> Path:
    """A stylized run as somebody may send it: nothing that nerfstudio would have to execute."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("arf.json", "model.safetensors"):
        shutil.copy(stylized.path / name, folder)
    return folder


def test_a_client_sees_the_scene_and_its_controls_repaint_it(bare, stylized):
    painted, capture = open_painted(stylized, CPU)
    pose, world = capture.train.cameras.poses[0], World.of(capture.train.cameras)
    gaze = Gaze(world.place(pose)[0], tuple(pose[:, 3].tolist()), world.fov, 1.0)
    photoreal, repainted = picture(painted.field, painted.look, gaze.camera(SIDE)).split(3, 2)
    assert not close(photoreal, repainted)

    def shows(wanted: Tensor) -> Callable[[Tensor], bool]:
        return lambda seen: len(seen) >= SIDE and close(shrunk(seen), wanted)

    with viewing(bare) as (process, port):
        with Visitor(port, aspect=1.0) as visitor:
            assert visitor.picture(shows(repainted)).std() > 0.05
            visitor.set("Style strength", 0.0)
            visitor.picture(shows(photoreal))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
        assert process.returncode == 0
        assert said == "arf: closed the viewer\n"


def test_a_photoreal_run_shows_without_style_controls(fitted):
    field, capture = open_photoreal(fitted, CPU)
    scene, camera = OpenedScene(field, None, capture.train), capture.held_out.cameras[0]
    assert not scene.painted
    assert torch.equal(scene.render(camera, 1.0, False), picture(field, None, camera))


def test_a_painting_is_blended_as_the_controls_say(stylized):
    painted, capture = open_painted(stylized, CPU)
    scene, camera = OpenedScene(painted.field, painted.look, capture.train), capture.held_out.cameras[0]
    assert scene.painted
    wanted = picture(painted.field, painted.look, camera, 0.5, True)[..., 3:]
    assert torch.equal(scene.render(camera, 0.5, True), wanted)


def test_a_port_in_use_is_one_line_and_exit_code_two(stylized, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert cli.main(["view", str(stylized.path), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"127.0.0.1:{port}" in said
    assert "--port" in said

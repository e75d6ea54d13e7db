"""`arf view`: what a client on its websocket, and a real browser, see of a run."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import CameraType
from nerfstudio.models.base_model import Model
from nerfstudio.viewer.utils import CameraState, get_camera
from PIL import Image
from viewer_client import FOV, Client, free_port
from websockets.asyncio.client import connect

from arf import cli
from arf.errors import UserError
from arf.nerfstudio.viewing import check_port, start_viewer, stop_viewer
from arf.radiance.opening import open_painted, open_photoreal

CPU = torch.device("cpu")
SIZE = 64  # of the pictures here, once a client has asked for it


@contextmanager
def viewing(run: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """`arf view` in a process of its own, ready for clients."""
    port = free_port()
    code = f"import torch; torch.set_num_threads({torch.get_num_threads()}); from arf.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", f"import sys; {code}", "view", str(run), "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line == f"http://127.0.0.1:{port}  {run}\n", line + process.stderr.read()
        yield process, port
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def bare(stylized, tmp_path_factory) -> Path:
    """A stylized run as somebody may send it: nothing that nerfstudio would have to execute."""
    folder = tmp_path_factory.mktemp("bare") / "run"
    folder.mkdir()
    for name in ("arf.json", "model.safetensors"):
        shutil.copy(stylized.path / name, folder)
    return folder


def shown(model: Model, pose: torch.Tensor, output: str = "rgb") -> torch.Tensor:
    """Our own rendering through the camera that a client looks through."""
    camera = get_camera(CameraState(FOV, 1.0, pose, CameraType.PERSPECTIVE), SIZE, SIZE)
    return model.get_outputs_for_camera(camera)[output]


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """The same picture, but for JPEG."""
    return a.shape == b.shape and float((a - b).abs().mean()) < 0.03


def test_a_client_sees_the_scene_and_its_controls_repaint_it(bare, stylized):
    model, capture = open_painted(stylized, CPU)
    pose = capture.held_out.cameras.camera_to_worlds[0]
    painted, photoreal = shown(model, pose), shown(model, pose, "photoreal")
    kept = photoreal + (painted - photoreal) @ torch.tensor([[0.299], [0.587], [0.114]])
    half = (kept.clamp(0, 1) + photoreal) / 2
    assert not close(painted, photoreal)
    assert not close(half, photoreal)
    with viewing(bare) as (process, port):
        with Client(port) as client:
            client.look(pose)
            client.picture(lambda _: True)
            client.set("Max res", SIZE)
            assert client.picture(lambda p: close(p, painted)).std() > 0.05
            client.set("Style strength", 0.0)
            client.picture(lambda p: close(p, photoreal))
            client.set("Keep the photographs' colours", True)
            client.set("Style strength", 0.5)
            client.picture(lambda p: close(p, half))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
        assert process.returncode == 0
        assert said == "arf: closed the viewer\n"


def test_a_photoreal_run_shows_without_style_controls(fitted, tmp_path):
    model, capture = open_photoreal(fitted, CPU)
    viewer = start_viewer(model, capture, tmp_path, "localhost", free_port())
    try:
        with Client(viewer.viser_server.get_port()) as client:
            client.look(capture.held_out.cameras.camera_to_worlds[0])
            assert client.picture(lambda _: True).std() > 0.05
            assert "Max res" in client.elements
            assert not {"Style strength", "Keep the photographs' colours"} & set(client.elements)
            assert viewer.camera_handles.keys() == set(range(len(capture.train)))
    finally:
        stop_viewer(viewer)


def test_a_port_in_use_is_refused_in_one_line(stylized, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert cli.main(["view", str(stylized.path), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"127.0.0.1:{port}" in said
    assert "--port" in said


@pytest.mark.parametrize("port", [0, 70_000, -1])
def test_impossible_ports_are_refused(port):
    with pytest.raises(UserError, match=f"port is {port}"):
        check_port("localhost", port)


def test_a_host_that_is_not_ours_is_refused():
    with pytest.raises(UserError, match=r"192\.0\.2\.1:7007"):
        check_port("192.0.2.1", 7007)  # reserved for documentation


def test_a_browser_shows_scene_and_controls(bare, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium or Chrome on the PATH")
    options = [
        "--headless", "--no-sandbox", "--enable-unsafe-swiftshader", "--use-angle=swiftshader",
        "--window-size=900,1100", f"--user-data-dir={tmp_path}", "--remote-debugging-port=0",
    ]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with viewing(bare) as (_, port), subprocess.Popen([browser, *options], **quiet) as process:
        try:
            picture, text = asyncio.run(visit(tmp_path / "DevToolsActivePort", f"http://localhost:{port}"))
        finally:
            process.kill()
    assert "Style strength" in text
    assert "Keep the photographs' colours" in text
    scene = picture[100:900, 50:450]  # left of the panel
    assert scene.std() > 0.05
    assert (scene.amax(-1) - scene.amin(-1)).mean() > 0.1  # colours, no grey page


async def visit(devtools: Path, url: str) -> tuple[torch.Tensor, str]:
    """Open a page, wait until something is drawn on it, and return its screenshot [h, w, 3] and its text.

    Args:
        devtools: file in which the browser says where it can be steered.
    """
    for _ in range(600):
        if devtools.is_file() and len(lines := devtools.read_text().splitlines()) == 2:
            break
        await asyncio.sleep(0.1)
    pages = json.load(urllib.request.urlopen(f"http://localhost:{lines[0]}/json"))
    page = next(entry["webSocketDebuggerUrl"] for entry in pages if entry["type"] == "page")
    async with connect(page, max_size=None) as tools:
        number = 0

        async def call(method: str, **parameters: object) -> dict:
            nonlocal number
            number += 1
            await tools.send(json.dumps({"id": number, "method": method, "params": parameters}))
            while (answer := json.loads(await tools.recv())).get("id") != number:
                pass
            return answer["result"]

        await call("Page.navigate", url=url)
        for _ in range(60):
            await asyncio.sleep(1)
            shot = await call("Page.captureScreenshot", format="png")
            pixels = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
            picture = torch.from_numpy(np.array(pixels)).float() / 255
            scene = picture[100:900, 50:450]
            if scene.std() > 0.05 and (scene.amax(-1) - scene.amin(-1)).mean() > 0.1:
                break
        text = await call("Runtime.evaluate", expression="document.body.innerText")
        return picture, text["result"]["value"]

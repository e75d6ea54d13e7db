"""`arf view` as visitors see it: through a websocket, and in a real browser."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from visitors import PATIENCE, Compass, Visitor, close, free_port, sky, until
from websockets.asyncio.client import connect

from arf.radiance.paths.files import from_json
from arf.radiance.viewer.viewer import Viewer
from arf.radiance.viewer.world import Gaze

PROGRAM = """
import sys, time
from pathlib import Path
from visitors import Compass
from arf.radiance.viewer.viewer import view

class Slow(Compass):
    def render(self, *asked):
        time.sleep(0.05)
        return super().render(*asked)

try:
    view(Slow(), Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2]), lambda url: print(url, flush=True))
except KeyboardInterrupt:
    print("closed" if "nerfstudio" not in sys.modules else "closed, with nerfstudio", flush=True)
"""


@pytest.fixture
def viewer(tmp_path) -> Iterator[Viewer]:
    viewer = Viewer(Compass(), tmp_path)
    viewer.open("127.0.0.1", free_port())
    yield viewer
    viewer.close()
    assert viewer.renderer.error is None


def enter(viewer: Viewer, aspect: float = 1.5) -> Visitor:
    return Visitor(int(viewer.url.rpartition(":")[2]), aspect)


def seen(viewer: Viewer, index: int, aspect: float = 1.5, side: int = 960, *style) -> torch.Tensor:
    """The sky through a camera of the capture, as a window with its field of view shows it."""
    wxyz, _ = viewer.world.place(viewer.scene.cameras.poses[index])
    return sky(Gaze(wxyz, (0.0,) * 3, viewer.world.fov, aspect).camera(side), *style)


def shows(viewer: Viewer, index: int, *style):
    """Whether a picture shows that, sharp."""
    return lambda picture: close(picture, seen(viewer, index, 1.5, 960, *style))


def test_a_visitor_starts_at_the_first_camera_the_right_way_up(viewer):
    with enter(viewer) as visitor:
        picture = visitor.picture(lambda _: True)
        while max(picture.shape) < 960:
            assert close(picture, seen(viewer, 0, 1.5, max(picture.shape)))
            picture = visitor.picture(lambda _: True)
        assert shows(viewer, 0)(picture)
        assert picture[0].mean(0)[2] > picture[-1].mean(0)[2] + 0.2  # z, which is up, is blue
        assert (
            picture[:, -1].mean(0)[1] > picture[:, 0].mean(0)[1] + 0.2
        )  # from (3, 0) to the origin, y is to the right


def test_controls_repaint(viewer):
    with enter(viewer) as visitor:
        visitor.set("Style strength", 0.25)
        visitor.picture(shows(viewer, 0, 0.25))
        visitor.set("Keep the photographs' colours", True)
        visitor.picture(shows(viewer, 0, 0.25, True))


def test_a_photoreal_scene_has_no_style(tmp_path):
    viewer = Viewer(Compass(painted=False), tmp_path)
    viewer.open("127.0.0.1", free_port())
    try:
        with enter(viewer) as visitor:
            visitor.picture(shows(viewer, 0))
            assert "Show cameras" in visitor.elements
            assert not {"Style strength", "Keep the photographs' colours"} & set(visitor.elements)
    finally:
        viewer.close()


def test_two_visitors_look_at_different_things(viewer):
    with enter(viewer) as one, enter(viewer, aspect=0.8) as other:
        one.picture(shows(viewer, 0))
        other.picture(lambda picture: max(picture.shape) == 960)
        position, look_at = other.camera["position"], other.camera["look_at"]
        other.move(position=look_at, look_at=position)  # the other way round
        up = viewer.world.start.clone()
        up[:, [0, 2]] *= -1
        wxyz, _ = viewer.world.place(up)
        expected = sky(Gaze(wxyz, (0.0,) * 3, viewer.world.fov, 0.8).camera(960))
        other.picture(lambda picture: close(picture, expected))
        one.set("Style strength", 0.5)  # is of the scene, not of a visitor
        one.picture(shows(viewer, 0, 0.5))
        other.picture(lambda picture: close(picture, expected * 0.6))


def test_cameras_are_shown_and_take_one_there(viewer):
    with enter(viewer) as visitor:
        visitor.picture(shows(viewer, 0))
        assert not visitor.visible
        visitor.set("Show cameras", True)
        visitor.until(lambda: len(visitor.visible) == 6)
        visitor.until(lambda: not visitor.visible["/cameras/0"])  # in which the visitor stands
        assert visitor.visible["/cameras/2"]
        visitor.click("/cameras/2")
        visitor.picture(shows(viewer, 2))
        visitor.until(lambda: visitor.visible["/cameras/0"] and not visitor.visible["/cameras/2"])
        visitor.set("Reset view", True)
        visitor.picture(shows(viewer, 0))
        visitor.set("Show cameras", False)
        visitor.until(lambda: not any(visitor.visible.values()))


def test_up_is_where_the_visitor_says(viewer):
    with enter(viewer) as visitor:
        visitor.picture(shows(viewer, 0))
        position, look_at = (torch.tensor(visitor.camera[name]) for name in ("position", "look_at"))
        up = torch.linalg.cross(look_at - position, torch.tensor([0.0, 0.0, 1.0]))  # lies down on the side
        visitor.move(up_direction=up.tolist())
        visitor.picture(lambda picture: picture[0].mean(0)[1] > picture[-1].mean(0)[1] + 0.2)
        visitor.camera["up_direction"] = [0.0, 0.0, 1.0]  # kept to itself
        visitor.set("This way is up", True)
        visitor.until(lambda: abs(visitor.camera["up_direction"][1]) > 0.9)
        visitor.set("Reset view", True)
        visitor.until(lambda: visitor.camera["up_direction"][2] > 0.9)


def test_a_path_is_made_saved_and_filmed(viewer, tmp_path):
    with enter(viewer) as visitor:
        visitor.picture(shows(viewer, 0))
        visitor.set("Save", True)
        visitor.until(lambda: visitor.notes)
        assert visitor.notes[-1][1] == "a camera path needs two keyframes or more; look somewhere else and add another"
        visitor.set("Show cameras", True)
        for i in (0, 2, 1):
            visitor.click(f"/cameras/{i}")
            visitor.picture(shows(viewer, i))
            count = len(visitor.options["Keyframe"]) if visitor.values["Keyframe"] != "none" else 0
            visitor.set("Add keyframe", True)
            visitor.until(lambda count=count: visitor.values["Keyframe"] == str(count + 1))
        visitor.set("Keyframe earlier", True)
        visitor.until(lambda: visitor.values["Keyframe"] == "2")
        for label, value, name in (
            ("Width", 64, "width"), ("Height", 48, "height"), ("Frames/s", 10.0, "fps"), ("Seconds", 3.0, "seconds"),
        ):  # fmt: skip
            visitor.set(label, value)
            until(lambda name=name, value=value: getattr(viewer.editor.draft, name) == value)
        visitor.set("Name", "../round <b>")
        until(lambda: viewer.editor._name.value == "../round <b>")
        visitor.set("Save", True)
        visitor.until(lambda: visitor.notes[-1][0].startswith("Saved"))
        assert visitor.notes[-1] == ("Saved round b.json", f"In the folder {tmp_path / 'camera_paths'}")
        visitor.until(lambda: "round b" in visitor.options["Saved"])
        file = tmp_path / "camera_paths" / "round b.json"
        assert viewer.editor._film.value == f"arf render {tmp_path} --path '{file}'"
    path = from_json(file)
    assert len(path) == 30
    assert path.cameras.size(0) == (48, 64)
    poses = viewer.scene.cameras.poses
    torch.testing.assert_close(path.cameras.poses[[0, -1]], poses[[0, 2]], atol=1e-4, rtol=0)
    assert (path.cameras.poses - poses[1]).abs().amax((1, 2)).min() < 0.1
    assert [p.name for p in tmp_path.rglob("*.json")] == ["round b.json"]


def test_a_saved_path_is_loaded_previewed_and_changed(viewer, tmp_path):
    draft = viewer.editor.draft
    draft.keys, draft.seconds, draft.loop = list(viewer.scene.cameras.poses[1:4]), 0.5, False
    draft.save(tmp_path / "camera_paths", "a")
    viewer.close()
    viewer = Viewer(Compass(), tmp_path)
    viewer.open("127.0.0.1", free_port())
    try:
        with enter(viewer) as visitor:
            visitor.picture(shows(viewer, 0))
            visitor.set("Load", True)
            visitor.until(lambda: visitor.options["Keyframe"] == ["1", "2", "3"])
            assert visitor.values["Seconds"] == 0.5
            visitor.until(lambda: {"/path/0", "/path/1", "/path/2", "/path/curve"} <= set(visitor.visible))
            visitor.set("Field of view", 40.0)
            until(lambda: viewer.editor.draft.fov == 40)
            visitor.set("Play or stop", True)
            visitor.until(lambda: visitor.camera["fov"] == pytest.approx(math.radians(40)))
            visitor.until(lambda: visitor.camera["fov"] == pytest.approx(viewer.world.fov))  # it is over
            visitor.picture(shows(viewer, 3))
            visitor.set("Go to keyframe", True)
            visitor.picture(shows(viewer, 1))
            visitor.set("Remove keyframe", True)
            visitor.until(lambda: visitor.options["Keyframe"] == ["1", "2"])
            torch.testing.assert_close(viewer.editor.draft.keys[0], viewer.scene.cameras.poses[2], atol=1e-5, rtol=0)
            visitor.until(lambda: "/path/2" not in visitor.visible)
    finally:
        viewer.close()


def test_what_is_a_file_keeps_its_paths_elsewhere(tmp_path):
    viewer = Viewer(Compass(), tmp_path / "outputs", tmp_path / "thing.ply")
    viewer.open("127.0.0.1", free_port())
    try:
        viewer.editor.draft.keys = list(viewer.scene.cameras.poses[:2])
        with enter(viewer) as visitor:
            visitor.set("Save", True)
            visitor.until(lambda: visitor.notes)
        (file,) = (tmp_path / "outputs" / "camera_paths").iterdir()
        assert viewer.editor._film.value == f"arf render {tmp_path / 'thing.ply'} --path {file}"
    finally:
        viewer.close()


def test_a_page_cannot_load_what_is_no_saved_path(viewer, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    with enter(viewer) as visitor:
        visitor.set("Saved", "../secret")
        until(lambda: viewer.editor._saved.value == "../secret")
        visitor.set("Load", True)
        visitor.until(lambda: visitor.notes)
        assert visitor.notes == [("That did not work", "no path is saved under that name; save one first")]
        visitor.set("Keyframe", "7")
        visitor.set("Remove keyframe", True)
        visitor.until(lambda: len(visitor.notes) == 2)
        assert visitor.notes[-1][1] == "there is no keyframe yet; add one"


def test_a_preview_ends_when_it_is_told_and_when_the_viewer_closes(viewer):
    viewer.editor.draft.keys = list(viewer.scene.cameras.poses[:2])
    with enter(viewer) as visitor:
        visitor.set("Loop", True)
        until(lambda: viewer.editor.draft.loop)
        for ended in (False, True):
            visitor.set("Play or stop", True)
            until(lambda: viewer.guide._flights)
            if not ended:
                visitor.set("Play or stop", True)
                until(lambda: not viewer.guide._flights)
        viewer.close()
    until(lambda: not any("Pool" in thread.name for thread in threading.enumerate()))


def test_it_leaves_without_a_trace(tmp_path):
    """Ctrl-C while it renders for one visitor, and another's line has been cut in the middle of a picture."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    try:
        assert process.stdout.readline() == f"http://127.0.0.1:{port}\n"
        with Visitor(port) as visitor:
            lost = Visitor(port)
            lost.picture(lambda _: True)
            linger = struct.pack("ii", 1, 0)  # the connection is reset, as where a laptop is shut
            lost.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            lost.socket.socket.shutdown(socket.SHUT_RDWR)
            lost.socket.socket.close()
            visitor.picture(lambda picture: max(picture.shape) > 100)
            visitor.move(fov=0.5)
            process.send_signal(signal.SIGINT)
            said, complained = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert (said, complained, process.returncode) == ("closed\n", "", 0)


def test_what_the_scene_cannot_render_ends_it(tmp_path):
    viewer = Viewer(Compass(), tmp_path)
    viewer.scene.render = lambda *_: (_ for _ in ()).throw(MemoryError("no more"))
    viewer.open("127.0.0.1", free_port())
    try:
        with pytest.raises(MemoryError, match="no more"):
            viewer.wait()
    finally:
        viewer.close()


def test_a_browser_shows_the_scene(viewer, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium or Chrome on the PATH")
    options = [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--window-size=900,700",
        f"--user-data-dir={tmp_path / 'browser'}", "--remote-debugging-port=0",
    ]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([browser, *options], **quiet) as process:
        try:
            steered = tmp_path / "browser" / "DevToolsActivePort"
            until(lambda: steered.is_file() and steered.read_text().count("\n") == 1)
            asyncio.run(asyncio.wait_for(visit(steered.read_text().split()[0], viewer), PATIENCE))
        finally:
            process.kill()


async def visit(port: str, viewer: Viewer) -> None:
    """Open the viewer's page, and wait until its middle shows the scene."""
    pages = json.load(urllib.request.urlopen(f"http://localhost:{port}/json"))
    page = next(entry["webSocketDebuggerUrl"] for entry in pages if entry["type"] == "page")
    async with connect(page, max_size=None) as tools:
        number = 0

        async def call(method: str, **parameters: object) -> dict:
            nonlocal number
            number += 1
            await tools.send(json.dumps({"id": number, "method": method, "params": parameters}))
            while (answer := json.loads(await tools.recv())).get("id") != number:
                pass
            return answer.get("result", {})

        await call("Page.navigate", url=viewer.url)
        while True:
            shot = await call("Page.captureScreenshot", format="png")
            if "data" not in shot:  # there is no page yet
                continue
            pixels = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
            picture = torch.from_numpy(np.array(pixels)).float() / 255
            height, width = picture.shape[:2]
            expected = seen(viewer, 0, width / height, max(width, height))
            # free of viser's panel, notes and axes
            middle = (slice(height // 3, 2 * height // 3), slice(width // 4, width // 2))
            if expected.shape == picture.shape and (picture[middle] - expected[middle]).abs().max() < 0.06:
                break
        text = await call("Runtime.evaluate", expression="document.body.innerText")
    assert {"Style strength", "Keep the photographs' colours", "Reset view", "Camera path"} <= set(
        text["result"]["value"].splitlines()
    )

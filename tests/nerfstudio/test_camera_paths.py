"""Camera paths between arf and nerfstudio: its viewer's files, its readers on ours."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from captures import FOCAL, HEIGHT, ring, views_of
from nerfstudio.cameras.camera_paths import get_path_from_json
from nerfstudio.cameras.cameras import Cameras as TheirCameras
from nerfstudio.cameras.cameras import CameraType
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.scripts.render import get_crop_from_json
from nerfstudio.viewer.render_panel import populate_render_tab
from viser.transforms import SO3

from arf.radiance.capture.cameras import Cameras
from arf.radiance.paths import files as path_files
from arf.radiance.paths import shapes as paths

KINDS = {
    "pinhole": CameraType.PERSPECTIVE,
    "fisheye": CameraType.FISHEYE,
    "equirectangular": CameraType.EQUIRECTANGULAR,
}
VALID = {
    "camera_type": "perspective",
    "render_width": 64,
    "render_height": 48,
    "seconds": 0.5,
    "camera_path": [{"camera_to_world": torch.eye(4).flatten().tolist(), "fov": 50.0, "aspect": 4 / 3}] * 3,
}


def assert_same(ours: Cameras, theirs: TheirCameras) -> None:
    torch.testing.assert_close(ours.poses, theirs.camera_to_worlds.float(), atol=1e-4, rtol=1e-5)
    for name in ("fx", "fy", "cx", "cy", "width", "height"):
        found = getattr(ours, name)
        torch.testing.assert_close(found, getattr(theirs, name)[:, 0].to(found.dtype), atol=1e-4, rtol=1e-5)
    assert (theirs.camera_type == KINDS[ours.kind].value).all()


@pytest.mark.parametrize("kind", KINDS)
def test_rays_are_nerfstudios(kind):
    poses = ring(3)
    theirs = TheirCameras(poses, 20.0, 21.0, 12.2, 9.3, 24, 18, camera_type=KINDS[kind])
    ours = Cameras.of(poses, 20.0, 21.0, 12.2, 9.3, 24, 18, kind)
    for i in range(3):
        bundle = theirs.generate_rays(i)
        origins, directions = ours[i].rays()
        torch.testing.assert_close(directions, bundle.directions.view(-1, 3), atol=1e-6, rtol=0)
        torch.testing.assert_close(origins, bundle.origins.view(-1, 3))


def test_json_round_trip_and_nerfstudios_own_reader(tmp_path):
    path = paths.orbit(views_of(ring(8)), frames=12, fps=24, width=60, height=50)
    path_files.to_json(path, tmp_path / "path.json")
    theirs = get_path_from_json(json.loads((tmp_path / "path.json").read_text()))
    for ours in (path, path_files.from_json(tmp_path / "path.json")):
        assert_same(ours.cameras, theirs)


class Panel:
    """nerfstudio's render tab without a browser: the controls by their labels, and what their callbacks do."""

    def __init__(self, folder: Path, control_panel: SimpleNamespace | None = None) -> None:
        self.controls: dict[str, MagicMock] = {}
        self.camera = SimpleNamespace(fov=0.9)
        client = MagicMock(camera=self.camera)
        self.event = SimpleNamespace(client=client, client_id=0)
        server = MagicMock()
        server.get_clients.return_value = {0: client}
        for kind in ("slider", "number", "vector2", "checkbox", "dropdown", "text", "button", "button_group"):
            setattr(server.gui, f"add_{kind}", self._add)
        populate_render_tab(server, folder / "config.yml", folder, control_panel)

    def _add(self, label, *arguments, initial_value=None, **_):
        control = MagicMock(value=arguments[-1] if initial_value is None and arguments else initial_value, order=0)
        control.on_click.side_effect = control.on_update.side_effect = lambda call: setattr(control, "call", call)
        self.controls[label] = control
        return control

    def set(self, label: str, value: object) -> None:
        self.controls[label].value = value
        self.controls[label].call(self.event)

    def add_keyframe(self, pose: torch.Tensor) -> None:
        """Walk to an OpenGL pose; viser's axes are OpenCV's, and ten times as long."""
        self.camera.position = 10 * pose[:, 3].double().numpy()
        self.camera.wxyz = SO3.from_matrix(pose[:, :3].double().numpy() * [1.0, -1, -1]).wxyz
        self.controls["Add Keyframe"].call(self.event)


@pytest.mark.parametrize(("kind", "time"), [("Perspective", False), ("Fisheye", False), ("Equirectangular", True)])
def test_what_the_viewer_saves_is_read(tmp_path, caplog, kind, time):
    crop = SimpleNamespace(
        _time_enabled=time, crop_viewport=True, background_color=(1, 2, 3),
        crop_obb=OrientedBox(torch.eye(3), torch.zeros(3), torch.ones(3)),
    )  # fmt: skip
    panel = Panel(tmp_path, crop if time else None)
    panel.set("Resolution", (60, 40))
    panel.controls["Camera type"].value = kind
    panel.set("Default FOV", 50.0)
    panel.set("Transition (sec)", 0.5)
    panel.set("FPS", 24.0)
    for pose in ring(4):
        panel.add_keyframe(pose)
    panel.controls["Render name"].value = "walk"
    panel.set("FPS", 24.0)  # counts the frames
    panel.controls["Generate Command"].call(panel.event)
    file = tmp_path / "camera_paths/walk.json"
    data = json.loads(file.read_text())
    assert len(data["keyframes"]) == 4
    path = path_files.from_json(file)
    assert (len(path), path.fps, path.seconds) == (36, 24, 1.5)
    torch.testing.assert_close(path.cameras.poses[::12], ring(4)[:3], atol=1e-5, rtol=0)  # 4th: the end
    assert_same(path.cameras, get_path_from_json(data))
    if kind == "Perspective":
        assert float(path.cameras.fy[0]) == pytest.approx(20 / math.tan(math.radians(25)))
    assert ("its crop is ignored" in caplog.text) == time


@pytest.mark.parametrize("kind", ["perspective", "fisheye", "equirectangular"])
def test_ns_render_and_the_viewer_read_what_we_save(tmp_path, kind):
    first = tmp_path / "first.json"
    first.write_text(json.dumps(VALID | {"camera_type": kind}))
    path = path_files.from_json(first)
    path_files.to_json(path, tmp_path / "path.json")
    data = json.loads((tmp_path / "path.json").read_text())
    assert get_crop_from_json(data) is None
    assert data["seconds"] == path.seconds
    assert_same(path.cameras, get_path_from_json(data))


def test_the_viewer_loads_our_keyframes(tmp_path):
    path = paths.orbit(views_of(ring(8)), frames=11, fps=10)
    (tmp_path / "camera_paths").mkdir()
    path_files.to_json(path, tmp_path / "camera_paths/ours.json")
    panel = Panel(tmp_path)
    dialog = panel.event.client.gui
    chosen: dict[str, MagicMock] = {}

    def add(label, *_, **__):
        chosen[label] = MagicMock(value="ours.json")
        chosen[label].on_click.side_effect = lambda call: setattr(chosen[label], "call", call)
        return chosen[label]

    dialog.add_dropdown = lambda label, **_: add(label)
    dialog.add_button = add
    panel.controls["Load Path"].call(panel.event)
    chosen["Load"].call(panel.event)
    panel.controls["Render name"].value = "again"
    panel.controls["Duration (sec)"].value = 1.0  # two steps of five frames, at 10 fps
    panel.controls["Default FOV"].value = math.degrees(2 * math.atan(HEIGHT / 2 / FOCAL))
    panel.controls["Default FOV"].call(panel.event)
    panel.set("FPS", 10.0)
    panel.set("Transition (sec)", 0.5)
    panel.controls["Generate Command"].call(panel.event)
    again = path_files.from_json(tmp_path / "camera_paths/again.json")
    assert len(again) == 10
    for i in (0, 5):
        expected = path.cameras.poses[i]
        torch.testing.assert_close(again.cameras.poses[i], expected, atol=1e-5, rtol=0)

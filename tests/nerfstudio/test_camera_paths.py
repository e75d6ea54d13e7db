"""Camera paths between nerfstudio's viewer, ns-render and us."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from captures import FOCAL, HEIGHT, ring
from nerfstudio.cameras.camera_paths import get_path_from_json
from nerfstudio.cameras.cameras import Cameras as NerfstudioCameras
from nerfstudio.cameras.cameras import CameraType
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.scripts.render import get_crop_from_json
from nerfstudio.viewer.render_panel import populate_render_tab
from viser.transforms import SO3
from walks import assert_rigid, views_of

from arf.radiance.film import paths
from arf.radiance.film.path_files import KINDS, from_json, to_json
from arf.radiance.film.paths import CameraPath

VALID = {
    "camera_type": "perspective",
    "render_width": 64,
    "render_height": 48,
    "seconds": 0.5,
    "camera_path": [{"camera_to_world": torch.eye(4).flatten().tolist(), "fov": 50.0, "aspect": 4 / 3}] * 3,
}


def assert_same_cameras(ours: CameraPath, theirs: NerfstudioCameras, **tolerance: float) -> None:
    cameras = ours.cameras
    torch.testing.assert_close(theirs.camera_to_worlds, cameras.poses, **tolerance)
    for name in ("fx", "fy", "cx", "cy", "width", "height"):
        found = getattr(theirs, name)[:, 0]
        torch.testing.assert_close(found, getattr(cameras, name).to(found.dtype), **tolerance)
    kind = next(name for name, ours in KINDS.items() if ours == cameras.kind)
    assert (theirs.camera_type == CameraType[kind.upper()].value).all()


def test_json_round_trip_and_nerfstudios_own_reader(tmp_path):
    path = paths.orbit(views_of(ring(8)), frames=12, fps=24, width=60, height=50)
    to_json(path, tmp_path / "path.json")
    data = json.loads((tmp_path / "path.json").read_text())
    assert data["seconds"] == 0.5
    theirs = get_path_from_json(data)
    for known in (path, from_json(tmp_path / "path.json")):
        assert_same_cameras(known, theirs, atol=1e-4, rtol=1e-5)


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
    path = from_json(file)
    assert (len(path), path.fps, path.seconds) == (36, 24, 1.5)
    assert_rigid(path)
    torch.testing.assert_close(path.cameras.poses[::12], ring(4)[:3], atol=1e-5, rtol=0)  # 4th: the end
    assert_same_cameras(path, get_path_from_json(data), atol=1e-5, rtol=1e-5)
    if kind == "Perspective":
        assert float(path.cameras.fy[0]) == pytest.approx(20 / math.tan(math.radians(25)))
    assert ("its crop is ignored" in caplog.text) == time


@pytest.mark.parametrize("kind", ["perspective", "fisheye", "equirectangular"])
def test_ns_render_and_the_viewer_read_what_we_save(tmp_path, kind):
    first = tmp_path / "first.json"
    first.write_text(json.dumps(VALID | {"camera_type": kind}))
    path = from_json(first)
    to_json(path, tmp_path / "path.json")
    data = json.loads((tmp_path / "path.json").read_text())
    assert get_crop_from_json(data) is None
    assert data["seconds"] == path.seconds
    assert_same_cameras(path, get_path_from_json(data), atol=1e-4, rtol=1e-5)


def test_the_viewer_loads_our_keyframes(tmp_path):
    path = paths.orbit(views_of(ring(8)), frames=11, fps=10)
    (tmp_path / "camera_paths").mkdir()
    to_json(path, tmp_path / "camera_paths/ours.json")
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
    again = from_json(tmp_path / "camera_paths/again.json")
    assert len(again) == 10
    for i in (0, 5):
        expected = path.cameras.poses[i]
        torch.testing.assert_close(again.cameras.poses[i], expected, atol=1e-5, rtol=0)

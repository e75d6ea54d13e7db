"""Camera-path files: ours, those of nerfstudio's viewers, and those of other tools."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from captures import FOCAL, HEIGHT, WIDTH, ring
from nerfstudio.cameras.camera_paths import get_path_from_json
from nerfstudio.cameras.cameras import CameraType
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.scripts.render import get_crop_from_json
from nerfstudio.viewer.render_panel import populate_render_tab
from test_paths import assert_rigid, views_of
from viser.transforms import SO3

from arf.errors import UserError
from arf.radiance.capture.poses import to_square
from arf.radiance.capture.views import Views
from arf.radiance.film import paths


def test_json_round_trip_and_nerfstudios_own_reader(tmp_path):
    path = paths.orbit(views_of(ring(8)), frames=12, fps=24, width=60, height=50)
    paths.to_json(path, tmp_path / "path.json")
    data = json.loads((tmp_path / "path.json").read_text())
    assert data["seconds"] == 0.5
    ours, theirs = paths.from_json(tmp_path / "path.json"), get_path_from_json(data)
    assert ours.fps == 24
    for cameras in (ours.cameras, theirs):
        for name in ("camera_to_worlds", "fx", "fy", "cx", "cy", "width", "height", "camera_type"):
            expected = getattr(path.cameras, name)
            torch.testing.assert_close(getattr(cameras, name).to(expected.dtype), expected, atol=1e-4, rtol=1e-5)


def test_json_at_another_size_keeps_the_field_of_view(tmp_path):
    paths.to_json(paths.orbit(views_of(ring(8)), frames=3), tmp_path / "path.json")
    cameras = paths.from_json(tmp_path / "path.json", height=4 * HEIGHT).cameras
    assert (int(cameras.width[0]), int(cameras.height[0])) == (4 * WIDTH, 4 * HEIGHT)
    assert float(cameras.fy[0]) == pytest.approx(4 * FOCAL, rel=1e-5)
    assert float(cameras.cx[0]) == 2 * WIDTH


VALID = {
    "camera_type": "perspective",
    "render_width": 64,
    "render_height": 48,
    "seconds": 0.5,
    "camera_path": [{"camera_to_world": torch.eye(4).flatten().tolist(), "fov": 50.0, "aspect": 4 / 3}] * 3,
}


def test_speed_of_a_json_path(tmp_path):
    file = tmp_path / "path.json"
    for extra, fps in (({}, 6), ({"fps": 25}, 25), ({"seconds": None}, 30)):
        file.write_text(json.dumps(VALID | extra))
        assert paths.from_json(file).fps == fps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"render_width": None}, "'render_width' is missing"),
        ({"render_height": -1}, "'render_height' is -1"),
        ({"camera_path": []}, "'camera_path' is empty; add two or more keyframes"),
        ({"camera_path": None}, "'camera_path', the list of frames, is missing"),
        ({"version": 2}, "is of version 2, which is unknown here; save the path again .* nerfstudio 1.x's viewer"),
        ({"camera_path": [{"fov": 50}]}, "camera 0 has no 'camera_to_world'"),
        ({"camera_path": [{"camera_to_world": [1.0] * 12, "fov": 50}]}, "has 12 numbers"),
        ({"camera_path": [{"camera_to_world": [1.0] * 16, "fov": 50}]}, "camera 0: the pose is not a rotation"),
        ({"camera_path": [{"camera_to_world": [float("nan")] * 16, "fov": 50}]}, "camera 0: the pose is not finite"),
        ({"camera_path": [VALID["camera_path"][0] | {"fov": 190}]}, "'fov' is 190"),
        ({"camera_path": [{"camera_to_world": VALID["camera_path"][0]["camera_to_world"]}]}, "'fov' is missing"),
        ({"camera_type": "vr180"}, "only perspective, fisheye, equirectangular"),
        ({"camera_type": 7}, "camera_type is '7'"),
        ({"camera_path": [{"camera_to_world": "eye", "fov": 50}]}, "camera 0 has no 'camera_to_world'"),
        ({"camera_path": [{"camera_to_world": ["a"] * 16, "fov": 50}]}, "not a matrix of numbers"),
        ({"camera_path": ["frame"]}, "camera 0 has no"),
        ({"fps": "fast"}, "'fps' is 'fast'"),
    ],
)
def test_bad_json_paths(tmp_path, change, message):
    file = tmp_path / "path.json"
    file.write_text(json.dumps(VALID | change))
    with pytest.raises(UserError, match=message) as error:
        paths.from_json(file)
    assert "path.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_json(tmp_path):
    with pytest.raises(UserError, match="no JSON file"):
        paths.from_json(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match="is no camera path"):
        paths.from_json(tmp_path / "list.json")


def test_frames_that_no_memory_holds(tmp_path):
    file = tmp_path / "path.json"
    file.write_text(json.dumps(VALID | {"render_width": 10**9}))
    with pytest.raises(UserError, match="1000000000×48 pixels are too large"):
        paths.from_json(file)
    with pytest.raises(UserError, match="too large"):
        paths.orbit(views_of(ring(8)), width=10**6)


@pytest.mark.parametrize(
    "other",
    [
        {"keyframes": [{"matrix": [1.0] * 16, "fov": 50, "aspect": 1}], "fps": 30},  # as if never rendered
        {"loop": False, "path": [{"R": [0, 0, 0, 1], "T": [0, 0, 0], "fov": 50}], "time": 0.0},  # instant-ngp's
        {"format": "other-v1", "frames": [{"pose": []}]},
        {},
    ],
)
def test_paths_of_other_tools(tmp_path, other):
    file = tmp_path / "other.json"
    file.write_text(json.dumps(other))
    with pytest.raises(
        UserError, match=r"other\.json: 'camera_path'.* is missing \(it has .*save the path again"
    ) as error:
        paths.from_json(file)
    assert "\n" not in str(error.value)


# --- nerfstudio's viewer


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
    path = paths.from_json(file)
    assert (len(path), path.fps, path.seconds) == (36, 24, 1.5)
    assert_rigid(path)
    torch.testing.assert_close(path.cameras.camera_to_worlds[::12], ring(4)[:3], atol=1e-5, rtol=0)  # 4th: the end
    theirs = get_path_from_json(data)
    for name in ("camera_to_worlds", "fx", "fy", "cx", "cy", "width", "height", "camera_type"):
        expected = getattr(theirs, name)
        torch.testing.assert_close(getattr(path.cameras, name).to(expected.dtype), expected)
    assert path.cameras.camera_type[0] == CameraType[kind.upper()].value
    if kind == "Perspective":
        assert float(path.cameras.fy[0]) == pytest.approx(20 / math.tan(math.radians(25)))
    assert ("its crop is ignored" in caplog.text) == time


@pytest.mark.parametrize("kind", ["fisheye", "equirectangular"])
def test_rays_of_the_viewers_other_cameras(tmp_path, kind):
    file = tmp_path / "path.json"
    file.write_text(json.dumps(VALID | {"camera_type": kind}))
    cameras = paths.from_json(file, width=32).cameras
    _, directions = Views(cameras, [file]).rays(0)
    focal = 12 / math.tan(math.radians(25))
    for u, v in ((0, 0), (31, 0), (9, 20)):
        x, y = u + 0.5 - 16, 12 - v - 0.5
        if kind == "fisheye":  # the angle from the axis grows with the distance from the centre
            angle = math.hypot(x, y) / focal
            side = math.sin(angle) / math.hypot(x, y)
            expected = [x * side, y * side, -math.cos(angle)]
        else:  # columns are longitudes, all around; rows are latitudes, from pole to pole
            across, up = x / 32 * 2 * math.pi, y / 24 * math.pi
            expected = [math.sin(across) * math.cos(up), math.sin(up), -math.cos(across) * math.cos(up)]
        torch.testing.assert_close(directions[v * 32 + u], torch.tensor(expected), atol=1e-4, rtol=0)


def test_what_the_legacy_viewer_saves_is_read(tmp_path, caplog):
    pose = ring(5)[2]
    flat = to_square(pose).flatten().tolist()
    keyframe = {
        "matrix": json.dumps(to_square(pose).T.flatten().tolist()),  # by columns, as a string
        "fov": 50, "aspect": 1.5, "properties": '[["FOV",50],["NAME","Camera 0"],["TIME",0]]',
    }  # fmt: skip
    data = {
        "keyframes": [keyframe, keyframe], "camera_type": "perspective", "render_height": 40, "render_width": 60,
        "camera_path": [{"camera_to_world": flat, "fov": 50, "aspect": 1.5}] * 48, "fps": 24, "seconds": 2,
        "smoothness_value": 0.5, "is_cycle": False, "crop": None,
    }  # fmt: skip
    file = tmp_path / "camera_path.json"
    file.write_text(json.dumps(data, indent=2))
    path = paths.from_json(file)
    assert (len(path), path.fps) == (48, 24)
    torch.testing.assert_close(path.cameras.camera_to_worlds[7], pose)
    assert not caplog.text
    box = {"crop_bg_color": {"r": 38, "g": 42, "b": 55}, "crop_center": [0, 0, 0], "crop_scale": [2, 2, 2]}
    file.write_text(json.dumps(data | {"crop": box}))
    paths.from_json(file)
    assert "camera_path.json: its crop is ignored" in caplog.text


@pytest.mark.parametrize("kind", ["perspective", "fisheye", "equirectangular"])
def test_ns_render_and_the_viewer_read_what_we_save(tmp_path, kind):
    first = tmp_path / "first.json"
    first.write_text(json.dumps(VALID | {"camera_type": kind}))
    path = paths.from_json(first)
    paths.to_json(path, tmp_path / "path.json")
    data = json.loads((tmp_path / "path.json").read_text())
    assert get_crop_from_json(data) is None
    assert data["seconds"] == path.seconds
    theirs = get_path_from_json(data)
    for name in ("camera_to_worlds", "fx", "fy", "cx", "cy", "camera_type"):
        torch.testing.assert_close(getattr(theirs, name), getattr(path.cameras, name).to(getattr(theirs, name).dtype))


def test_the_viewer_loads_our_keyframes(tmp_path):
    path = paths.orbit(views_of(ring(8)), frames=11, fps=10)
    (tmp_path / "camera_paths").mkdir()
    paths.to_json(path, tmp_path / "camera_paths/ours.json")
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
    again = paths.from_json(tmp_path / "camera_paths/again.json")
    assert len(again) == 10
    for i in (0, 5):
        expected = path.cameras.camera_to_worlds[i]
        torch.testing.assert_close(again.cameras.camera_to_worlds[i], expected, atol=1e-5, rtol=0)

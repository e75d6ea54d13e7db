"""Camera-path files: ours, those of nerfstudio's viewers, and those of other tools."""

from __future__ import annotations

import json
import math

import pytest
import torch
from captures import FOCAL, HEIGHT, WIDTH, ring, views_of

from arf.errors import UserError
from arf.radiance.capture.poses import to_square
from arf.radiance.paths import files as path_files
from arf.radiance.paths import shapes as paths


def test_json_round_trip(tmp_path):
    path = paths.orbit(views_of(ring(8)), frames=12, fps=24, width=60, height=50)
    path_files.to_json(path, tmp_path / "path.json")
    data = json.loads((tmp_path / "path.json").read_text())
    assert data["seconds"] == 0.5
    ours = path_files.from_json(tmp_path / "path.json")
    assert ours.fps == 24
    assert ours.cameras.kind == path.cameras.kind == "pinhole"
    for name in ("poses", "fx", "fy", "cx", "cy", "width", "height"):
        torch.testing.assert_close(getattr(ours.cameras, name), getattr(path.cameras, name), atol=1e-4, rtol=1e-5)


def test_json_at_another_size_keeps_the_field_of_view(tmp_path):
    path_files.to_json(paths.orbit(views_of(ring(8)), frames=3), tmp_path / "path.json")
    cameras = path_files.from_json(tmp_path / "path.json", height=4 * HEIGHT).cameras
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


def far_away(distance: float) -> dict:
    """A frame of a camera that far up."""
    matrix = torch.eye(4).flatten().tolist()
    return {"camera_to_world": [*matrix[:11], distance, *matrix[12:]], "fov": 50}


def test_speed_of_a_json_path(tmp_path):
    file = tmp_path / "path.json"
    for extra, fps in (({}, 6), ({"fps": 25}, 25), ({"seconds": None}, 30)):
        file.write_text(json.dumps(VALID | extra))
        assert path_files.from_json(file).fps == fps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"render_width": None}, "'render_width' is missing"),
        ({"render_height": -1}, "'render_height' is -1"),
        ({"camera_path": []}, "'camera_path' is empty; add two or more keyframes"),
        ({"camera_path": None}, "'camera_path', the list of frames, is missing"),
        ({"version": 2}, "is of version 2, which is unknown here; save the path again from the viewer"),
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
        ({"fps": 1e-300}, "'fps' is 1e-300; it must be a number from 0.01 to 1000"),
        ({"fps": 10**400}, r"'fps' is 1000\d+\.\.\.0+; it must be"),
        ({"seconds": 1e-300}, "'seconds' is 1e-300"),
        ({"render_width": 10**400}, "'render_width' is 1000"),
        ({"render_width": float("nan")}, "'render_width' is nan"),
        ({"camera_path": [VALID["camera_path"][0] | {"fov": 1e-300}]}, "'fov' is 1e-300"),
        ({"camera_path": [far_away(1e4)]}, r"camera 0 is 1e\+04 units away"),
        ({"camera_path": [far_away(1e38)]}, "units away"),
        ({"camera_path": [far_away(10**400)]}, "not a matrix of numbers"),
    ],
)
def test_bad_json_paths(tmp_path, change, message):
    file = tmp_path / "path.json"
    file.write_text(json.dumps(VALID | change))
    with pytest.raises(UserError, match=message) as error:
        path_files.from_json(file)
    assert "path.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_json(tmp_path):
    with pytest.raises(UserError, match="no JSON file"):
        path_files.from_json(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match="is no camera path"):
        path_files.from_json(tmp_path / "list.json")


def test_frames_that_no_memory_holds(tmp_path):
    file = tmp_path / "path.json"
    file.write_text(json.dumps(VALID | {"render_width": 10**9}))
    with pytest.raises(UserError, match="1000000000×48 pixels are too large"):
        path_files.from_json(file)
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
        path_files.from_json(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["fisheye", "equirectangular"])
def test_rays_of_the_viewers_other_cameras(tmp_path, kind):
    file = tmp_path / "path.json"
    file.write_text(json.dumps(VALID | {"camera_type": kind}))
    cameras = path_files.from_json(file, width=32).cameras
    _, directions = cameras[0].rays()
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
    path = path_files.from_json(file)
    assert (len(path), path.fps) == (48, 24)
    torch.testing.assert_close(path.cameras.poses[7], pose)
    assert not caplog.text
    box = {"crop_bg_color": {"r": 38, "g": 42, "b": 55}, "crop_center": [0, 0, 0], "crop_scale": [2, 2, 2]}
    file.write_text(json.dumps(data | {"crop": box}))
    path_files.from_json(file)
    assert "camera_path.json: its crop is ignored" in caplog.text

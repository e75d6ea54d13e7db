"""Run folders of 3D Gaussian Splatting."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from captures import ring
from splatfiles import some

from arf.errors import UserError
from arf.radiance.capture.poses import Placement, check_pose
from arf.radiance.fields.splats.files.ply import write_ply
from arf.radiance.fields.splats.files.reading import read_splats
from arf.radiance.fields.splats.files.runs import find_cameras, find_splats, read_cameras


@pytest.fixture
def run(tmp_path):
    """A run with three iterations, the last of them unfinished."""
    run = tmp_path / "truck"
    for number, count in ((7000, 10), (30000, 20)):
        write_ply(run / "point_cloud" / f"iteration_{number}" / "point_cloud.ply", some(count))
    for name in ("iteration_40000", "iteration_x", "iteration_50000_old"):
        (run / "point_cloud" / name).mkdir()
    (run / "cfg_args").write_text("__import__('os').abort()")
    return run


def test_the_last_iteration_counts(run):
    file = find_splats(run)
    assert file == run / "point_cloud" / "iteration_30000" / "point_cloud.ply"
    opened = read_splats(file)
    assert (opened.name, len(opened.splats)) == ("truck", 20)
    assert find_splats(file) == file  # a file is itself, and what is nowhere will be said to be by who opens it
    assert find_splats(run / "x") == run / "x"


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"holds no point_cloud/iteration_N/point_cloud.ply, as runs of"):
        find_splats(tmp_path)


def entry(**values) -> dict:
    pose = np.diag([1.0, -1, -1])
    base = {"id": 0, "img_name": "00.png", "width": 40, "height": 30, "position": [1, 2, 3], "rotation": pose.tolist()}
    return {**base, "fx": 50.0, "fy": 51.0, **values}


def test_cameras_beside_a_file(run):
    file = find_splats(run)
    assert find_cameras(file) is None
    (run / "cameras.json").write_text(json.dumps([entry()]))
    assert find_cameras(file) == run / "cameras.json"
    (run / "other.ply").touch()
    assert find_cameras(run / "other.ply") is None


def test_cameras_are_those_that_the_authors_code_wrote(tmp_path):
    """R and t of COLMAP, world to camera, as camera_to_JSON turns them: the camera's place, and R inverted."""
    poses = ring(5).double()  # OpenGL
    listed = []
    for i, pose in enumerate(poses):
        rotation = (pose[:, :3] * torch.tensor([1.0, -1, -1])).T.numpy()  # world to camera, y down
        translation = -rotation @ pose[:, 3].numpy()
        inverse = np.linalg.inv(np.vstack([np.column_stack([rotation, translation]), [0, 0, 0, 1]]))
        place, turn = inverse[:3, 3].tolist(), [row.tolist() for row in inverse[:3, :3]]
        listed.append(entry(id=i, img_name=f"{i:02d}", position=place, rotation=turn, fx=50 + i))
    (tmp_path / "cameras.json").write_text(json.dumps(listed))
    found = read_cameras(tmp_path / "cameras.json")
    assert found.names == ("00", "01", "02", "03", "04")
    assert found.poses.dtype == torch.float64
    torch.testing.assert_close(found.poses, poses, rtol=0, atol=1e-6)  # the ring's are float32's
    placement = Placement(torch.eye(3).double(), torch.zeros(3).double(), 2.0)
    cameras = found.placed(placement)
    torch.testing.assert_close(cameras.poses[:, :, 3], 2 * poses[:, :, 3].float())
    assert cameras.fx.tolist() == [50, 51, 52, 53, 54]
    assert (cameras[0].cx, cameras[0].cy, cameras[0].width, cameras[0].height) == (20, 15, 40, 30)


def test_far_places_are_centred_before_they_are_rounded(tmp_path):
    far = [entry(position=[4e6 + i / 1000, 5e5, 10]) for i in range(3)]
    (tmp_path / "cameras.json").write_text(json.dumps(far))
    found = read_cameras(tmp_path / "cameras.json")
    placed = found.placed(Placement(torch.eye(3).double(), found.poses[:, :, 3].mean(0)))
    torch.testing.assert_close(placed.poses[:, 0, 3], torch.tensor([-0.001, 0, 0.001]), rtol=0, atol=1e-8)


def test_names_may_be_absent(tmp_path):
    nameless = {key: value for key, value in entry().items() if key != "img_name"}
    (tmp_path / "cameras.json").write_text(json.dumps([nameless, entry(img_name=5)]))
    assert read_cameras(tmp_path / "cameras.json").names == ("0", "1")


WRONG = {
    "[]": "holds no list of cameras", "{}": "holds no list of cameras", "[3]": "camera 0 is 3, not an object",
    '[{"width": 3}]': "shape",
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_what_is_no_list_of_cameras(tmp_path, text, said):
    (tmp_path / "cameras.json").write_text(text)
    with pytest.raises(UserError, match=said):
        read_cameras(tmp_path / "cameras.json")


VALUES = [
    ({"fx": 0}, "'fx' is 0"), ({"fy": None}, "'fy' is None"), ({"fx": 1e9}, "'fx' is 1000000000.0"),
    ({"width": True}, "'width' is True"), ({"height": -3}, "'height' is -3"), ({"width": 10**7}, "'width' is 10000000"),
    ({"position": [1, 2]}, r"position \[2\], not"), ({"position": "here"}, "are no numbers"),
    ({"rotation": [[1, 0, 0], [0, 1, 0]]}, r"shape \[2, 3\]"), ({"rotation": [[1, 0], [0]]}, "are no numbers"),
    ({"rotation": np.diag([1.0, 1, -1]).tolist()}, "mirrors space"), ({"rotation": [[0] * 3] * 3}, "not a rotation"),
    ({"position": [1e300, 0, 0]}, r"lies 1e\+300 units away"), ({"position": [float("nan"), 0, 0]}, "not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "said"), VALUES)
def test_values_that_no_camera_has(tmp_path, values, said):
    (tmp_path / "cameras.json").write_text(json.dumps([entry(), entry(**values)]))
    with pytest.raises(UserError, match=rf"cameras\.json: camera 1:? .*{said}") as caught:
        read_cameras(tmp_path / "cameras.json")
    assert "\n" not in str(caught.value)


def test_an_entry_is_a_pose():
    check_pose(np.column_stack([np.array(entry()["rotation"]) * [1, -1, -1], entry()["position"]]), "the test's own")

"""The four formats: how each is recognised, read and split, and what a damaged file gets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from captures import (
    FOCAL,
    HEIGHT,
    WIDTH,
    load,
    original_poses,
    ring,
    row,
    transforms,
    write_llff,
    write_picture,
    write_transforms,
)
from nerfstudio.data.utils import colmap_parsing_utils as colmap

from arf.errors import UserError
from arf.radiance.capture.poses import to_square


def test_a_json_path_is_the_same_capture_as_its_folder(tmp_path):
    root = write_transforms(tmp_path / "scene", ring(8))
    folder, file = load(root), load(root / "transforms.json")
    assert folder.train.filenames == file.train.filenames
    assert file.name == "scene"
    assert file.root == root


def test_own_split_and_scene_box(tmp_path):
    poses = ring(6)
    names = [f"images/{i:02d}.png" for i in range(6)]
    split = {"train_filenames": names[:4], "test_filenames": names[4:]}
    root = write_transforms(tmp_path, poses, arf_scene_box=[[-3, -3, -1], [5, 3, 2]], **split)
    capture = load(root)
    assert [p.name for p in capture.train.filenames] == ["00.png", "01.png", "02.png", "03.png"]
    assert [p.name for p in capture.held_out.filenames] == ["04.png", "05.png"]
    assert capture.kind == "bounded"
    # The longest side spans [−1, 1] about the centre (1, 0, 0.5).
    torch.testing.assert_close(capture.scene_box, torch.tensor([[-1.0, -0.75, -0.375], [1.0, 0.75, 0.375]]))
    torch.testing.assert_close(original_poses(capture, capture.train), poses[:4], atol=1e-5, rtol=0)
    expected = (poses[0, :, 3] - torch.tensor([1.0, 0, 0.5])) / 4
    torch.testing.assert_close(capture.train.cameras.camera_to_worlds[0, :, 3], expected)


def test_names_without_suffix(tmp_path):
    root = write_transforms(tmp_path, ring(4))
    meta = transforms(ring(4))
    for frame in meta["frames"]:
        frame["file_path"] = frame["file_path"].removesuffix(".png")
    (root / "transforms.json").write_text(json.dumps(meta))
    assert {p.name for p in load(root).train.filenames} <= {f"{i:02d}.png" for i in range(4)}


def write_blender(root: Path, splits: dict[str, list[str]]) -> None:
    for split, names in splits.items():
        matrices = to_square(ring(len(names))).tolist()
        frames = [{"file_path": f"./all/{n}", "transform_matrix": m} for n, m in zip(names, matrices, strict=True)]
        meta = {"camera_angle_x": 1.2, "frames": frames}
        (root / f"transforms_{split}.json").write_text(json.dumps(meta))


def test_blender_takes_the_most_complete_test_split_and_survives_a_missing_first_picture(tmp_path):
    write_blender(tmp_path, {"train": ["a", "b", "c"], "test": ["d", "e", "f"], "test_subset": ["e"], "val": ["b"]})
    for name in "bce":
        write_picture(tmp_path / f"all/{name}.png")
    capture = load(tmp_path)
    assert [p.stem for p in capture.train.filenames] == ["b", "c"]
    assert [p.stem for p in capture.held_out.filenames] == ["e"]
    assert float(capture.train.cameras.fy[0]) == pytest.approx(WIDTH / 2 / np.tan(0.6), rel=1e-6)
    for name in "df":
        write_picture(tmp_path / f"all/{name}.png")
    assert len(load(tmp_path).held_out) == 3


def test_blender_without_a_test_split_holds_views_out(tmp_path):
    write_blender(tmp_path, {"train": ["a", "b", "c"]})
    for name in "abc":
        write_picture(tmp_path / f"all/{name}.png")
    capture = load(tmp_path / "transforms_train.json")
    assert (len(capture.train), len(capture.held_out)) == (2, 1)


@pytest.mark.parametrize("angle", [None, 0.0, 4.0, "wide"])
def test_blender_needs_its_angle(tmp_path, angle):
    write_blender(tmp_path, {"train": ["a", "b"]})
    meta = json.loads((tmp_path / "transforms_train.json").read_text()) | {"camera_angle_x": angle}
    (tmp_path / "transforms_train.json").write_text(json.dumps(meta))
    with pytest.raises(UserError, match="camera_angle_x must be an angle"):
        load(tmp_path)


def write_colmap(root: Path, poses: torch.Tensor, binary: bool) -> None:
    """A COLMAP model of OpenGL poses: world-to-camera quaternions with y down and z forwards."""
    model = root / "sparse/0"
    model.mkdir(parents=True)
    cameras = {1: colmap.Camera(1, "OPENCV", WIDTH, HEIGHT, np.array([FOCAL, FOCAL, 12.5, 8, 0.1, 0.02, 0.001, 0.002]))}
    images = {}
    for i, pose in enumerate(poses.double().numpy()):
        write_picture(root / f"images/{i:02d}.png", value=i)
        rotation = (pose[:, :3] * [1, -1, -1]).T
        q = colmap.rotmat2qvec(rotation)
        t = -rotation @ pose[:, 3]
        images[i + 1] = colmap.Image(i + 1, q, t, 1, f"{i:02d}.png", np.zeros((1, 2)), np.array([-1]))
    suffix = "bin" if binary else "txt"
    getattr(colmap, f"write_cameras_{'binary' if binary else 'text'}")(cameras, model / f"cameras.{suffix}")
    getattr(colmap, f"write_images_{'binary' if binary else 'text'}")(images, model / f"images.{suffix}")


@pytest.mark.parametrize("binary", [False, True])
def test_colmap(tmp_path, binary):
    poses = ring(9)
    write_colmap(tmp_path, poses, binary)
    capture = load(tmp_path)
    assert (len(capture.train), len(capture.held_out)) == (8, 1)
    assert capture.kind == "unbounded"
    torch.testing.assert_close(
        capture.train.cameras.distortion_params[0], torch.tensor([0.1, 0.02, 0, 0, 0.001, 0.002])
    )
    indices = [int(p.stem) for p in capture.train.filenames]
    torch.testing.assert_close(original_poses(capture, capture.train), poses[indices], atol=1e-5, rtol=0)


def test_colmap_split_lists(tmp_path):
    write_colmap(tmp_path, ring(5), binary=False)
    (tmp_path / "train_list.txt").write_text("00.png\n02.png\n04.png\n")
    (tmp_path / "test_list.txt").write_text("01.png\n")
    capture = load(tmp_path)
    assert [p.name for p in capture.train.filenames] == ["00.png", "02.png", "04.png"]
    assert [p.name for p in capture.held_out.filenames] == ["01.png"]


def test_colmap_with_shrunken_pictures_only(tmp_path):
    write_colmap(tmp_path, ring(4), binary=True)
    for path in sorted((tmp_path / "images").iterdir()):
        write_picture(tmp_path / "images_2" / path.name, 0, WIDTH // 2, HEIGHT // 2)
        path.unlink()
    capture = load(tmp_path)
    assert capture.train.size(0) == (HEIGHT // 2, WIDTH // 2)
    assert float(capture.train.cameras.fx[0]) == pytest.approx(FOCAL / 2)


# --- bad input, one line each


def spoil_pose(meta: dict, matrix: list) -> dict:
    meta["frames"][2]["transform_matrix"] = matrix
    return meta


def without(meta: dict, key: str) -> dict:
    return {k: v for k, v in meta.items() if k != key}


META = transforms(ring(4))
SKEW = [[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
MIRROR = [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
SCALED = [[1.1, 0, 0, 0], [0, 1.1, 0, 0], [0, 0, 1.1, 0], [0, 0, 0, 1]]
NAN = [[float("nan"), 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (spoil_pose(transforms(ring(4)), NAN), r"images/02\.png.*not finite"),
        (spoil_pose(transforms(ring(4)), SKEW), r"images/02\.png.*not a rotation"),
        (spoil_pose(transforms(ring(4)), SCALED), r"images/02\.png.*not a rotation"),
        (spoil_pose(transforms(ring(4)), MIRROR), r"images/02\.png.*mirrors"),
        (spoil_pose(transforms(ring(4)), [[1, 2], [3, 4]]), r"images/02\.png.*shape \[2, 2\]"),
        (spoil_pose(transforms(ring(4)), "pose"), r"images/02\.png.*not a matrix"),
        (without(META, "fl_x"), r"lacks 'fl_x'"),
        (without(META, "h"), r"lacks 'h'"),
        (META | {"fl_y": -3}, r"'fl_y' is -3"),
        (without(META, "frames"), r"'frames' is missing"),
        (META | {"frames": [{"transform_matrix": []}]}, r"frame 0 has no 'file_path'"),
        (META | {"camera_model": "PIGEON"}, r"transforms\.json cannot be read \(KeyError: 'PIGEON'\)"),
        (META | {"test_filenames": ["images/00.png"]}, r"list of filenames for split train is missing"),
        (META | {"arf_scene_box": [[0, 0, 0], [0, 1, 1]]}, r"arf_scene_box is no box"),
        ([1, 2], r"'frames' is missing"),
    ],
)
def test_bad_transforms(tmp_path, meta, message):
    root = write_transforms(tmp_path, ring(4))
    (root / "transforms.json").write_text(json.dumps(meta))
    with pytest.raises(UserError, match=message) as error:
        load(root)
    assert "\n" not in str(error.value)
    assert "transforms.json" in str(error.value)


def test_small_errors_of_a_pose_are_tolerated(tmp_path):
    meta = transforms(ring(4))
    for frame in meta["frames"]:
        frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ np.diag([1.004, 1.004, 1.004, 1])).tolist()
    root = write_transforms(tmp_path, ring(4))
    (root / "transforms.json").write_text(json.dumps(meta))
    directions = load(root).train.rays(0)[1]
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(len(directions)))


def test_no_such_capture_and_no_known_format(tmp_path):
    with pytest.raises(UserError, match=r"no capture at .*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no known format; looked for transforms\.json.*poses_bounds\.npy.*sparse/0"):
        load(tmp_path)
    with pytest.raises(UserError, match="no COLMAP model"):
        load(tmp_path, format="colmap")
    with pytest.raises(UserError, match=r"transforms\.json"):
        load(tmp_path, format="nerfstudio")
    with pytest.raises(UserError, match=r"transforms_train\.json"):
        load(tmp_path, format="blender")
    with pytest.raises(UserError, match=r"poses_bounds\.npy"):
        load(tmp_path, format="llff")


def test_format_overrides_what_is_recognised(tmp_path):
    write_llff(tmp_path, row(5))
    (tmp_path / "transforms.json").write_text(json.dumps(transforms(row(5))))
    assert load(tmp_path).kind == "unbounded"
    assert load(tmp_path, format="llff").kind == "forward"


def test_invalid_json(tmp_path):
    root = write_transforms(tmp_path, ring(4))
    (root / "transforms.json").write_text('{"frames": [')
    with pytest.raises(UserError, match="not valid JSON"):
        load(root)


def test_damaged_colmap(tmp_path):
    write_colmap(tmp_path, ring(4), binary=True)
    path = tmp_path / "sparse/0/images.bin"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="sparse/0 cannot be read"):
        load(tmp_path)


def test_colmap_pose_that_is_no_rotation(tmp_path):
    write_colmap(tmp_path, ring(4), binary=False)
    path = tmp_path / "sparse/0/images.txt"
    lines = path.read_text().splitlines()
    fields = lines[-2].split()
    lines[-2] = " ".join([fields[0], "nan", *fields[2:]])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"03\.png: the pose is not finite"):
        load(tmp_path)

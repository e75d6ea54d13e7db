"""Captures in JSON: splits, boxes, frames of reference, Blender's splits, and what a damaged file gets."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from captures import (
    FOCAL,
    HEIGHT,
    WIDTH,
    load,
    names,
    original_poses,
    ring,
    transforms,
    write_picture,
    write_transforms,
)

from arf.errors import UserError
from arf.radiance.capture.poses import to_square


def rewrite(root: Path, meta: dict) -> Path:
    (root / "transforms.json").write_text(json.dumps(meta))
    return root


def test_a_json_path_is_the_same_capture_as_its_folder(tmp_path):
    root = write_transforms(tmp_path / "scene", ring(8))
    folder, file = load(root), load(root / "transforms.json")
    assert folder.train.files == file.train.files
    assert file.name == "scene"
    assert file.root == root


def test_own_split_and_scene_box(tmp_path):
    poses = ring(6)
    listed = [f"images/{i:02d}.png" for i in range(6)]
    split = {"train_filenames": listed[:4], "test_filenames": listed[4:]}
    capture = load(write_transforms(tmp_path, poses, arf_scene_box=[[-3, -3, -1], [5, 3, 2]], **split))
    assert names(capture.train) == ["00.png", "01.png", "02.png", "03.png"]
    assert names(capture.held_out) == ["04.png", "05.png"]
    assert capture.kind == "bounded"
    # The longest side spans [−1, 1] about the centre (1, 0, 0.5).
    torch.testing.assert_close(capture.scene_box, torch.tensor([[-1.0, -0.75, -0.375], [1.0, 0.75, 0.375]]))
    torch.testing.assert_close(original_poses(capture, capture.train).float(), poses[:4], atol=1e-5, rtol=0)
    expected = (poses[0, :, 3] - torch.tensor([1.0, 0, 0.5])) / 4
    torch.testing.assert_close(capture.train.cameras.poses[0, :, 3], expected)


def test_split_lists_that_name_missing_frames(tmp_path, caplog):
    """C13: skipped with one warning each."""
    split = {
        "train_filenames": ["images/00.png", ".\\images\\02.png", "images/77.png", "images/78.png"],
        "val_filenames": ["images/03.png"],
    }
    root = write_transforms(tmp_path, ring(5), **split)
    with caplog.at_level(logging.WARNING):
        capture = load(root)
    assert names(capture.train) == ["00.png", "02.png"]
    assert names(capture.held_out) == ["03.png"]
    assert len(caplog.messages) == 1
    assert "train_filenames: skipping 2 of 4 names without a frame, first images/77.png" in caplog.text
    caplog.clear()
    with pytest.raises(UserError, match="train_filenames names none of the capture's photographs"):
        load(rewrite(root, transforms(ring(5), train_filenames=["x"], test_filenames=["y"])))
    held_out = ["images/00.png", "images/01.png"]
    with pytest.raises(UserError, match="train_filenames names none of the capture's photographs"):
        load(rewrite(root, transforms(ring(5), train_filenames=["x"], test_filenames=held_out)))
    assert not caplog.messages  # one line, and no other


def test_names_that_tell_the_split(tmp_path):
    root = write_transforms(tmp_path, ring(4))
    meta = transforms(ring(4))
    for i, name in enumerate(("frame_train_0", "frame_eval_0", "frame_train_1", "frame_eval_1")):
        (root / f"images/{i:02d}.png").rename(root / f"images/{name}.png")
        meta["frames"][i]["file_path"] = f"images/{name}.png"
    capture = load(rewrite(root, meta))
    assert names(capture.train) == ["frame_train_0.png", "frame_train_1.png"]
    assert names(capture.held_out) == ["frame_eval_0.png", "frame_eval_1.png"]


def test_names_without_suffix(tmp_path):
    root = write_transforms(tmp_path, ring(4))
    meta = transforms(ring(4))
    for frame in meta["frames"]:
        frame["file_path"] = frame["file_path"].removesuffix(".png")
    assert set(names(load(rewrite(root, meta)).train)) <= {f"{i:02d}.png" for i in range(4)}


# --- the frame of reference


def test_frames_without_pictures_take_part_in_the_frame(tmp_path):
    """So that a capture keeps its frame where photographs are lost."""
    root = write_transforms(tmp_path, ring(6))
    before = load(root)
    (root / "images/05.png").unlink()
    after = load(root)
    assert torch.equal(before.transform, after.transform)
    assert before.scale == after.scale


@pytest.mark.parametrize("box", [False, True])
def test_applied_transform_and_scale_lead_back_to_the_world(tmp_path, box):
    """x_file = k (A x_world + a)."""
    k, world = 0.37, ring(7).double()
    a = torch.cat([torch.eye(3)[[1, 2, 0]], torch.tensor([[3.0], [-1], [2]])], 1).double()
    filed = (to_square(a) @ to_square(world))[:, :3]
    filed[:, :, 3] *= k
    extra = {"arf_scene_box": [[-3, -3, -1], [5, 3, 2]]} if box else {}
    root = write_transforms(tmp_path, filed, applied_transform=a.tolist(), applied_scale=k, **extra)
    capture = load(root)
    indices = [int(name[:2]) for name in names(capture.train)]
    torch.testing.assert_close(original_poses(capture, capture.train), world[indices], atol=1e-5, rtol=0)


@pytest.mark.parametrize("box", [False, True])
def test_georeferenced_poses_keep_their_distances(tmp_path, box):
    """C4: offsets of 5e5 and 4e6 m; float32 knows positions there to half a metre."""
    offset = torch.tensor([5e5, 4e6, 300.0]).double()
    world = ring(12, radius=8.0).double()
    world[:, :, 3] += offset
    corners = (offset + torch.tensor([[-9.0], [9.0]]).double()).tolist()
    root = write_transforms(tmp_path, world, **({"arf_scene_box": corners} if box else {}))
    capture = load(root)
    poses = capture.train.cameras.poses
    indices = [int(name[:2]) for name in names(capture.train)]
    expected = torch.cdist(world[indices, :, 3] - offset, world[indices, :, 3] - offset)
    found = torch.cdist(poses[:, :, 3].double(), poses[:, :, 3].double()) / capture.scale
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert capture.transform.dtype == torch.float64
    back = original_poses(capture, capture.train)
    torch.testing.assert_close(back[:, :, 3], world[indices, :, 3], atol=1e-5, rtol=0)
    local = load(write_transforms(tmp_path / "local", ring(12, radius=8.0)))
    if not box:
        torch.testing.assert_close(poses, local.train.cameras.poses, atol=1e-5, rtol=0)


def test_matrices_of_three_rows(tmp_path):
    """C13."""
    root = write_transforms(tmp_path, ring(5))
    four = load(root).train.cameras.poses
    meta = transforms(ring(5))
    for frame in meta["frames"]:
        frame["transform_matrix"] = frame["transform_matrix"][:3]
    assert torch.equal(load(rewrite(root, meta)).train.cameras.poses, four)


# --- Blender


def write_blender(root: Path, splits: dict[str, list[str]], **extra: object) -> None:
    for split, listed in splits.items():
        matrices = to_square(ring(len(listed))).tolist()
        frames = [{"file_path": f"./all/{n}", "transform_matrix": m} for n, m in zip(listed, matrices, strict=True)]
        meta = {"camera_angle_x": 1.2, "frames": frames, **extra}
        (root / f"transforms_{split}.json").write_text(json.dumps(meta))


def test_blender_takes_the_most_complete_test_split_and_survives_a_missing_first_picture(tmp_path):
    write_blender(tmp_path, {"train": ["a", "b", "c"], "test": ["d", "e", "f"], "test_subset": ["e"], "val": ["b"]})
    for name in "bce":
        write_picture(tmp_path / f"all/{name}.png")
    capture = load(tmp_path)
    assert [p.stem for p in capture.train.files] == ["b", "c"]
    assert [p.stem for p in capture.held_out.files] == ["e"]
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


def test_blender_honours_what_every_other_transforms_file_may_say(tmp_path):
    """C6: fl_x ≠ fl_y, cx, k1, a frame's own intrinsics, aabb_scale."""
    values = {"fl_x": 20.0, "fl_y": 22.0, "cx": 11.0, "cy": 7.0, "aabb_scale": 4}
    write_blender(tmp_path, {"train": ["a", "b"], "test": ["c"]}, **values)
    meta = json.loads((tmp_path / "transforms_train.json").read_text())
    meta["frames"][1] |= {"fl_x": 30.0, "k1": -0.05}
    (tmp_path / "transforms_train.json").write_text(json.dumps(meta))
    for name in "abc":
        write_picture(tmp_path / f"all/{name}.png")
    capture = load(tmp_path)
    first, second = capture.train.cameras
    assert (first.fx, first.fy, first.cx, first.cy) == (20, 22, 11, 7)
    assert (second.fx, second.fy) == pytest.approx((30, 30))
    assert capture.train.sources[0].lens is None
    assert capture.train.sources[1].lens.params[4] == -0.05
    assert capture.space_box.tolist() == [[-6.0] * 3, [6.0] * 3]
    (tmp_path / "transforms_train.json").write_text(json.dumps(meta | {"aabb_scale": -1}))
    with pytest.raises(UserError, match=r"aabb_scale is .*; it must be a positive number"):
        load(tmp_path)


@pytest.mark.parametrize("angle", [None, 0.0, 4.0, "wide"])
def test_blender_needs_its_angle(tmp_path, angle):
    write_blender(tmp_path, {"train": ["a", "b"]}, camera_angle_x=angle)
    for name in "ab":
        write_picture(tmp_path / f"all/{name}.png")
    with pytest.raises(UserError, match="camera_angle_x must be an angle"):
        load(tmp_path)


# --- bad input, one line each


def spoil_pose(matrix: object) -> dict:
    meta = transforms(ring(4))
    meta["frames"][2]["transform_matrix"] = matrix
    return meta


META = transforms(ring(4))
SKEW = [[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
MIRROR = [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
SCALED = [[1.1, 0, 0, 0], [0, 1.1, 0, 0], [0, 0, 1.1, 0], [0, 0, 0, 1]]
NAN = [[float("nan"), 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
FAR = [[1, 0, 0, 1e30], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
HUGE = [[1, 0, 0, 10**400], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (spoil_pose(NAN), r"images/02\.png.*not finite"),
        (spoil_pose(SKEW), r"images/02\.png.*not a rotation"),
        (spoil_pose(SCALED), r"images/02\.png.*not a rotation"),
        (spoil_pose(MIRROR), r"images/02\.png.*mirrors"),
        (spoil_pose([[1, 2], [3, 4]]), r"images/02\.png.*shape \[2, 2\]"),
        (spoil_pose("pose"), r"images/02\.png.*not a matrix"),
        (spoil_pose(FAR), r"images/02\.png: the pose lies 1e\+30 units away"),
        (spoil_pose(HUGE), r"images/02\.png.*not a matrix"),
        ({k: v for k, v in META.items() if k not in ("fl_x", "fl_y")}, r"lacks 'fl_x'"),
        (META | {"fl_y": -3}, r"'fl_y' is -3"),
        (META | {"k1": float("nan")}, r"'k1' is nan"),
        ({k: v for k, v in META.items() if k != "frames"}, r"'frames' is missing"),
        (META | {"frames": [{"transform_matrix": []}]}, r"frame 0 has no 'file_path'"),
        (META | {"frames": [{"file_path": "a.png"}]}, r"frame a\.png has no 'transform_matrix'"),
        (META | {"camera_model": "PIGEON"}, r"camera_model 'PIGEON'"),
        (META | {"test_filenames": ["images/00.png"]}, r"list of filenames for split train is missing"),
        (META | {"train_filenames": "all"}, r"train_filenames is not a list of names"),
        (META | {"arf_scene_box": [[0, 0, 0], [0, 1, 1]]}, r"arf_scene_box is no box"),
        (META | {"arf_scene_box": [[0, 0, 0], [1e-40, 1e-40, 1e-40]]}, r"arf_scene_box is no box"),
        (META | {"arf_scene_box": [[1e30, 0, 0], [2e30, 1, 1]]}, r"arf_scene_box is no box"),
        (META | {"arf_scene_box": "big"}, r"arf_scene_box is not a list of numbers"),
        (META | {"applied_transform": [[0, 0, 0, 0]] * 3}, r"applied_transform is no rigid motion"),
        (META | {"applied_scale": 0}, r"applied_scale is 0; it must be a positive number"),
        (META | {"orientation_override": ["up"]}, r"orientation_override is not one of up"),
        ([1, 2], r"'frames' is missing"),
    ],
)
def test_bad_transforms(tmp_path, meta, message):
    """J30, J42."""
    root = rewrite(write_transforms(tmp_path, ring(4)), meta)
    with pytest.raises(UserError, match=message) as error:
        load(root)
    assert "\n" not in str(error.value)
    assert "transforms.json" in str(error.value)


def test_small_errors_of_a_pose_are_tolerated(tmp_path):
    meta = transforms(ring(4))
    for frame in meta["frames"]:
        frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ np.diag([1.004, 1.004, 1.004, 1])).tolist()
    directions = load(rewrite(write_transforms(tmp_path, ring(4)), meta)).train.cameras[0].rays()[1]
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(len(directions)))


def test_invalid_json(tmp_path):
    root = write_transforms(tmp_path, ring(4))
    (root / "transforms.json").write_text('{"frames": [')
    with pytest.raises(UserError, match="not valid JSON"):
        load(root)
    (root / "transforms.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="not valid JSON"):
        load(root)


def test_focal_lengths_survive_the_door(tmp_path):
    camera = load(write_transforms(tmp_path, ring(4))).train.cameras[0]
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2)
    assert camera.size == (HEIGHT, WIDTH)

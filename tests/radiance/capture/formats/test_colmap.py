"""COLMAP models: text and binary as pycolmap writes them, several models, names, and what a damaged one gets."""

from __future__ import annotations

import ast
import logging
import os
import subprocess
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from captures import FOCAL, HEIGHT, WIDTH, load, names, original_poses, ring, write_picture
from PIL import Image

import arf.radiance.capture
from arf.errors import UserError
from arf.radiance.capture.formats.colmap import read_model
from arf.radiance.capture.lens import MODELS

OPENCV = ("OPENCV", [FOCAL, FOCAL, 12.5, 8, 0.1, 0.02, 0.001, 0.002])


def write_model(path: Path, poses: torch.Tensor, binary: bool, listed: list[str] | None = None, cameras=(OPENCV,)):
    """A model of OpenGL poses, world-to-camera with y down and z forwards; photographs take turns with the cameras."""
    model = pycolmap.Reconstruction()
    for i, (name, params) in enumerate(cameras, 1):
        camera = pycolmap.Camera(model=name, width=WIDTH, height=HEIGHT, params=params, camera_id=i)
        model.add_camera_with_trivial_rig(camera)
    for i, pose in enumerate(poses.double().numpy()):
        rotation = pycolmap.Rotation3d((pose[:, :3] * [1, -1, -1]).T)
        rotation.normalize()  # the poses are float32
        image = pycolmap.Image(
            name=listed[i] if listed else f"{i:02d}.png", camera_id=1 + i % len(cameras), image_id=i + 1
        )
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(np.array([1.0, 2.0]))] * (i % 3))
        world_to_camera = pycolmap.Rigid3d(rotation, -rotation.matrix() @ pose[:, 3])
        model.add_image_with_trivial_frame(image, world_to_camera)
    path.mkdir(parents=True, exist_ok=True)
    (model.write_binary if binary else model.write_text)(path)
    for other in path.iterdir():  # older COLMAPs write neither rigs nor frames, and points are not read
        if other.stem not in ("cameras", "images"):
            other.unlink()


def write_colmap(root: Path, poses: torch.Tensor, binary: bool, folder: str = "sparse/0", **options) -> None:
    write_model(root / folder, poses, binary, **options)
    for i in range(len(poses)):
        write_picture(root / f"images/{i:02d}.png", value=i)


def edit(path: Path, line: int, field: int, value: str) -> None:
    lines = path.read_text().splitlines()
    fields = lines[line].split()
    fields[field] = value
    lines[line] = " ".join(fields)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("binary", [False, True])
def test_colmap(tmp_path, binary):
    poses = ring(9)
    write_colmap(tmp_path, poses, binary)
    capture = load(tmp_path)
    assert (len(capture.train), len(capture.held_out)) == (8, 1)
    assert capture.kind == "unbounded"
    lens = capture.train.sources[0].lens
    assert (lens.model, lens.params) == ("OPENCV", tuple(map(float, OPENCV[1])))
    indices = [int(path.stem) for path in capture.train.files]
    torch.testing.assert_close(original_poses(capture, capture.train).float(), poses[indices], atol=1e-5, rtol=0)
    assert float(capture.train.cameras.poses[:, :, 3].abs().max()) <= 1


@pytest.mark.parametrize("binary", [False, True])
def test_every_camera_model_is_read(tmp_path, binary):
    """C10, C13: FULL_OPENCV, fisheyes with k4, and all others, mixed in one capture."""
    cameras = []
    for number, (name, count) in enumerate(MODELS.items()):
        # Distinct values that survive: the focal length first, then small coefficients.
        cameras.append((name, [20.0 + number, *(0.001 * (i + 1) for i in range(count - 1))]))
    write_model(tmp_path, ring(len(cameras)), binary, cameras=cameras)
    found = read_model(tmp_path)
    assert [(image.lens.model, list(image.lens.params)) for image in found] == cameras
    assert all((image.lens.width, image.lens.height) == (WIDTH, HEIGHT) for image in found)


def test_our_reader_is_pycolmaps(tmp_path):
    poses = ring(5)
    write_model(tmp_path / "a", poses, binary=False)
    for name in ("points3D", "rigs", "frames"):
        (tmp_path / f"a/{name}.txt").write_text("")
    for name in ("rigs", "frames"):
        (tmp_path / f"a/{name}.txt").unlink()
    theirs = pycolmap.Reconstruction(tmp_path / "a")
    for image in read_model(tmp_path / "a"):
        found = next(other for other in theirs.images.values() if other.name == image.name)
        camera_to_world = found.cam_from_world().inverse().matrix() * [1, -1, -1, 1]
        np.testing.assert_allclose(image.pose, camera_to_world, atol=1e-12)


@pytest.mark.parametrize("binary", [False, True])
def test_georeferenced_poses_keep_their_distances(tmp_path, binary):
    """C4: offsets of 5e5 and 4e6 m."""
    offset = torch.tensor([5e5, 4e6, 300.0]).double()
    world = ring(12, radius=8.0).double()
    world[:, :, 3] += offset
    write_colmap(tmp_path, world, binary)
    capture = load(tmp_path)
    indices = [int(path.stem) for path in capture.train.files]
    positions = capture.train.cameras.poses[:, :, 3].double()
    local = world[indices, :, 3] - offset
    torch.testing.assert_close(
        torch.cdist(positions, positions) / capture.scale, torch.cdist(local, local), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(original_poses(capture, capture.train)[:, :, 3], local + offset, atol=1e-5, rtol=0)


# --- several models


def test_the_largest_model_is_read_with_a_word_about_the_others(tmp_path, caplog):
    """C5."""
    write_colmap(tmp_path, ring(11), binary=True, folder="sparse/1")
    write_model(tmp_path / "sparse/0", ring(3), binary=True)
    write_model(tmp_path / "sparse/12", ring(2), binary=False)
    with caplog.at_level(logging.WARNING):
        capture = load(tmp_path)
    assert len(capture.train) + len(capture.held_out) == 11
    assert len(caplog.messages) == 1
    assert "reading sparse/1 (11 photographs)" in caplog.text
    assert "--model N reads another: sparse/0 (3), sparse/12 (2)" in caplog.text
    small = load(tmp_path, model=0)
    assert len(small.train) + len(small.held_out) == 3
    with pytest.raises(UserError, match=r"no COLMAP model 7; it has sparse/0, sparse/1, sparse/12"):
        load(tmp_path, model=7)


@pytest.mark.parametrize("folder", ["sparse/0", "sparse/1", "sparse", "colmap/sparse/0", "colmap/sparse/5", "."])
def test_places_of_a_model(tmp_path, folder, caplog):
    """C5: only sparse/1, too, is a known format."""
    write_colmap(tmp_path, ring(4), binary=True, folder=folder)
    assert len(load(tmp_path).train) == 3
    assert not caplog.messages


# --- names, splits, pictures


def test_names_in_text(tmp_path):
    """C9: blanks, backslashes, folders, case; pycolmap ends a name at its first blank."""
    listed = ["my room 1.png", "left\\a.png", "sub dir/b.png", "UPPER.PNG"]
    write_model(tmp_path / "sparse/0", ring(4), binary=False, listed=listed)
    stored = ["my room 1.png", "left/a.png", "sub dir/b.png", "upper.png"]
    for name in stored:
        write_picture(tmp_path / "images" / name)
    capture = load(tmp_path)
    files = capture.train.files + capture.held_out.files
    assert sorted(str(path.relative_to(tmp_path / "images")) for path in files) == sorted(stored)
    write_model(tmp_path / "sparse/0", ring(4), binary=True, listed=listed)
    for path in (tmp_path / "sparse/0").glob("*.txt"):
        path.unlink()
    assert load(tmp_path).fingerprint == capture.fingerprint


def test_names_in_text_with_other_line_ends_and_comments(tmp_path):
    write_colmap(tmp_path, ring(4), binary=False)
    before = load(tmp_path).fingerprint
    for path in (tmp_path / "sparse/0").iterdir():
        path.write_bytes(b"\xef\xbb\xbf# by hand\r\n" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load(tmp_path).fingerprint == before


def test_colmap_split_lists(tmp_path, caplog):
    """C13: names that are missing are skipped with one warning."""
    write_colmap(tmp_path, ring(5), binary=False)
    (tmp_path / "train_list.txt").write_text("00.png\n02.png\n04.png\n")
    (tmp_path / "test_list.txt").write_text("01.png\n77.png\n78.png\n")
    with caplog.at_level(logging.WARNING):
        capture = load(tmp_path)
    assert names(capture.train) == ["00.png", "02.png", "04.png"]
    assert names(capture.held_out) == ["01.png"]
    assert len(caplog.messages) == 1
    assert "test_list.txt: skipping 2 of 3 names" in caplog.text


def test_colmap_with_shrunken_pictures_only(tmp_path):
    write_colmap(tmp_path, ring(4), binary=True, cameras=[("PINHOLE", [FOCAL, FOCAL, 12, 8])])
    for path in sorted((tmp_path / "images").iterdir()):
        write_picture(tmp_path / "images_2" / path.name, 0, WIDTH // 2, HEIGHT // 2)
        path.unlink()
    capture = load(tmp_path)
    assert capture.train.size(0) == (HEIGHT // 2, WIDTH // 2)
    assert float(capture.train.cameras.fx[0]) == pytest.approx(FOCAL / 2)


def test_masks_as_colmap_names_them(tmp_path):
    """C11."""
    write_colmap(tmp_path, ring(4), binary=True, cameras=[("PINHOLE", [FOCAL, FOCAL, 12, 8])])
    (tmp_path / "masks").mkdir()
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "masks/02.png.png")
    capture = load(tmp_path)
    views = capture.train if "02.png" in names(capture.train) else capture.held_out
    assert not views.photograph(names(views).index("02.png")).mask.any()
    assert [s.mask for s in capture.train.sources if s.file.name != "02.png"] == [None] * (
        len(capture.train) - (views is capture.train)
    )


def test_pictures_stay_below_the_capture(tmp_path):
    """J28."""
    write_colmap(tmp_path / "scene", ring(3), binary=True, listed=["00.png", "../../secret.png", "02.png"])
    write_picture(tmp_path / "secret.png")
    with pytest.raises(UserError, match=r"sparse/0 names .*secret\.png, outside of .*--allow-outside"):
        load(tmp_path / "scene")
    capture = load(tmp_path / "scene", allow_outside=True)
    assert "secret.png" in names(capture.train) + names(capture.held_out)


# --- bad input, one line each


@pytest.mark.parametrize("cut", [0, 4, 30, 100, -1])
@pytest.mark.parametrize("name", ["images.bin", "cameras.bin"])
def test_damaged_colmap(tmp_path, name, cut, capfd):
    write_colmap(tmp_path, ring(4), binary=True)
    path = tmp_path / "sparse/0" / name
    path.write_bytes(path.read_bytes()[:cut] if cut < path.stat().st_size else b"x")
    with pytest.raises(UserError, match=r"sparse/0.* (cannot be read|is empty)") as error:
        load(tmp_path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_binary_files_that_promise_too_much(tmp_path):
    """A count of 2^60 is no reason to wait, or to ask for memory."""
    write_colmap(tmp_path, ring(4), binary=True)
    for name in ("images.bin", "cameras.bin"):
        path = tmp_path / "sparse/0" / name
        whole = path.read_bytes()
        path.write_bytes(b"\0\0\0\0\0\0\0\x10" + whole[8:])
        with pytest.raises(UserError, match="sparse/0 cannot be read"):
            load(tmp_path)
        path.write_bytes(whole)
    path = tmp_path / "sparse/0/images.bin"
    path.write_bytes(path.read_bytes()[:-8] + b"\xff" * 8)  # the last image's points
    with pytest.raises(UserError, match="sparse/0 cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("file", "field", "value", "message"),
    [
        ("images", 1, "nan", r"03\.png: the pose is not finite"),
        ("images", 5, "inf", r"03\.png: the pose is not finite"),
        ("images", 6, "1e30", r"03\.png: the pose lies 9\.7e\+29 units away"),
        ("images", 8, "9", r"03\.png was taken by camera 9, which is missing"),
        ("images", 2, "x", r"sparse/0 cannot be read"),
        ("cameras", 1, "PIGEON", r"camera 1 has the unknown model PIGEON"),
        ("cameras", 2, "-24", r"camera 1 is -24×16 pixels"),
        ("cameras", 4, "nan", r"a parameter of the lens is not finite"),
        ("cameras", 4, "1e-9", r"no camera has the OPENCV lens|focal length is 1e-09"),
        ("cameras", 11, "", r"camera 1 has 7 parameters; OPENCV has 8"),
    ],
)
def test_colmap_with_values_that_no_camera_has(tmp_path, file, field, value, message):
    """J30."""
    write_colmap(tmp_path, ring(4), binary=False)
    edit(tmp_path / f"sparse/0/{file}.txt", -2 if file == "images" else -1, field, value)
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


def test_colmap_pose_that_is_no_rotation(tmp_path):
    write_colmap(tmp_path, ring(4), binary=False)
    for field in (1, 2, 3, 4):  # zeros, which pycolmap takes for no turn
        edit(tmp_path / "sparse/0/images.txt", -2, field, "0")
    with pytest.raises(UserError, match=r"03\.png: the pose is not finite"):
        load(tmp_path)


def test_no_pictures_no_model_no_photograph(tmp_path):
    write_model(tmp_path / "sparse/0", ring(3), binary=True)
    with pytest.raises(UserError, match="no pictures in images or images_N"):
        load(tmp_path)
    (tmp_path / "sparse/0/images.bin").write_bytes(bytes(8))
    with pytest.raises(UserError, match="sparse/0 has no registered photograph"):
        load(tmp_path)


def test_opening_asks_nothing_and_runs_nothing(tmp_path, monkeypatch):
    """J1: nerfstudio's parser may ask at the terminal, and run a shell to shrink pictures."""
    write_colmap(tmp_path, ring(4), binary=True)
    for i in range(4):
        write_picture(tmp_path / f"images/{i:02d}.png", i, 100 * WIDTH, 100 * HEIGHT)  # large: it would offer to

    def never(*_, **__):
        raise AssertionError("a program is run, or a question asked")

    for module, name in ((subprocess, "Popen"), (os, "system"), (os, "execvp"), (__builtins__, "input")):
        if isinstance(module, dict):
            monkeypatch.setitem(module, name, never)
        else:
            monkeypatch.setattr(module, name, never)
    load(tmp_path).train.image(0)


def test_the_room_imports_no_nerfstudio():
    """J1: own readers only."""
    for path in Path(arf.radiance.capture.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            imported = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in getattr(node, "names", [])]
            )
            assert not any(str(name).startswith("nerfstudio") for name in imported), path

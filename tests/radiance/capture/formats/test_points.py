"""Points beside the cameras: as pycolmap writes them, as .ply, in whose frame, and what a damaged file gets."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from captures import FOCAL, HEIGHT, WIDTH, load, ring, row, write_llff, write_picture, write_transforms

from arf.errors import UserError
from arf.radiance.capture.formats.points import Points, find_points, read_points

PLACES = np.random.default_rng(0).normal(size=(20, 3)) * 3
COLORS = np.random.default_rng(1).integers(0, 256, (20, 3), np.uint8)
PLY = "ply\nformat ascii 1.0\nelement vertex 20\nproperty float x\nproperty float y\nproperty float z\n"


def write_model(folder: Path, poses: torch.Tensor, binary: bool) -> None:
    """A model with these points, each seen by none, one or two photographs."""
    model = pycolmap.Reconstruction()
    params = [FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2]
    model.add_camera_with_trivial_rig(
        pycolmap.Camera(model="PINHOLE", width=WIDTH, height=HEIGHT, params=params, camera_id=1)
    )
    for i, pose in enumerate(poses.double().numpy(), 1):
        rotation = pycolmap.Rotation3d((pose[:, :3] * [1, -1, -1]).T)
        rotation.normalize()
        image = pycolmap.Image(name=f"{i - 1:02d}.png", camera_id=1, image_id=i)
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(np.array([1.0, 2.0]))] * len(PLACES))
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(rotation, -rotation.matrix() @ pose[:, 3]))
    for i, (place, color) in enumerate(zip(PLACES, COLORS, strict=True)):
        track = pycolmap.Track()
        for k in range(i % 3):
            track.add_element(1 + k, i)
        model.add_point3D(place, track, color)
    folder.mkdir(parents=True, exist_ok=True)
    (model.write_binary if binary else model.write_text)(folder)


def write_ply(path: Path, properties: str = "uchar", white: float = 255) -> Path:
    header = PLY + "".join(f"property {properties} {name}\n" for name in ("red", "green", "blue")) + "end_header\n"
    rows = [" ".join(map(str, [*p, *(c if white == 255 else c / 255)])) for p, c in zip(PLACES, COLORS, strict=True)]
    path.write_text(header + "\n".join(rows) + "\n")
    return path


def assert_same(points: Points, places=PLACES, colors=COLORS, atol=1e-12):
    order = [np.lexsort(p.round(6).T) for p in (points.places, places)]
    np.testing.assert_allclose(points.places[order[0]], places[order[1]], atol=atol)
    assert np.abs(points.colors[order[0]].astype(int) - colors[order[1]]).max() <= 1


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
def test_colmaps_own(tmp_path, binary):
    assert find_points(tmp_path) is None
    write_model(tmp_path, ring(3), binary)
    assert_same(read_points(find_points(tmp_path)), atol=1e-12 if binary else 1e-5)


@pytest.mark.parametrize(("kind", "white"), [("uchar", 255), ("float", 1)])
def test_a_ply(tmp_path, kind, white):
    assert_same(read_points(write_ply(tmp_path / "a.ply", kind, white)))


def test_a_ply_without_colours_is_grey(tmp_path):
    (tmp_path / "a.ply").write_text(PLY + "end_header\n" + "\n".join(" ".join(map(str, p)) for p in PLACES) + "\n")
    assert_same(read_points(tmp_path / "a.ply"), colors=np.full((20, 3), 128, np.uint8))


def test_what_is_nowhere_is_left_out(tmp_path):
    path = write_ply(tmp_path / "a.ply")
    lines = path.read_text().splitlines()
    lines[-1], lines[-2] = "nan 0 0 1 2 3", "1e30 0 0 1 2 3"
    path.write_text("\n".join(lines) + "\n")
    assert_same(read_points(path), PLACES[:18], COLORS[:18])


def scene(capture) -> np.ndarray:
    """These points in the capture's frame, by its own word of where that is."""
    return capture.scale * (PLACES @ capture.transform[:, :3].numpy().T + capture.transform[:, 3].numpy())


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_those_of_a_transforms_json_lie_in_the_frame_of_its_poses(tmp_path, scale, caplog):
    write_transforms(tmp_path, ring(6), ply_file_path="sparse_pc.ply", applied_scale=scale)
    assert load(tmp_path).points is None
    assert "names the points" in caplog.text
    write_ply(tmp_path / "sparse_pc.ply")
    capture = load(tmp_path)
    assert_same(capture.points.read(), scene(capture), atol=1e-9)


def test_those_of_colmap(tmp_path):
    write_model(tmp_path / "sparse/0", ring(6), binary=True)
    for i in range(6):
        write_picture(tmp_path / f"images/{i:02d}.png", value=i)
    capture = load(tmp_path)
    assert_same(capture.points.read(), scene(capture), atol=1e-6)


@pytest.mark.parametrize("forward", [True, False])
def test_those_beside_poses_bounds(tmp_path, forward):
    write_llff(tmp_path, row(8) if forward else ring(8))
    write_model(tmp_path / "sparse/0", ring(3), binary=True)
    capture = load(tmp_path)
    assert (capture.kind == "forward") == forward
    assert_same(capture.points.read(), scene(capture), atol=1e-6)


def damaged(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_damaged_files_get_one_line(tmp_path):
    write_model(tmp_path / "m", ring(3), binary=True)
    whole = (tmp_path / "m/points3D.bin").read_bytes()
    for name, data in {
        "cut.bin": whole[:-5],
        "short.bin": whole[:4],
        "none.bin": b"",
        "many.bin": struct.pack("<Q", 2**60) + whole[8:],
        "long.bin": whole[:51] + struct.pack("<Q", 2**50) + whole[59:],
        "words.txt": b"1 a b c 1 2 3 0.5\n",
        "few.txt": b"1 0.5 0.5\n",
        "bytes.txt": b"\xff\xfe\x00",
        "none.ply": b"",
        "colour.ply": b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n",
        "more.ply": PLY.replace("20", "9" * 14).encode() + b"end_header\n1 2 3\n",
        "list.ply": PLY.encode() + b"property list uchar int v\nend_header\n",
    }.items():
        with pytest.raises(UserError, match=name.replace(".", r"\.")) as error:
            read_points(damaged(tmp_path / name, data))
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"gone\.bin"):
        read_points(tmp_path / "gone.bin")

"""poses_bounds.npy: its axes, its folders, its scale, and what a damaged one gets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captures import FOCAL, HEIGHT, WIDTH, load, names, poses_bounds, ring, row, write_llff, write_picture

from arf.errors import UserError
from arf.radiance.capture.formats.llff import read_poses_bounds
from arf.radiance.capture.poses import look_at, to_square


def in_order(capture):
    """All views by name: poses float32 [n, 3, 4], and which they are."""
    views = [*zip(names(capture.train), capture.train.cameras, strict=True)]
    views += zip(names(capture.held_out), capture.held_out.cameras, strict=True)
    return torch.stack([camera.pose for _, camera in sorted(views, key=lambda view: view[0])])


def world(capture, poses):
    """Undo x' = scale · T x by hand."""
    poses = poses.double()
    poses[:, :, 3] /= capture.scale
    return (torch.linalg.inv(to_square(capture.transform)) @ to_square(poses))[:, :3]


def test_axes_are_down_right_backwards(tmp_path):
    # One camera at (1, 2, 3), unrotated in LLFF's sense: its columns are the world's −y, x and z.
    numbers = [0, 1, 0, 1, 480, -1, 0, 0, 2, 640, 0, 0, 1, 3, 500, 0.5, 9]
    np.save(tmp_path / "poses_bounds.npy", np.array([numbers], dtype=np.float64))
    poses, hwf, depths = read_poses_bounds(tmp_path / "poses_bounds.npy")
    assert poses[0].tolist() == [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3]]
    assert hwf[0].tolist() == [480, 640, 500]
    assert depths[0].tolist() == [0.5, 9]


def test_forward_capture_is_recentred_and_scaled(tmp_path):
    turned = look_at(torch.tensor([3.0, 1, 2]), torch.tensor([0.0, 5, 1]), torch.tensor([0.0, 0, 1]))
    poses = to_square(turned).expand(5, 4, 4) @ to_square(row(5))  # a row of cameras, anywhere in the world
    poses = poses[:, :3]
    capture = load(write_llff(tmp_path, poses))
    ours = in_order(capture)
    scale = (4 / 3) / 2  # the nearest depth, 2, goes to 4/3
    assert capture.scale == pytest.approx(scale)
    assert capture.bounds == pytest.approx((4 / 3, 8 * scale))
    assert capture.kind == "forward"
    torch.testing.assert_close(ours[:, :, :3], torch.eye(3).expand(5, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(ours[:, 0, 3], (torch.arange(5) - 2) * 0.1 * scale, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours[:, 1:, 3], torch.zeros(5, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(world(capture, ours).float(), poses, atol=1e-5, rtol=0)
    # The box: the frusta of the outermost cameras at the near and far depth.
    far, near = 8 * scale, 4 / 3
    right = 0.2 * scale + far * WIDTH / 2 / FOCAL
    expected = torch.tensor([right, far * HEIGHT / 2 / FOCAL, -near])
    torch.testing.assert_close(capture.scene_box[1], expected, atol=1e-5, rtol=0)
    assert float(capture.scene_box[0, 2]) == pytest.approx(-far)
    assert capture.space_box[0, 2] == pytest.approx(0.9 * near)


def test_capture_all_round_is_laid_out_as_nerfstudio_does(tmp_path):
    poses = ring(8)
    capture = load(write_llff(tmp_path, poses))
    assert capture.kind == "unbounded"
    assert capture.bounds is None
    ours = in_order(capture)
    assert float(ours[:, :, 3].abs().max()) == pytest.approx(1)
    assert (ours[:, 2, 1] > 0).all()  # upright along +z
    torch.testing.assert_close(world(capture, ours).float(), poses, atol=1e-5, rtol=0)


@pytest.mark.parametrize("forward", [False, True])
def test_georeferenced_poses_keep_their_distances(tmp_path, forward):
    """C4."""
    poses = (row(6, spacing=0.7) if forward else ring(6)).double()
    offset = torch.tensor([5e5, 4e6, 300.0]).double()
    poses[:, :, 3] += offset
    write_llff(tmp_path, poses)
    capture = load(tmp_path)
    assert capture.kind == ("forward" if forward else "unbounded")
    ours = in_order(capture)[:, :, 3].double()
    local = poses[:, :, 3] - offset
    torch.testing.assert_close(torch.cdist(ours, ours) / capture.scale, torch.cdist(local, local), atol=1e-5, rtol=0)
    torch.testing.assert_close(world(capture, in_order(capture)), poses, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("downscale", "factor"), [(1, 1), (1.9, 1), (2, 2), (3, 2), (4, 4), (6, 4)])
def test_folder_follows_the_downscale(tmp_path, downscale, factor):
    write_llff(tmp_path, row(3))
    for n in (2, 4):
        write_llff(tmp_path, row(3), f"images_{n}", n)
    views = load(tmp_path, downscale=downscale).train
    assert views.files[0].parent.name == ("images" if factor == 1 else f"images_{factor}")
    assert float(views.cameras.fx[0]) == pytest.approx(FOCAL / downscale, rel=0.2)


def test_the_only_folder_is_used_whatever_the_downscale(tmp_path):
    write_llff(tmp_path, row(3), "images_4", 4)
    views = load(tmp_path, downscale=1).train
    assert views.files[0].parent.name == "images_4"
    assert float(views.cameras.fx[0]) == pytest.approx(FOCAL / 4)
    assert views.size(0) == (HEIGHT // 4, WIDTH // 4)


def test_rounded_sizes_scale_each_axis_by_its_true_ratio(tmp_path):
    write_llff(tmp_path, row(3), "images_5", 5)  # 24×16 over 5 is 4.8×3.2; the pictures are 4×3
    camera = load(tmp_path).train.cameras[0]
    assert camera.size == (3, 4)
    assert camera.fx == pytest.approx(FOCAL * 4 / 24)
    assert camera.fy == pytest.approx(FOCAL * 3 / 16)
    assert (camera.cx, camera.cy) == (2, 1.5)


def spoiled(at: tuple[int, int], value: float) -> np.ndarray:
    rows = poses_bounds(row(3)).copy()
    rows[at] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (spoiled((1, 3), np.nan), "row 1 is not finite"),
        (spoiled((1, 16), np.inf), "row 1 is not finite"),
        (spoiled((2, 0), 0.5), "row 2: the pose is not a rotation"),
        (spoiled((2, 15), -1.0), "row 2 has depths -1 to 8"),
        (spoiled((0, 14), 0.0), "row 0 has height, width, focal"),
        (poses_bounds(row(3))[:, :16], r"shape \[3, 16\]"),
        (np.zeros((0, 17)), r"shape \[0, 17\]"),
        (np.array(["a", "b"]), "not a NumPy array of numbers"),
        (np.array([{}], dtype=object), "not a NumPy array of numbers"),  # a pickle, which is never opened
        (spoiled((1, 3), 1e30), "row 1: the pose lies 1e\\+30 units away"),
    ],
)
def test_bad_poses_bounds(tmp_path, rows, message):
    write_llff(tmp_path, row(3))
    np.save(tmp_path / "poses_bounds.npy", rows, allow_pickle=True)
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path)
    assert "poses_bounds.npy" in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_file(tmp_path):
    write_llff(tmp_path, row(3))
    path = tmp_path / "poses_bounds.npy"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="not a NumPy array of numbers"):
        load(tmp_path)


def test_pictures_that_do_not_pair_up(tmp_path):
    write_llff(tmp_path, row(3))
    write_picture(tmp_path / "images/99.png")
    with pytest.raises(UserError, match=r"3 poses but .* has 4 pictures"):
        load(tmp_path)


def test_picture_of_another_size(tmp_path):
    write_llff(tmp_path, row(3), "images_2", 2)
    write_picture(tmp_path / "images_2/01.png", width=20, height=8)
    with pytest.raises(UserError, match=r"01\.png is 20×8 pixels but its camera 12×8"):
        load(tmp_path)


def test_no_pictures(tmp_path):
    np.save(tmp_path / "poses_bounds.npy", poses_bounds(row(3)))
    with pytest.raises(UserError, match="no pictures in images or images_N"):
        load(tmp_path)

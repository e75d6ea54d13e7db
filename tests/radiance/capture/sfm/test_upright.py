from __future__ import annotations

import numpy as np
import pytest
import street
import torch

from arf.radiance.capture.formats.colmap import GRAVITY
from arf.radiance.capture.library import pycolmap
from arf.radiance.capture.sfm.upright import REACH, camera_to_world, registered, stand_up

POSES = street.around(8, 5.0)


def stood(poses):
    """A reconstruction of these cameras (OpenGL, z up)."""
    colmap = pycolmap()
    made = colmap.Reconstruction()
    made.add_camera_with_trivial_rig(colmap.Camera.create_from_model_name(1, "RADIAL", 300, 320, 240))
    for i, pose in enumerate(poses):
        world = GRAVITY[:, :3].T @ pose  # COLMAP's world
        turn = (world[:, :3] * [1, -1, -1]).T
        rigid = colmap.Rigid3d(colmap.Rotation3d(turn), -turn @ world[:, 3])
        made.add_image_with_trivial_frame(colmap.Image(f"{i}.jpg", [], 1, i + 1), rigid)
    return made


def tilted(poses, angle: float = 0.7):
    """It lies on its side, is moved and shrunk."""
    made, c, s = stood(poses), np.cos(angle), np.sin(angle)
    made.transform(pycolmap().Sim3d(0.1 * np.array([[c, -s, 0, 5], [s, c, 0, -3], [0, 0, 1, 2]])))
    return made


def test_camera_to_world_is_opengls():
    for image, pose in zip(registered(stood(POSES)), POSES, strict=True):
        np.testing.assert_allclose(camera_to_world(image), pose, atol=1e-9)


@pytest.mark.parametrize("angle", [0.7, 2.5])
def test_the_cameras_own_up_is_up(angle):
    made = tilted(POSES, angle)
    stand_up(made, {})
    poses = np.stack([camera_to_world(image) for image in registered(made)])
    np.testing.assert_allclose(poses[:, 2, 0], 0, atol=1e-6)  # their x axes are level
    assert (poses[:, 2, 1] > 0).all()
    assert np.linalg.norm(poses[:, :, 3], axis=1).mean() == pytest.approx(REACH)
    # what they look at is in the middle
    along = -(poses[:, :, 3] * poses[:, :, 2]).sum(1) / np.linalg.norm(poses[:, :, 3], axis=1)
    np.testing.assert_allclose(along, -1, atol=0.02)


def rolled(pose, angle: float):
    """The same camera, turned about its axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.concatenate([pose[:, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), pose[:, 3:]], 1)


@pytest.mark.parametrize("sign", [1, -1])
def test_what_photographs_say_wins(sign):
    poses = [rolled(pose, 0.4) for pose in POSES]  # held askew, all of them
    ups = {f"{i}.jpg": tuple(sign * pose[2, :3]) for i, pose in enumerate(poses)}  # up in their own axes
    made = tilted(poses)
    stand_up(made, ups)
    after = np.stack([camera_to_world(image) for image in registered(made)])
    for pose, before in zip(after, poses, strict=True):
        np.testing.assert_allclose(pose[2, :3], before[2, :3], atol=1e-6)


@pytest.mark.parametrize("ups", [
    {"0.jpg": (1.0, 0.0, 0.0)},  # too few
    {f"{i}.jpg": tuple(np.eye(3)[i % 3]) for i in range(8)},  # of several minds
])  # fmt: skip
def test_what_too_few_say_does_not(ups):
    said, own = tilted(POSES), tilted(POSES)
    stand_up(said, ups)
    stand_up(own, {})
    for a, b in zip(registered(said), registered(own), strict=True):
        np.testing.assert_allclose(camera_to_world(a), camera_to_world(b), atol=1e-9)


def test_points_come_along():
    made = tilted(POSES)
    colmap, seen = pycolmap(), registered(made)[0]
    place = seen.projection_center() + 0.2 * seen.viewing_direction()
    made.add_point3D(place, colmap.Track())
    before = seen.cam_from_world() * place
    stand_up(made, {})
    point = next(iter(made.points3D.values())).xyz
    after = registered(made)[0].cam_from_world() * point
    assert after / np.linalg.norm(after) == pytest.approx(before / np.linalg.norm(before), abs=1e-9)
    assert torch.isfinite(torch.from_numpy(point)).all()

"""Views to film between, and what every camera path must be."""

from __future__ import annotations

import torch
from captures import FOCAL, HEIGHT, WIDTH

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.views import Views
from arf.radiance.film.paths import CameraPath


def views_of(poses: torch.Tensor) -> Views:
    """Views without photographs."""
    return Views(Cameras.of(poses, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT), [])


def assert_rigid(path: CameraPath) -> None:
    rotations = path.cameras.poses[:, :, :3]
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand_as(rotations), atol=1e-5, rtol=0)
    assert (torch.linalg.det(rotations) > 0).all()

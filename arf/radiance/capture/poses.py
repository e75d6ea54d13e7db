"""Rigid camera poses [R | t], OpenGL camera-to-world: x right, y up, the camera looks along −z."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from arf.errors import UserError

ROTATION_TOLERANCE = 1e-2  # of every entry of RᵀR/s² − 1, and of the uniform scale s − 1


def check_pose(matrix: object, where: str) -> np.ndarray:
    """A camera-to-world matrix from a file as float64 [3, 4] or [4, 4], or a UserError that starts with `where`.

    Small errors of rounding and a uniform scale within 1 % are tolerated: rays are normalised after rotation.
    """
    try:
        pose = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: the pose is not a matrix of numbers; export the cameras again") from error
    if pose.shape not in ((3, 4), (4, 4)):
        raise UserError(f"{where}: the pose has shape {list(pose.shape)}, not [4, 4]; export the cameras again")
    if not np.isfinite(pose).all():
        raise UserError(f"{where}: the pose is not finite; remove the frame or export the cameras again")
    rotation = pose[:3, :3]
    determinant = np.linalg.det(rotation)
    if determinant < 0:
        raise UserError(f"{where}: the pose mirrors space (determinant {determinant:.3g}), which no camera does")
    scale = np.cbrt(determinant)
    gram = rotation.T @ rotation / max(scale, 1e-9) ** 2
    if abs(scale - 1) > ROTATION_TOLERANCE or np.abs(gram - np.eye(3)).max() > ROTATION_TOLERANCE:
        raise UserError(f"{where}: the pose is not a rotation and a translation (determinant {determinant:.3g})")
    return pose


def to_square(poses: Float[Tensor, "*n 3 4"]) -> Float[Tensor, "*n 4 4"]:
    """Append the row [0, 0, 0, 1]."""
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=poses.dtype).expand(*poses.shape[:-2], 1, 4)
    return torch.cat([poses, last], dim=-2)


def looks_forward(poses: Float[Tensor, "n 3 4"], within: float) -> bool:
    """Whether every camera looks within so many degrees of the mean direction."""
    back = poses[:, :, 2]
    return bool((back @ normalize(back.mean(0), dim=0) > math.cos(math.radians(within))).all())


def mean_pose(poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, "3 4"]:
    """The pose at the mean position, with the mean viewing direction and the mean up direction, orthonormalised."""
    return frame(poses[:, :, 3].mean(0), poses[:, :, 2].mean(0), poses[:, :, 1].mean(0))


def look_at(
    position: Float[Tensor, "*n 3"], target: Float[Tensor, "*n 3"], up: Float[Tensor, " 3"]
) -> Float[Tensor, "*n 3 4"]:
    """Poses at `position` whose optical axis passes through `target`, upright with respect to `up`."""
    return frame(position, position - target, up)


def frame(
    position: Float[Tensor, "*n 3"], back: Float[Tensor, "*n 3"], up: Float[Tensor, " 3"]
) -> Float[Tensor, "*n 3 4"]:
    """Poses [x | y | z | position] with z along `back` and y as near to `up` as orthogonality allows."""
    z = normalize(back, dim=-1)
    x = normalize(torch.linalg.cross(up.expand_as(z), z), dim=-1)
    return torch.stack([x, torch.linalg.cross(z, x), z, position], dim=-1)  # [*n, 3, 4]


def focus_point(poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, " 3"]:
    """The point nearest to all optical axes in the least-squares sense: what the cameras look at together.

    It minimises Σᵢ ‖(I − dᵢdᵢᵀ)(p − oᵢ)‖². Where parallel axes leave the depth open, the solution nearest to the mean
    position is taken.
    """
    directions, origins = -poses[:, :, 2].double(), poses[:, :, 3].double()
    centre = origins.mean(0)
    projections = torch.eye(3, dtype=torch.float64) - directions[:, :, None] * directions[:, None, :]  # [n, 3, 3]
    offsets = projections @ (origins - centre)[:, :, None]  # [n, 3, 1]
    solution = torch.linalg.lstsq(projections.sum(0), offsets.sum(0), rcond=1e-6, driver="gelsd").solution
    return (centre + solution[:, 0]).to(poses.dtype)

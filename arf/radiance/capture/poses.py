"""Rigid camera poses [R | t], OpenGL camera-to-world: x right, y up, the camera looks along −z.

They are read in float64 and moved into the scene's frame there: positions are centred before they are rotated, scaled
and cast, since georeferenced ones are millions of metres from their origin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import normalize

from arf.errors import UserError

ROTATION_TOLERANCE = 1e-2  # of every entry of RᵀR/s² − 1, and of the uniform scale s − 1
FARTHEST = 1e10  # from the origin of the capture's frame: even millimetres on the globe are nearer
ALIKE = 0.17  # of the second singular value: cosine of 80°, below which the cameras' x axes are as good as parallel

Orientation = Literal["up", "vertical", "pca", "none"]
Centre = Literal["poses", "focus", "none"]


def check_pose(matrix: object, where: str) -> np.ndarray:
    """A camera-to-world matrix from a file as float64 [3, 4] or [4, 4], or a UserError that starts with `where`.

    Small errors of rounding and a uniform scale within 1 % are tolerated: rays are normalised after rotation.
    """
    try:
        pose = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: the pose is not a matrix of numbers; export the cameras again") from error
    if pose.shape not in ((3, 4), (4, 4)):
        raise UserError(f"{where}: the pose has shape {list(pose.shape)}, not [4, 4]; export the cameras again")
    if not np.isfinite(pose).all():
        raise UserError(f"{where}: the pose is not finite; remove the frame or export the cameras again")
    if np.abs(pose[:3, 3]).max() > FARTHEST:
        raise UserError(f"{where}: the pose lies {np.abs(pose[:3, 3]).max():.3g} units away; export the cameras again")
    rotation = pose[:3, :3]
    if np.abs(rotation).max() > 10:  # far from 1, and perhaps too large to be squared
        raise UserError(
            f"{where}: the pose is not a rotation and a translation (entries of {np.abs(rotation).max():.3g})"
        )
    determinant = np.linalg.det(rotation)
    if determinant < 0:
        raise UserError(f"{where}: the pose mirrors space (determinant {determinant:.3g}), which no camera does")
    scale = np.cbrt(determinant)
    gram = rotation.T @ rotation / max(scale, 1e-9) ** 2
    if abs(scale - 1) > ROTATION_TOLERANCE or np.abs(gram - np.eye(3)).max() > ROTATION_TOLERANCE:
        raise UserError(f"{where}: the pose is not a rotation and a translation (determinant {determinant:.3g})")
    return pose


@dataclass(frozen=True)
class Placement:
    """The similarity x ↦ scale · rotation (x − centre) from a capture's own frame into the scene's, in float64."""

    rotation: Float[Tensor, "3 3"]
    centre: Float[Tensor, " 3"]
    scale: float = 1.0

    def __call__(self, poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, "n 3 4"]:
        """Camera-to-world poses in the scene."""
        positions = self.scale * (poses[:, :, 3] - self.centre) @ self.rotation.T  # [n, 3]
        return torch.cat([self.rotation @ poses[:, :, :3], positions[:, :, None]], dim=2)

    @property
    def transform(self) -> Float[Tensor, "3 4"]:
        """[R | −R c], so that x_scene = scale · (R x − R c)."""
        return torch.cat([self.rotation, -(self.rotation @ self.centre)[:, None]], dim=1)

    @property
    def motion(self) -> Float64[np.ndarray, "3 4"]:
        """[s R | −s R c], so that x_scene = s R x − s R c."""
        return (self.scale * self.transform).numpy()


Layout = Callable[[Float[Tensor, "n 3 4"], Orientation | None], Placement]
"""Where a reader puts a scene, by its cameras, in float64, and the orientation that its files ask for."""


def place(poses: Float[Tensor, "n 3 4"], orientation: Orientation, centre: Centre) -> Placement:
    """nerfstudio's frame: +z up, the origin amid the cameras or where they look, positions within [−1, 1].

    Args:
        poses: float64.
        orientation: "up": the mean up direction becomes +z. "vertical": the direction that is most nearly upright in
            all pictures does. "pca": the positions' principal axes become x, y and z, the smallest z. "none".
        centre: the mean position, the focus of attention, or none: where it was.
    """
    mean = poses[:, :, 3].mean(0)
    centred = torch.cat([poses[:, :, :3], (poses[:, :, 3] - mean)[:, :, None]], dim=2)
    middle = (
        _focus_of_attention(centred) if centre == "focus" else -mean if centre == "none" else torch.zeros_like(mean)
    )
    rotation = _orient(centred, orientation)
    reach = ((centred[:, :, 3] - middle) @ rotation.T).abs().max().item()
    return Placement(rotation, mean + middle, 1 / reach if reach else 1.0)


def _focus_of_attention(poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, " 3"]:
    """The point nearest to the axes of all cameras that have it in front of them, found by leaving others out until
    none is; the origin where fewer than two cameras look that way."""
    focus = torch.zeros(3, dtype=poses.dtype)

    def before(point: Tensor) -> Tensor:
        return (-poses[:, :, 2] * (point - poses[:, :, 3])).sum(1) > 0

    active = before(focus)
    while active.sum() > 1:
        poses = poses[active]
        focus = focus_point(poses)
        active = before(focus)
        if active.all():
            break
    return focus


def _orient(poses: Float[Tensor, "n 3 4"], orientation: Orientation) -> Float[Tensor, "3 3"]:
    """The rotation of `place`, of centred poses."""
    if orientation == "none":
        return torch.eye(3, dtype=poses.dtype)
    up = normalize(poses[:, :, 1].mean(0), dim=0)
    if orientation == "pca":
        axes = torch.linalg.eigh(poses[:, :, 3].T @ poses[:, :, 3]).eigenvectors.flip(1).T  # rows, the largest first
        axes = axes * torch.where(axes[2] @ up < 0, -1.0, 1.0)  # upright
        return torch.cat([axes[:1] * torch.linalg.det(axes).sign(), axes[1:]])
    return turn_up(vertical(poses) if orientation == "vertical" else up)


def vertical(poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, " 3"]:
    """The unit direction that is most nearly upright in all pictures: orthogonal to their x axes, as far as can be, on
    the side of their mean y axis. People hold cameras level far more often than they look straight ahead."""
    up = normalize(poses[:, :, 1].mean(0), dim=0)
    _, singular, across = torch.linalg.svd(poses[:, :, 0].double(), full_matrices=False)  # [n, 3]
    across = across.to(up)
    if len(poses) > 2 and singular[1] > ALIKE * math.sqrt(len(poses)):
        return across[2] * torch.where(across[2] @ up < 0, -1.0, 1.0)
    return normalize(up - across[0] * (across[0] @ up), dim=0)  # a row of cameras leaves a plane of such directions


def turn_up(up: Float[Tensor, " 3"]) -> Float[Tensor, "3 3"]:
    """The smallest rotation that takes a unit vector to +z: 1 + K + K²/(1 + cos) with K = [up × z]ₓ."""
    x, y, z = up.tolist()
    if z < -1 + 1e-12:
        return torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=up.dtype))
    cross = torch.tensor([[0, 0, -x], [0, 0, -y], [x, y, 0]], dtype=up.dtype)
    return torch.eye(3, dtype=up.dtype) + cross + cross @ cross / (1 + z)


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

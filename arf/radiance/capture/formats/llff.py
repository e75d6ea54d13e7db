"""LLFF captures: `poses_bounds.npy` beside `images` or `images_N`.

Row i of the [N, 17] array is a 3×5 matrix and two numbers: the camera-to-world axes [down, right, backwards], the
position, (height, width, focal) in pixels of the original photograph; the nearest and farthest depth of the scene. Rows
pair up with the pictures in the order of their names.

A forward-facing world is recentred on the mean camera, which then sits at the origin, upright along +y, and looks
along −z (as NDC rays assume), and scaled so that the nearest depth is 4/3, as LLFF's own `bd_factor = 0.75` does.
Captures all round, which also come in this format, are laid out as nerfstudio does: +z up, cameras within [−1, 1].
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.radiance.capture.files import picture_files, picture_folders
from arf.radiance.capture.formats.points import PointFile, find_points
from arf.radiance.capture.lens import Lens
from arf.radiance.capture.poses import Placement, check_pose, looks_forward, mean_pose, place
from arf.radiance.capture.shots import Reading, Shot, cube

POSES = "poses_bounds.npy"
MODEL = "sparse/0"  # where LLFF's imgs2poses has COLMAP put its model
NEAREST = 4 / 3  # depth of the nearest point after scaling
FORWARD = 45.0  # degrees from the mean direction, within which all cameras of a forward-facing capture look


def read_llff(root: Path) -> Reading:
    """A capture with `poses_bounds.npy`.

    Raises:
        UserError: it is damaged, or does not pair up with the pictures.
    """
    poses, hwf, depths = read_poses_bounds(root / POSES)
    files = _paired(root, len(poses))
    lenses = [_pinhole(*row) for row in hwf.tolist()]
    shots = [
        Shot(
            name=next(iter(pictures.values())).name,
            pose=pose,
            lens=lambda _, lens=lens: lens,
            files=pictures,
        )
        for pose, lens, pictures in zip(poses.numpy(), lenses, files, strict=True)
    ]
    found = find_points(root / MODEL)
    points = found and PointFile(found, np.eye(3, 4))  # imgs2poses keeps COLMAP's world
    if not looks_forward(poses, FORWARD):
        return Reading(shots, place(poses, "up", "poses"), "unbounded", cube(), points=points)
    mean, (near, far) = mean_pose(poses), (depths.min().item(), depths.max().item())
    placement = Placement(mean[:, :3].T, mean[:, 3], NEAREST / near)
    bounds = (near * placement.scale, far * placement.scale)
    return Reading(shots, placement, "forward", _frusta_box(placement(poses), hwf, *bounds), bounds, points=points)


def read_poses_bounds(path: Path) -> tuple[Float[Tensor, "n 3 4"], Float[Tensor, "n 3"], Float[Tensor, "n 2"]]:
    """OpenGL camera-to-world matrices, (height, width, focal) and (near, far) of `poses_bounds.npy`, all float64.

    Raises:
        UserError: missing, no NumPy array, of another shape, or with values that no camera has.
    """
    if refusal := cannot_read(path, "NumPy file"):
        raise refusal
    try:
        rows = np.load(path, allow_pickle=False)
        rows = np.asarray(rows).astype(np.float64, casting="same_kind")  # no complex numbers
    except Exception as error:  # damaged headers raise anything from ValueError to SyntaxError
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} is not a NumPy array of numbers ({reason}); run LLFF's imgs2poses again") from error
    if rows.ndim != 2 or rows.shape[1] != 17 or not len(rows):
        raise UserError(f"{path} has shape {list(rows.shape)}, not [N, 17]; run LLFF's imgs2poses again")
    bad = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(bad):
        raise UserError(f"{path}: row {bad[0]} is not finite; remove it and its picture, or run imgs2poses again")
    blocks = rows[:, :15].reshape(-1, 3, 5)
    down, right, back, position = (blocks[:, :, i] for i in range(4))
    poses = np.stack([right, -down, back, position], axis=2)  # [N, 3, 4]
    for i, (pose, (near, far)) in enumerate(zip(poses, rows[:, 15:], strict=True)):
        check_pose(pose, f"{path}: row {i}")
        if not 0 < near < far:
            raise UserError(f"{path}: row {i} has depths {near:g} to {far:g}; they must be positive and rising")
        if blocks[i, :, 4].min() < 1:
            raise UserError(f"{path}: row {i} has height, width, focal {blocks[i, :, 4].tolist()}, below one pixel")
    return tuple(torch.from_numpy(part.copy()) for part in (poses, blocks[:, :, 4], rows[:, 15:]))


def _paired(root: Path, count: int) -> list[dict[int, Path]]:
    """For each row its pictures, by factor, of those folders that hold as many as there are rows."""
    folders = picture_folders(root)
    if not folders:
        raise UserError(f"{root}: no pictures in images or images_N; put the photographs there")
    files = {n: picture_files(folder) for n, folder in folders.items()}
    whole = {n: pictures for n, pictures in files.items() if len(pictures) == count}
    if not whole:
        factor, pictures = next(iter(files.items()))
        raise UserError(
            f"{root / POSES} has {count} poses but {folders[factor]} has {len(pictures)} pictures; "
            "they pair up by name, so restore the missing ones"
        )
    return [{n: pictures[i] for n, pictures in whole.items()} for i in range(count)]


def _pinhole(height: float, width: float, focal: float) -> Lens:
    return Lens("PINHOLE", (focal, focal, width / 2, height / 2), round(width), round(height))


def _frusta_box(
    poses: Float[Tensor, "n 3 4"], hwf: Float[Tensor, "n 3"], near: float, far: float
) -> Float[Tensor, "2 3"]:
    """The box around everything that some camera sees between the two depths."""
    y, x, _ = (hwf / hwf[:, 2:] / 2).unbind(1)  # [n] tangents of the half angles; the principal point is the centre
    corners = [torch.stack([sx * x, sy * y, -torch.ones_like(x)], 1) for sx in (-1, 1) for sy in (-1, 1)]
    corners = torch.stack(corners, 1)  # [n, 4, 3]
    points = torch.cat([corners * near, corners * far], dim=1)  # [n, 8, 3] in the camera
    points = (points @ poses[:, :, :3].transpose(1, 2) + poses[:, None, :, 3]).reshape(-1, 3)
    return torch.stack([points.amin(0), points.amax(0)]).float()

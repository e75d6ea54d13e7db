"""LLFF captures: `poses_bounds.npy` beside `images` or `images_N`, which nerfstudio cannot read.

Row i of the [N, 17] array is a 3×5 matrix and two numbers: the camera-to-world axes [down, right, backwards], the
position, (height, width, focal) in pixels of the original photograph; the nearest and farthest depth of the scene. Rows
pair up with the pictures in the order of their names.

A forward-facing world is recentred on the mean camera, which then sits at the origin, upright along +y, and looks
along −z (as NDC rays assume), and scaled so that the nearest depth is 4/3, as LLFF's own `bd_factor = 0.75` does.
Captures all round, which also come in this format, are laid out as nerfstudio does: +z up, cameras within [−1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.camera_utils import auto_orient_and_center_poses
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.radiance.capture.pictures import choose_folder, match_pictures, picture_files, picture_folders
from arf.radiance.capture.poses import check_pose, looks_forward, mean_pose, to_square

POSES = "poses_bounds.npy"
NEAREST = 4 / 3  # depth of the nearest point after scaling
FORWARD = 45.0  # degrees from the mean direction, within which all cameras of a forward-facing capture look


@dataclass
class LLFFDataParserConfig(DataParserConfig):
    """An LLFF capture, every view in every split: the split is made by whoever asks (`CaptureDataParserConfig`)."""

    _target: type = field(default_factory=lambda: LLFFDataParser)
    data: Path = Path()
    """Folder with poses_bounds.npy."""
    downscale: float = 1.0
    """Which folder to read: the smallest images_N with N ≤ downscale, else the largest pictures that exist."""


@dataclass
class LLFFDataParser(DataParser):
    """Reads `poses_bounds.npy`.

    `metadata` holds `kind` ("forward" or "unbounded"), `bounds` ((near, far), None if unbounded), and `factor`, the N
    of images_N.
    """

    config: LLFFDataParserConfig

    def _generate_dataparser_outputs(self, split: str = "train", **_: object) -> DataparserOutputs:
        root = self.config.data
        matrices, hwf, depths = read_poses_bounds(root / POSES)
        folders = picture_folders(root)
        if not folders:
            raise UserError(f"{root}: no pictures in images or images_N; put the photographs there")
        factor = choose_folder(folders, self.config.downscale)
        files = picture_files(folders[factor])
        if len(files) != len(matrices):
            raise UserError(
                f"{root / POSES} has {len(matrices)} poses but {folders[factor]} has {len(files)} pictures; "
                "they pair up by name, so restore the missing ones"
            )
        forward = looks_forward(matrices, FORWARD)
        if forward:
            transform = _inverse(mean_pose(matrices))  # [3, 4]
            scale = NEAREST / depths.min().item()
        else:
            _, transform = auto_orient_and_center_poses(to_square(matrices).float(), method="up", center_method="poses")
            scale = 1 / (transform.double() @ to_square(matrices))[:, :, 3].abs().max().item()
        poses = transform.double() @ to_square(matrices)  # [N, 3, 4]
        poses[:, :, 3] *= scale
        height, width, focal = hwf.unbind(1)
        cameras = Cameras(
            camera_to_worlds=poses.float(),
            fx=focal.float(),
            fy=focal.float(),
            cx=width.float() / 2,
            cy=height.float() / 2,
            width=width.round().long(),
            height=height.round().long(),
            camera_type=CameraType.PERSPECTIVE,
        )
        match_pictures(cameras, files, factor)
        bounds = (depths.min().item() * scale, depths.max().item() * scale)
        return DataparserOutputs(
            image_filenames=files,
            cameras=cameras,
            scene_box=_frusta_box(cameras, *bounds) if forward else SceneBox(torch.tensor([[-1.0] * 3, [1.0] * 3])),
            dataparser_transform=transform.float(),
            dataparser_scale=scale,
            metadata={
                "kind": "forward" if forward else "unbounded",
                "bounds": bounds if forward else None,
                "factor": factor,
            },
        )


def read_poses_bounds(path: Path) -> tuple[Float[Tensor, "n 3 4"], Float[Tensor, "n 3"], Float[Tensor, "n 2"]]:
    """OpenGL camera-to-world matrices, (height, width, focal) and (near, far) of `poses_bounds.npy`, all float64.

    Raises:
        UserError: missing, no NumPy array, of another shape, or with values that no camera has.
    """
    if refusal := cannot_read(path, "NumPy file"):
        raise refusal
    try:
        rows = np.load(path, allow_pickle=False)
        rows = np.asarray(rows, dtype=np.float64)
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


def _inverse(pose: Float[Tensor, "3 4"]) -> Float[Tensor, "3 4"]:
    """World-to-camera of a rigid pose: [Rᵀ | −Rᵀt]."""
    rotation = pose[:, :3].T
    return torch.cat([rotation, -rotation @ pose[:, 3:]], dim=1)


def _frusta_box(cameras: Cameras, near: float, far: float) -> SceneBox:
    """The box around everything that some camera sees between the two depths."""
    x, y = cameras.cx / cameras.fx, cameras.cy / cameras.fy  # [N, 1]: half angles; the principal point is the centre
    corners = torch.stack([torch.cat([sx * x, sy * y, -torch.ones_like(x)], 1) for sx in (-1, 1) for sy in (-1, 1)], 1)
    points = torch.cat([corners * near, corners * far], dim=1)  # [N, 8, 3] in the camera
    poses = cameras.camera_to_worlds
    points = (points @ poses[:, :, :3].transpose(1, 2) + poses[:, None, :, 3]).reshape(-1, 3)
    return SceneBox(aabb=torch.stack([points.amin(0), points.amax(0)]))

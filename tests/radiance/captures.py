"""Tiny captures that tests write: a ring of pinhole cameras around the origin, with pictures of their own number."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.capture.poses import look_at, to_square
from arf.radiance.capture.views import Capture, Views

WIDTH, HEIGHT, FOCAL = 24, 16, 20.0


def ring(count: int, radius: float = 2.0, height: float = 0.5, arc: float = 2 * math.pi) -> Tensor:
    """Cameras on a circle (or an arc of it) at z = height that look at the origin: [count, 3, 4]."""
    angles = torch.arange(count) * (arc / count)
    positions = torch.stack([radius * angles.cos(), radius * angles.sin(), torch.full_like(angles, height)], 1)
    return look_at(positions, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))


def row(count: int, spacing: float = 0.1) -> Tensor:
    """Parallel cameras side by side that look along −z, y up: [count, 3, 4]."""
    poses = torch.eye(4)[:3].repeat(count, 1, 1)
    poses[:, 0, 3] = torch.arange(count) * spacing
    return poses


def write_picture(path: Path, value: int = 128, width: int = WIDTH, height: int = HEIGHT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), value, dtype=np.uint8)
    pixels[:, : width // 2, 0] = 255  # left half red, so that mirrored or transposed reading shows
    Image.fromarray(pixels).save(path)


def transforms(poses: Tensor, **extra: Any) -> dict[str, Any]:
    """A nerfstudio transforms.json for pictures images/00.png and so on."""
    frames = [
        {"file_path": f"images/{i:02d}.png", "transform_matrix": pose.tolist()}
        for i, pose in enumerate(to_square(poses))
    ]
    intrinsics = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2, "w": WIDTH, "h": HEIGHT}
    return {"camera_model": "OPENCV", **intrinsics, "frames": frames, **extra}


def write_transforms(root: Path, poses: Tensor, **extra: Any) -> Path:
    """A whole capture in nerfstudio's format; `extra` goes into the JSON."""
    for i in range(len(poses)):
        write_picture(root / f"images/{i:02d}.png", value=i)
    (root / "transforms.json").write_text(json.dumps(transforms(poses, **extra)))
    return root


def poses_bounds(poses: Tensor, near: float = 2.0, far: float = 8.0) -> np.ndarray:
    """Rows of LLFF's poses_bounds.npy for OpenGL poses: [n, 17]."""
    right, up, back, position = (poses[:, :, i].double().numpy() for i in range(4))
    hwf = np.broadcast_to([HEIGHT, WIDTH, FOCAL], right.shape)
    blocks = np.stack([-up, right, back, position, hwf], axis=2)  # [n, 3, 5]
    depths = np.broadcast_to([near, far], (len(poses), 2))
    return np.concatenate([blocks.reshape(len(poses), 15), depths], axis=1)


def write_llff(root: Path, poses: Tensor, folder: str = "images", shrink: int = 1) -> Path:
    for i in range(len(poses)):
        write_picture(root / folder / f"{i:02d}.png", i, WIDTH // shrink, HEIGHT // shrink)
    np.save(root / "poses_bounds.npy", poses_bounds(poses))
    return root


def load(data: Path, **options: Any) -> Capture:
    return load_capture(CaptureConfig(data=data, **options))


def names(views: Views) -> list[str]:
    return [path.name for path in views.files]


def original_poses(capture: Capture, views: Views) -> Tensor:
    """Undo x' = scale · T x by hand: float64 [n, 3, 4]."""
    poses = views.cameras.poses.double()
    poses[:, :, 3] /= capture.scale
    return (torch.linalg.inv(to_square(capture.transform)) @ to_square(poses))[:, :3]


def views_of(poses: Tensor, **options: object) -> Views:
    """Views of these poses without photographs."""
    size = {"width": WIDTH, "height": HEIGHT, "cx": WIDTH / 2, "cy": HEIGHT / 2}
    return Views(Cameras.of(poses, fx=FOCAL, fy=FOCAL, **(size | options)), [])

"""A reconstruction as a capture that arf, nerfstudio, instant-ngp and COLMAP's friends open."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arf.jobs.files import atomic_path, cannot_write, write_json
from arf.radiance.capture.formats.colmap import GRAVITY
from arf.radiance.capture.intake.photographs import fill_masks
from arf.radiance.capture.intake.taken import IMAGES, MASKS, Taken
from arf.radiance.capture.library import pycolmap
from arf.radiance.capture.sfm.upright import camera_to_world, registered

MODEL, POINTS, TRANSFORMS = Path("colmap", "sparse", "0"), "sparse_pc.ply", "transforms.json"
AROUND = 16  # instant-ngp: how far a scene goes on around its unit cube
Json = dict[str, Any]


def write_capture(piece: Any, folder: Path, taken: Mapping[str, Taken]) -> None:
    """Write transforms.json with the lenses as OpenCV has them, the points, and the model in COLMAP's own format.

    Raises:
        UserError: a file cannot be written.
    """
    _write_model(piece, folder / MODEL)
    _write_points(piece, folder / POINTS)
    images = registered(piece)
    lenses = {number: _lens(camera) for number, camera in piece.cameras.items()}
    one = next(iter(lenses.values())) if len({image.camera_id for image in images}) == 1 else None
    masked = any(taken[image.name].mask for image in images)
    if masked:  # nerfstudio wants one for all, or none
        fill_masks(folder / MASKS, [taken[image.name] for image in images])
    frames = []
    for image in images:
        frame = {"file_path": f"{IMAGES}/{image.name}"} | ({} if one else lenses[image.camera_id])
        if masked:
            frame["mask_path"] = f"{MASKS}/{image.name}.png"
        pose = np.concatenate([camera_to_world(image), [[0, 0, 0, 1]]])
        frames.append({**frame, "transform_matrix": pose.tolist()})
    write_json(
        folder / TRANSFORMS,
        {
            "camera_model": "OPENCV",
            **(lenses[images[0].camera_id] if one else {}),
            "aabb_scale": AROUND,
            "orientation_override": "none",  # it is upright
            "applied_transform": GRAVITY.tolist(),
            "ply_file_path": POINTS,
            "frames": frames,
        },
    )


def _lens(camera: Any) -> Json:
    """Of SIMPLE_RADIAL (f, cx, cy, k1) and RADIAL (…, k2)."""
    focal, cx, cy, *radial = map(float, camera.params)
    k1, k2 = (*radial, 0.0)[:2]
    size = {"w": camera.width, "h": camera.height}
    return {"fl_x": focal, "fl_y": focal, "cx": cx, "cy": cy, **size, "k1": k1, "k2": k2, "p1": 0.0, "p2": 0.0}


def _write_model(piece: Any, folder: Path) -> None:
    """All files of the model, or those that were there before."""
    half = folder.with_name(".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    piece.write(half)  # which does not notice a full disk
    try:
        complete = pycolmap().Reconstruction(half).num_points3D() == piece.num_points3D()
    except (ValueError, RuntimeError):
        complete = False
    if not complete:
        shutil.rmtree(half)
        raise cannot_write(folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(half, folder)


def _write_points(piece: Any, path: Path) -> None:
    import trimesh  # imports slowly

    points = [piece.points3D[number] for number in sorted(piece.point3D_ids())]
    places = np.array([point.xyz for point in points]).reshape(-1, 3) @ GRAVITY[:, :3].T
    colors = np.array([point.color for point in points], np.uint8).reshape(-1, 3)
    with atomic_path(path) as temporary:
        temporary.write_bytes(trimesh.PointCloud(places, colors).export(file_type="ply"))

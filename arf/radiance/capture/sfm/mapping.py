"""Cameras and points from matches, by COLMAP's incremental mapper (Schönberger and Frahm, "Structure-from-Motion
Revisited", CVPR 2016)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from arf.radiance.capture.library import pycolmap
from arf.radiance.capture.sfm.native import watched

SEED = 0  # of every random draw
SMALLEST = 3  # pictures of a piece
LOOKED_AT = 2000  # points whose angles are measured


def reconstruct(
    database: Path,
    images: Path,
    output: Path,
    threads: int,
    plain: bool,
    pixels: float,
    told: Callable[[int], None],
    start: Any | None = None,
) -> list[Any]:
    """The pieces in which the pictures hang together, the one of most pictures first.

    Args:
        output: a folder of COLMAP's for the time being.
        plain: whether features are few, so that less must do.
        pixels: that a point may be off.
        start: a piece to go on with; there is no other then.

    Raises:
        KeyboardInterrupt: `told` does.
    """
    colmap, placed = pycolmap(), [0]
    options = colmap.IncrementalPipelineOptions()
    options.num_threads, options.random_seed, options.min_model_size = threads, SEED, SMALLEST
    options.mapper.num_threads, options.mapper.random_seed = threads, SEED
    options.triangulation.random_seed = SEED
    options.mapper.init_max_error = options.mapper.filter_max_reproj_error = pixels
    options.mapper.abs_pose_max_error = 3 * pixels
    options.triangulation.merge_max_reproj_error = options.triangulation.complete_max_reproj_error = pixels
    if plain:
        options.mapper.init_min_num_inliers, options.mapper.abs_pose_min_num_inliers = 30, 15
        options.structure_less_registration_fallback = False  # with so little it puts cameras anywhere
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)

    begun = ""
    if start is not None:
        begun, options.multiple_models = output / "start", False
        begun.mkdir()
        start.write(begun)

    def one_more() -> None:
        placed[0] += 1

    def work(token: Any) -> dict[int, Any]:
        return colmap.incremental_mapping(
            database, images, output, options, begun, one_more, one_more, cancellation_token=token
        )

    try:
        pieces = watched(work, lambda: placed[0], told)
    finally:
        shutil.rmtree(output, ignore_errors=True)
    whole = [piece for piece in pieces.values() if piece.num_reg_images() >= SMALLEST]
    return sorted(whole, key=lambda piece: -piece.num_reg_images())


def parallax(piece: Any) -> float:
    """The median angle in degrees under which a point is seen from the two cameras that are farthest apart for it."""
    centres = {number: piece.images[number].projection_center() for number in piece.reg_image_ids()}
    angles, numbers = [], sorted(piece.point3D_ids())
    for number in numbers[:: max(1, len(numbers) // LOOKED_AT)]:
        point = piece.points3D[number]
        rays = np.stack([point.xyz - centres[element.image_id] for element in point.track.elements])  # [n, 3]
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        angles.append(np.degrees(np.arccos(np.clip((rays @ rays.T).min(), -1, 1))))
    return float(np.median(angles)) if angles else 0.0

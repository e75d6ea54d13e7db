"""Cameras and points from matches, by COLMAP's incremental mapper (Schönberger and Frahm, "Structure-from-Motion
Revisited", CVPR 2016)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from arf.radiance.capture.library import pycolmap
from arf.radiance.capture.sfm.native import Colmap

SMALLEST = 3  # pictures of a piece
LOOKED_AT = 2000  # points whose angles are measured


def reconstruct(
    colmap: Colmap,
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
        output: a folder for the time being.
        plain: whether features are few, so that less must do.
        pixels: that a point may be off.
        start: a piece to go on with; there is no other then.

    Raises:
        KeyboardInterrupt: `told` does.
    """
    shutil.rmtree(output, ignore_errors=True)
    try:
        begun = output / "start" if start else ""
        (begun or output).mkdir(parents=True)
        if start:
            start.write(begun)
        values = {"threads": threads, "plain": plain, "pixels": pixels, "smallest": SMALLEST}
        made = colmap.do("reconstruct", told, database=database, images=images, output=output, start=begun, **values)
        pieces = [pycolmap().Reconstruction(folder) for folder in made]
    finally:
        shutil.rmtree(output, ignore_errors=True)
    whole = [piece for piece in pieces if piece.num_reg_images() >= SMALLEST]
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

"""A scene as a page to walk through."""

from __future__ import annotations

from pathlib import Path

import torch

from arf.errors import UserError
from arf.radiance.capture.views import Capture
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.paths.choice import camera_path
from arf.radiance.paths.shapes import CameraPath
from arf.radiance.share.page.page import write_page
from arf.radiance.share.shared import Shared

POSTER = 960  # pixels of its longer side


def write_walk(path: Path, scene: Shared, ride: str, frames: int, fps: float) -> int:
    """Write the page and return its size in bytes.

    Args:
        ride: a path's name or file; "auto": orbit, where the views look at one point, else interpolate.

    Raises:
        UserError: no such path, or cameras that are no pinholes.
    """
    way = ride_of(scene.capture, ride, frames, fps)
    if way.cameras.kind != "pinhole":
        raise UserError(f"{ride}: its cameras are {way.cameras.kind}, a page shows perspective ones")
    first, paint = way.cameras[0], scene.paints[min(1, len(scene.paints) - 1)]  # what is chosen when it opens
    scale = POSTER / max(first.size)
    poster = first.resized(max(1, round(first.width * scale)), max(1, round(first.height * scale)))
    field = SplatField(scene.splats, paint.background, torch.device("cpu"), scene.antialiased)
    shown = field.render(poster, paint.colors, paint.background).clamp(0, 1)
    return write_page(
        path, scene.splats, scene.paints, way.cameras, way.fps, shown, scene.capture.name, scene.antialiased
    )


def ride_of(capture: Capture, name: str, frames: int, fps: float) -> CameraPath:
    """The camera path of a page's ride."""
    if name != "auto":
        return camera_path(capture, name, frames, fps)
    try:
        return camera_path(capture, "orbit", frames, fps)
    except UserError:  # they look at no common point
        return camera_path(capture, "interpolate", frames, fps)

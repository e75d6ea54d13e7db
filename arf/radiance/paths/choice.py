"""The camera path that is asked for by name."""

from __future__ import annotations

from pathlib import Path

from arf.errors import UserError
from arf.radiance.capture.views import Capture
from arf.radiance.paths import files, shapes
from arf.radiance.paths.shapes import CameraPath


def camera_path(
    capture: Capture, name: str, frames: int, fps: float, width: int | None = None, height: int | None = None
) -> CameraPath:
    """The path of a name over the training views; of a file, as it says.

    Raises:
        UserError: neither a known kind of path nor a file.
    """
    size = {"width": width, "height": height}
    if name == "spiral":
        return shapes.spiral(capture.train, frames, fps=fps, bounds=capture.bounds, **size)
    if name in ("orbit", "interpolate"):
        return getattr(shapes, name)(capture.train, frames, fps=fps, **size)
    if not Path(name).suffix:
        raise UserError(f"no path {name!r}; it is spiral, orbit, interpolate or a camera-path .json file")
    return files.from_json(Path(name), **size)

"""Film a run along a camera path: frames and a video, photoreal and stylized side by side if wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from arf import image
from arf.errors import UserError
from arf.radiance import paths
from arf.radiance.backbone import Backbone
from arf.radiance.capture import Capture, Views
from arf.radiance.colors import VertexColors
from arf.radiance.fit import pick_device
from arf.radiance.paths import CameraPath
from arf.radiance.scene import open_photoreal, open_stylized
from arf.radiance.stylized import StylizedModel
from arf.radiance.trace import trace
from arf.runs import Run
from arf.settings import RenderSettings
from arf.video import Writer

RAYS = 8192  # traced at a time: in cache on a CPU


def render(
    run: Run, settings: RenderSettings, output: Path, progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[Path, int]:
    """Film a run. Writes `<output>.mp4` and, unless turned off, the folder `<output>/` of PNG frames.

    Returns:
        The video's path and the number of frames.

    Raises:
        UserError: `compare` on a run that has no style, an unknown path, or a file that cannot be written.
    """
    settings.check()
    device = pick_device(settings.device)
    stylized = run.info["kind"] == "stylize"
    if settings.compare and not stylized:
        raise UserError(f"{run.path} is photoreal, there is nothing to compare; give --compare a stylized run")
    model, capture = (open_stylized if stylized else open_photoreal)(run, device)
    path = camera_path(capture, settings)
    video = output.with_name(output.name + ".mp4")
    with Writer(video, path.fps, settings.quality) as writer:
        for k in range(len(path)):
            frame = render_frame(model, path.cameras, k, settings.compare)
            writer.write(frame)
            if settings.png:
                image.write(output / f"{k:05d}.png", frame)
            progress(k + 1, len(path))
    return video, len(path)


def camera_path(capture: Capture, settings: RenderSettings) -> CameraPath:
    """The path that the settings ask for.

    Raises:
        UserError: neither a known kind of path nor a file.
    """
    size = {"width": settings.width, "height": settings.height}
    timing = {"frames": settings.frames, "fps": settings.fps}
    if settings.path == "spiral":
        return paths.spiral(capture.train, bounds=capture.bounds, **timing, **size)
    if settings.path in ("orbit", "interpolate"):
        return getattr(paths, settings.path)(capture.train, **timing, **size)
    if not Path(settings.path).suffix:
        raise UserError(f"no path {settings.path!r}; it is spiral, orbit, interpolate or a camera-path .json file")
    return paths.from_json(Path(settings.path), **size)


def render_frame(
    model: Backbone | StylizedModel, cameras: Cameras, k: int, compare: bool = False
) -> Float[Tensor, "h w 3"]:
    """Frame k of a path; with `compare` the photoreal one is to its left."""
    if not isinstance(model, StylizedModel):
        return looks(model, None, cameras, k)[0]
    return torch.cat(looks(model.backbone, model.colors, cameras, k)[0 if compare else 1 :], dim=1)


@torch.no_grad()
def looks(backbone: Backbone, colors: VertexColors | None, cameras: Cameras, k: int) -> list[Float[Tensor, "h w 3"]]:
    """Frame k of a path, traced once: photoreal, then in every look of `colors`."""
    views = Views(cameras, [])
    rays, pixels = views.rays(k), []
    for origins, directions in zip(*(part.split(RAYS) for part in rays), strict=True):
        traced = trace(backbone, origins, directions)
        pixels.append(traced.composite(traced.rgb, backbone.background))
        if colors is not None:
            pixels[-1] = torch.cat([pixels[-1], colors.render(traced)], 1)  # [r, 3 + 3 looks]
    frame = torch.cat(pixels).clamp(0, 1).cpu().view(*views.size(k), -1)
    return list(frame.split(3, dim=-1))

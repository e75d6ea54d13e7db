"""Film a run along a camera path: frames and a video, photoreal and stylized side by side if wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.runs import Run
from arf.media import image
from arf.media.video import Writer
from arf.nerfstudio.stylized import StylizedModel
from arf.radiance.capture.capture import Capture, Views
from arf.radiance.fields.backbone import Backbone
from arf.radiance.fields.trace import Trace, trace
from arf.radiance.film import paths
from arf.radiance.film.paths import CameraPath
from arf.radiance.paint.blend import blend
from arf.radiance.paint.colors import VertexColors
from arf.radiance.scene import open_photoreal, open_stylized
from arf.radiance.settings import ExportSettings, RenderSettings

RAYS = 8192  # traced at a time: in cache on a CPU


def render(
    run: Run, settings: RenderSettings, output: Path, progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[Path, int]:
    """Film a run. Writes `<output>.mp4` and, unless turned off, the folder `<output>/` of PNG frames.

    The camera path is written too where the settings name a file for it.

    Returns:
        The video's path and the number of frames.

    Raises:
        UserError: `compare` or a strength on a run that has no style, an unknown path, a file that cannot be written.
    """
    settings.check()
    if settings.compare and run.info["kind"] != "stylize":
        raise UserError(f"{run.path} is photoreal, there is nothing to compare; give --compare a stylized run")
    model, capture = open_model(run, settings)
    path = camera_path(capture, settings)
    if settings.save_path is not None:
        paths.to_json(path, settings.save_path)
    video = output.with_name(output.name + ".mp4")
    with Writer(video, path.fps, settings.quality) as writer:
        for k in range(len(path)):
            frame = render_frame(model, path.cameras, k, settings.compare, settings.strength, settings.preserve_color)
            writer.write(frame)
            if settings.png:
                image.write(output / f"{k:05d}.png", frame)
            progress(k + 1, len(path))
    return video, len(path)


def open_model(run: Run, settings: RenderSettings | ExportSettings) -> tuple[Backbone | StylizedModel, Capture]:
    """The model and the capture of a run of either kind.

    Raises:
        UserError: the run is photoreal and the settings say how much of a style to show.
    """
    device = pick_device(settings.device)
    if run.info["kind"] == "stylize":
        return open_stylized(run, device)
    if settings.strength != 1 or settings.preserve_color:
        raise UserError(
            f"{run.path} is photoreal, it has no style; give --strength and --preserve-color a stylized run"
        )
    return open_photoreal(run, device)


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
    model: Backbone | StylizedModel,
    cameras: Cameras,
    k: int,
    compare: bool = False,
    strength: float = 1.0,
    preserve_color: bool = False,
) -> Float[Tensor, "h w 3"]:
    """Frame k of a path; with `compare` the photoreal one is to its left."""
    if not isinstance(model, StylizedModel):
        return looks(model, None, cameras, k)[0]
    shown = looks(model.backbone, model.colors, cameras, k, strength, preserve_color)
    return torch.cat(shown[0 if compare else 1 :], dim=1)


@torch.no_grad()
def looks(
    backbone: Backbone,
    colors: VertexColors | None,
    cameras: Cameras,
    k: int,
    strength: float = 1.0,
    preserve_color: bool = False,
) -> list[Float[Tensor, "h w 3"]]:
    """Frame k of a path, traced once: photoreal, then in every look of `colors`."""
    views = Views(cameras, [])
    rays, pixels = views.rays(k), []
    for origins, directions in zip(*(part.split(RAYS) for part in rays), strict=True):
        pixels.append(shade(trace(backbone, origins, directions), backbone, colors, strength, preserve_color))
    frame = torch.cat(pixels).clamp(0, 1).cpu().view(*views.size(k), -1)
    return list(frame.split(3, dim=-1))


def shade(
    traced: Trace, backbone: Backbone, colors: VertexColors | None, strength: float = 1.0, preserve_color: bool = False
) -> Float[Tensor, "r c"]:
    """Colours of traced rays, unclamped: photoreal, then every look of `colors`, three channels each.

    Args:
        strength: how much of a look shows, 0 (photoreal) to 1.
        preserve_color: looks keep the photoreal chroma.
    """
    photoreal = traced.composite(traced.rgb, backbone.background)  # [r, 3]
    if colors is None:
        return photoreal
    painted = colors.render(traced).unflatten(1, (-1, 3))  # [r, looks, 3]
    painted = blend(photoreal[:, None].expand_as(painted), painted, strength, preserve_color)
    return torch.cat([photoreal, painted.flatten(1)], 1)

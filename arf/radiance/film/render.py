"""Film runs along a camera path: frames and a video, photoreal and stylized side by side if wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from arf.jobs.locks import sole_writer
from arf.jobs.outputs import stale
from arf.jobs.runs import Run
from arf.media import image
from arf.media.behind import Behind
from arf.media.video import Writer
from arf.radiance.brought.views import Renderings
from arf.radiance.capture.views import Capture
from arf.radiance.film.program import Program
from arf.radiance.looks.painted import painting, picture
from arf.radiance.paths import files as path_files
from arf.radiance.paths.choice import camera_path
from arf.radiance.settings import RenderSettings

FILM = 1080  # pixels of the longer side of a film of splats
FRAMES = r"\d{5,9}\.png"  # names of a film's frames


def render(
    run: Run,
    settings: RenderSettings,
    output: Path,
    progress: Callable[[int, int], None] = lambda *_: None,
    overwrite: bool = False,
    more: Sequence[Run] = (),
) -> tuple[Path, int]:
    """Film a run. Writes `<output>.mp4` and, unless turned off, the folder `<output>/` of PNG frames.

    The camera path is written too where the settings name a file for it.

    Args:
        overwrite: replace a video of that name.
        more: runs of the same fit: the film goes from look to look, a fit being a photoreal one.

    Returns:
        The video's path and the number of frames.

    Raises:
        UserError: `compare` or a strength on a run that has no style, runs of two fits, an unknown path, a file that
            cannot be written or exists.
    """
    settings.check()
    program = Program.open([run, *more], settings)
    field, capture = program.field, program.capture
    path = camera_path(capture, settings.path, settings.frames, settings.fps, *frame_size(capture, settings))
    video = output.with_name(output.name + ".mp4")
    with sole_writer(video, overwrite):
        if settings.save_path is not None:
            path_files.to_json(path, settings.save_path)
        with Writer(video, path.fps, settings.quality) as writer:
            with Behind() as stills:  # written while the next frame is rendered
                for k, camera in enumerate(path.cameras):
                    look, strength = program.at(k / (len(path) if settings.loop else max(1, len(path) - 1)))
                    shown = (picture if settings.compare else painting)(
                        field, look, camera, strength, settings.preserve_color
                    )
                    frame = image.to_bytes(torch.cat(shown.split(3, dim=2), dim=1))
                    writer.write(frame)
                    if settings.png:
                        stills.do(partial(image.write, output / f"{k:05d}.png", frame))
                    progress(k + 1, len(path))
            if settings.png:
                _remove_later_frames(output, len(path))
    return video, len(path)


def frame_size(capture: Capture, settings: RenderSettings) -> tuple[int | None, int | None]:
    """Width and height that are asked for. Splats that came alone have no photographs to be as large as: their films
    have a longer side of 1,080 pixels."""
    asked = settings.width, settings.height
    if asked != (None, None) or Path(settings.path).suffix or not isinstance(capture.train, Renderings):
        return asked
    height, width = capture.train.size(0)
    scale = FILM / max(height, width)
    return 2 * max(1, round(width * scale / 2)), 2 * max(1, round(height * scale / 2))


def _remove_later_frames(folder: Path, count: int) -> None:
    """Those of an earlier film that was longer."""
    for file in stale(folder, FRAMES):
        if int(file.stem) >= count:
            file.unlink(missing_ok=True)

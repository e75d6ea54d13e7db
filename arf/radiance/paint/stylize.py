"""Stage 2: repaint a fitted scene in the style of pictures, its geometry frozen.

recolour the photographs → re-fit the colours to them → style loop → recolour again (Zhang et al., ARF, 2022).
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

from arf.errors import UserError
from arf.jobs.device import free_memory, pick_device
from arf.jobs.files import below
from arf.jobs.interrupts import AtOnce, held_interrupts
from arf.jobs.machine import give_back_memory
from arf.jobs.runs import Curves, Run
from arf.media import image
from arf.radiance.capture.views import Capture
from arf.radiance.extras import nerfstudio
from arf.radiance.fields.rays.field import RayField
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import Painted
from arf.radiance.opening import open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.paint.leaving import description, finish_painting
from arf.radiance.paint.painter import Painter, Progress
from arf.radiance.settings import StylizeSettings
from arf.style import encoder as encoders


def stylize(
    fitted: Run,
    styles: list[Path],
    settings: StylizeSettings,
    output: Path,
    progress: Progress = lambda *_: None,
    resume: Run | None = None,
    allow_outside: bool = False,
) -> Run:
    """Repaint the scene of a `fit` run and write a `stylize` run below `output`.

    Args:
        styles: one or more pictures.
        progress: called with the phase, its step, its length and the figures so far.
        resume: an unfinished run to go on with; run, styles and settings must be the ones given.
        allow_outside: see `CaptureConfig`.

    Raises:
        UserError: bad input, or a loss that is not finite (the last good state stays in the run).
        KeyboardInterrupt: passed on after the state has been saved.
    """
    settings.check()
    if not styles:
        raise UserError("no style picture; name at least one with --style")
    device = pick_device(settings.device)
    torch.manual_seed(settings.seed)
    pictures = [image.read_style(path) for path in styles]
    field, capture = open_photoreal(fitted, device, allow_outside)
    encoder = encoders.load(settings.encoder, settings.encoder_weights, settings.pooling).to(device)
    painter = Painter(field, capture.train, pictures, encoder, settings)  # checks layers, weights before it writes
    run = resume or Run.create(output, capture.name, "arf", **description(fitted, styles, settings, field))
    with run.at_work(), closing(open_cache(settings, run.path, device)) as painter.cache:
        painter.prepare(progress)
        if resume:
            painter.load(resume)
        try:
            with held_interrupts() as stopped, Curves(run.path, painter.curves) as curves:
                painter.paint(run, curves, stopped, progress)
        except AtOnce:
            raise
        except KeyboardInterrupt:
            painter.save(run)
            raise
        painter.save(run)  # before anything that may fail, such as the disk
        look = painter.finish()
        painter.cache.close()  # its memory is for what comes now
        give_back_memory()
        curves.draw()  # before the run is marked as finished: then nobody goes on with it
        _write(run, capture, painter, look, pictures)
    return run


def open_cache(settings: StylizeSettings, folder: Path, device: torch.device) -> ViewCache:
    """The cache that the settings allow, its files below `folder`."""
    budget = int(settings.cache_memory * 2**30) or free_memory(device) // 2
    return ViewCache(budget, below(folder, "cache"), device)


def _write(run: Run, capture: Capture, painter: Painter, look: Look, styles: list[Tensor]) -> None:
    painted = Painted(painter.field, look, painter.settings.dropped(painter.field.drop))
    if isinstance(painted.field, RayField) and (room := nerfstudio("runs.writing")):
        room.write_painting(run, capture, painted)
    operators, cache = painter.operators, painter.cache
    metrics = {
        "seconds": vars(painter.timings),
        "entries_per_pixel": operators.entries / operators.pixels,
        "operator_bytes_per_pixel": operators.nbytes / operators.pixels,
        "operator_bytes": operators.nbytes,
        "cache_bytes_in_memory": cache.in_memory,
        "cache_bytes_on_host": cache.on_host,
        "cache_bytes_on_disk": cache.on_disk,
        "final": painter.curves[-1] if painter.curves else {},
    }
    finish_painting(run, painted, painter.views, styles, painter.step, metrics)

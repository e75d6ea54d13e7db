"""Stage 2: repaint a fitted scene in the style of pictures, its geometry frozen.

re-fit the colours to the photographs → recolour them → style loop → recolour again (after Zhang et al., ARF, 2022, who
recolour the photographs first and then re-fit to them: a recolouring of colours is one of all their pictures, so that
here one re-fit serves every style).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
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
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.subject import Progress, Subject
from arf.radiance.settings import StylizeSettings
from arf.style import encoder as encoders

MOST_ON_CPU = 3 << 29  # bytes of matrices and features: beyond it splats are rasterised anew, hardly more slowly
SHOWN = 3  # views in a row of a contact sheet


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
    return stylize_each(fitted, [styles], settings, output, progress, resume, allow_outside)[0]


def stylize_each(
    fitted: Run,
    mixtures: Sequence[list[Path]],
    settings: StylizeSettings,
    output: Path,
    progress: Progress = lambda *_: None,
    resume: Run | None = None,
    allow_outside: bool = False,
) -> list[Run]:
    """Several paintings of one scene, one after the other. What does not depend on the style is made once; of more than
    one, a contact sheet is written to `sheet_path` of the first run.

    Args:
        mixtures: the pictures of each painting; `resume` goes on with the only one.

    Raises:
        UserError, KeyboardInterrupt: as `stylize`; paintings that are finished stay.
    """
    settings.check()
    if not all(mixtures) or not mixtures:
        raise UserError("no style picture; name at least one with --style")
    device = pick_device(settings.device)
    torch.manual_seed(settings.seed)
    pictures = [[image.read_style(path) for path in styles] for styles in mixtures]
    field, capture = open_photoreal(fitted, device, allow_outside)
    encoder = encoders.load(settings.encoder, settings.encoder_weights, settings.pooling).to(device)
    subject = Subject(field, capture.train, settings, progress)
    painters = [Painter(subject, shown, encoder, settings) for shown in pictures]  # all are checked before one writes
    runs: list[Run] = []
    rows: list[list[Tensor]] = []  # of the contact sheet
    with ExitStack() as stack:
        for painter, styles in zip(painters, mixtures, strict=True):
            run = resume or Run.create(output, capture.name, "arf", **description(fitted, styles, settings, field))
            with run.at_work():
                if not runs:
                    cache = stack.enter_context(closing(open_cache(settings, run.path, device)))
                    subject.open(cache, progress)
                    if not run.has("resume"):
                        painter.begin()
                        painter.show(run)  # soon: what comes now takes longer
                        subject.refit(progress)
                look = _paint(painter, run, capture, resume is not None, progress)
            runs.append(run)
            rows.append([pictures[len(rows)][0], *subject.some(SHOWN, look.theta, look.background)])
        if len(runs) > 1:
            table = [[torch.ones_like(rows[0][0]), *subject.some(SHOWN)], *rows]
            image.write(sheet_path(runs[0]), image.contact_sheet(table, subject.views.size(0)[0]))
    return runs


def sheet_path(run: Run) -> Path:
    """Where the contact sheet of several paintings is, of which this was the first."""
    return run.path.with_name(f"{run.name}-each.png")


def _paint(painter: Painter, run: Run, capture: Capture, resumed: bool, progress: Progress) -> Look:
    """One painting, from the first stroke to the last file."""
    start = time.perf_counter()
    painter.begin()
    if resumed:
        painter.load(run)
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
    preview = painter.preview(look.theta, look.background)
    give_back_memory()
    curves.draw()  # before the run is marked as finished: then nobody goes on with it
    painted = Painted(painter.field, look, painter.settings.dropped(painter.field.drop))
    if isinstance(painted.field, RayField) and (room := nerfstudio("runs.writing")):
        room.write_painting(run, capture, painted)
    seconds = {**painter.subject.seconds, "steps": time.perf_counter() - start}
    finish_painting(run, painted, preview, painter.step, {"seconds": seconds, **painter.figures()})
    return look


def open_cache(settings: StylizeSettings, folder: Path, device: torch.device) -> ViewCache:
    """The cache that the settings allow, its files below `folder`."""
    free = free_memory(device) // 2
    budget = int(settings.cache_memory * 2**30) or (min(free, MOST_ON_CPU) if device.type == "cpu" else free)
    return ViewCache(budget, below(folder, "cache"), device)

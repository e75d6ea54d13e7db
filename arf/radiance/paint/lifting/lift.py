"""Lifting: pictures by any 2D method, of any program, of all views or of one, become the look of a fitted scene."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from arf.jobs.checks import check_unused
from arf.jobs.device import pick_device
from arf.jobs.files import below
from arf.jobs.leftovers import temporary
from arf.jobs.machine import give_back_memory
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.capture.views import apart
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import Painted
from arf.radiance.opening import open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.paint.leaving import description, finish_painting, write_for_nerfstudio
from arf.radiance.paint.lifting.by_method import Paint, painter_by
from arf.radiance.paint.lifting.lifted import check_said, lifted, nearness, shown
from arf.radiance.paint.lifting.pictures import ViewPicture, read_pictures
from arf.radiance.paint.subject import PREVIEWED, Progress, Subject, budget
from arf.radiance.records import Lifted, paint_record
from arf.radiance.settings import LiftSettings

PICTURES = "views"  # of a run, where the pictures of its views are


def lift(
    fitted: Run,
    source: Lifted,
    settings: LiftSettings,
    output: Path,
    progress: Progress = lambda *_: None,
    resume: Run | None = None,
    allow_outside: bool = False,
) -> Run:
    """Give the scene of a `fit` run the look of pictures of its views, and write a `stylize` run below `output`.

    Args:
        source: the pictures, or the 2D method that makes them of the photographs; those go into the run's folder.
        resume: an unfinished run to go on with; run, source and settings must be the ones given.
        allow_outside: see `CaptureConfig`.

    Raises:
        UserError: bad input; nothing is written then.
        KeyboardInterrupt: passed on; pictures that are painted stay in the run.
    """
    settings.check()
    source = source.resolved()
    device = pick_device(settings.device)
    settings = replace(settings, size=settings.side(device.type == "cuda"))
    torch.manual_seed(settings.seed)
    paint = _painter(source, settings) if source.method else _check_for_pictures(settings)
    field, capture = open_photoreal(fitted, device, allow_outside)
    views = capture.train.within(settings.size)
    given = read_pictures(source.pictures, views, capture.held_out.names) if source.pictures else {}
    subject = Subject(field, capture.train, settings, progress)
    check_said(subject, given)
    memory = paint_record(resume).memory if resume else None
    memory = budget(settings, field) if memory is None else memory
    if resume is None:
        about = description(fitted, source.files, settings, field)
        resume = Run.create(output, capture.name, "lift", memory=memory, lift=source, **about)
    run = resume
    with run.at_work():
        pictures = given or _painted(subject, paint, run, progress)
        del paint
        give_back_memory()
        with closing(ViewCache(memory, temporary(run.path / "cache"), device)) as cache:
            subject.open(cache, progress)
            if not subject.exact:
                subject.refit(progress)
            start = time.perf_counter()
            look = lifted(subject, pictures, settings, progress)
            subject.seconds["lift"] = time.perf_counter() - start
            figures = {"psnr": nearness(subject, pictures, look), "pictures": len(pictures)}
            preview = _preview(subject, pictures, look)
        painted = Painted(field, look, settings.dropped(field.drop))
        write_for_nerfstudio(run, capture, painted)
        finish_painting(run, painted, preview, settings.passes, {"seconds": subject.seconds, **figures})
    return run


def _painted(subject: Subject, paint: Paint, run: Run, progress: Progress) -> dict[int, ViewPicture]:
    """The photographs, painted one by one; those that a stopped job has painted are read."""
    start, pictures = time.perf_counter(), {}
    for i, name in enumerate(subject.views.names):
        file = below(run.path, PICTURES, f"{name}.png")
        if not file.exists():
            image.write(file, paint(subject.image(i).cpu()))
            run.save("resume", {}, step=i + 1)
        pictures[i] = ViewPicture.of(image.read(file))
        progress("paint", i + 1, len(subject), {})
    subject.seconds["paint"] = time.perf_counter() - start
    return pictures


def _painter(source: Lifted, settings: LiftSettings) -> Paint:
    styles = source.styles if source.method == "fast" else [image.read_style(file) for file in source.files]
    return painter_by(source.method, styles, settings)


def _check_for_pictures(settings: LiftSettings) -> None:
    check_unused(settings, ("model", "encoder_weights", "steps", "style_weights"), "with --pictures")


def _preview(subject: Subject, pictures: dict[int, ViewPicture], look: Look) -> Float[Tensor, "h w 3"]:
    """photograph | picture | painting, for some of the views that have pictures."""
    chosen = list(pictures)
    rows = []
    for k in apart(len(chosen), PREVIEWED):
        i = chosen[k]
        rows.append([subject.image(i).cpu(), pictures[i].image.float() / 255, shown(subject, look, i)])
    return image.contact_sheet(rows)

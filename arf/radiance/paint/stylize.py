"""Stage 2: repaint a fitted scene in the style of pictures, its geometry frozen.

re-fit the colours to the photographs → recolour them → style loop → recolour again (after Zhang et al., ARF, 2022, who
recolour the photographs first and then re-fit to them: a recolouring of colours is one of all their pictures, so that
here one re-fit serves every style).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from arf.errors import UserError
from arf.jobs.checks import check_unused
from arf.jobs.device import pick_device
from arf.jobs.interrupts import AtOnce, held_interrupts
from arf.jobs.leftovers import sweep, temporary
from arf.jobs.machine import give_back_memory
from arf.jobs.runs import Curves, Run
from arf.media import image
from arf.radiance.capture.views import Capture
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import Painted
from arf.radiance.opening import open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.paint.leaving import description, finish_painting, write_for_nerfstudio
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.places import overlay, places_of
from arf.radiance.paint.reference import ReferencePainter, read_references
from arf.radiance.paint.regions import RegionPainter
from arf.radiance.paint.subject import Progress, Subject, budget
from arf.radiance.records import Reference, paint_record
from arf.radiance.settings import Region, StylizeSettings
from arf.style import encoder as encoders

REGIONS = "regions.png"  # of a run, where its regions are shown
WITHOUT_STYLES = (
    "start", "preserve_color", "style_weights", "style_scale", "loss", "neighbours", "exact_matches", "content_weight",
)  # fmt: skip
SHOWN = 3  # views in a row of a contact sheet


def stylize(
    fitted: Run,
    styles: list[Path],
    settings: StylizeSettings,
    output: Path,
    progress: Progress = lambda *_: None,
    resume: Run | None = None,
    allow_outside: bool = False,
    regions: Sequence[Region] = (),
    reference: Reference | None = None,
) -> Run:
    """Repaint the scene of a `fit` run and write a `stylize` run below `output`.

    Args:
        styles: one or more pictures.
        progress: called with the phase, its step, its length and the figures so far.
        resume: an unfinished run to go on with; run, styles and settings must be the ones given.
        allow_outside: see `CaptureConfig`.
        regions: where the styles go, each in one of its own; one more style goes everywhere else, which stays photoreal
            without one. Without regions the styles are mixed everywhere.
        reference: painted views, in place of styles.

    Raises:
        UserError: bad input, or a loss that is not finite (the last good state stays in the run).
        KeyboardInterrupt: passed on after the state has been saved.
    """
    mixtures = [] if reference else [styles]
    return stylize_each(fitted, mixtures, settings, output, progress, resume, allow_outside, regions, reference)[0]


def stylize_each(
    fitted: Run,
    mixtures: Sequence[list[Path]],
    settings: StylizeSettings,
    output: Path,
    progress: Progress = lambda *_: None,
    resume: Run | None = None,
    allow_outside: bool = False,
    regions: Sequence[Region] = (),
    reference: Reference | None = None,
) -> list[Run]:
    """Several paintings of one scene, one after the other. What does not depend on the style is made once; of more than
    one, a contact sheet is written to `sheet_path` of the first run.

    Args:
        mixtures: the pictures of each painting; `resume` goes on with the only one, and `regions` are of it. None of
            a `reference`.

    Raises:
        UserError, KeyboardInterrupt: as `stylize`; paintings that are finished stay.
    """
    settings.check()
    mixtures = [reference.files] if reference else mixtures
    if not all(mixtures) or not mixtures:
        raise UserError("no style picture; name at least one with --style")
    device = pick_device(settings.device)
    settings = replace(settings, size=settings.side(device.type == "cuda"))
    torch.manual_seed(settings.seed)
    _check(mixtures, settings, regions, reference)
    for styles in mixtures[1:]:
        for path in styles:
            image.read_style(path)  # refused before anything is written
    pictures = [] if reference else [image.read_style(path) for path in mixtures[0]]
    field, capture = open_photoreal(fitted, device, allow_outside)
    encoder = encoders.load(settings.encoder, settings.encoder_weights, settings.pooling).to(device)
    subject = Subject(field, capture.train, settings, progress)
    if reference:
        painted = read_references(reference, subject.views, capture.held_out.names)
        painter = ReferencePainter(subject, painted, encoder, settings)
    elif regions:
        painter = RegionPainter(subject, pictures, encoder, settings, regions)
    else:
        painter = Painter(subject, pictures, encoder, settings)  # checks layers, weights before it writes
    memory = paint_record(resume).memory if resume else None
    memory = budget(settings, field) if memory is None else memory
    runs: list[Run] = []
    rows = [subject.some(SHOWN)]  # of the contact sheet
    with ExitStack() as stack:

        def opened(folder: Path, painter: Painter) -> None:
            sweep(folder)
            cache = ViewCache(memory, temporary(folder / "cache"), device)
            stack.enter_context(closing(cache))
            subject.open(cache, progress)
            if regions or reference:
                subject.refit(progress)
                painter.prepare(progress)

        if regions and resume is None:  # in which there may be nothing: before there is a run
            opened(output, painter)
        for k, styles in enumerate(mixtures):
            if k:
                painter = Painter(subject, [image.read_style(path) for path in styles], encoder, settings)
            about = description(fitted, styles, settings, field)
            about |= {"regions": [region.resolved() for region in regions], "reference": reference}
            run = resume or Run.create(output, capture.name, "arf", memory=memory, **about)
            told = progress if len(mixtures) == 1 else _of(styles[0].stem, progress)
            with _saying(runs, mixtures[k + 1 :]), run.at_work():
                if not runs and (resume or not regions):
                    opened(run.path, painter)
                if regions:
                    image.write(run.path / REGIONS, painter.overlay())
                if not runs:
                    _begin(subject, painter, run, progress)
                look = _paint(painter, run, capture, resume is not None, told)
            runs.append(run)
            rows.append([*subject.some(SHOWN, look.theta, look.background), painter.styles[0].cpu()])
            del painter  # with what Adam remembers
        if len(runs) > 1:
            with _saying(runs, []):
                image.write(sheet_path(runs[0]), image.contact_sheet(rows, subject.views.size(0)[0]))
    return runs


def _begin(subject: Subject, painter: Painter, run: Run, progress: Progress) -> None:
    """What all paintings of an open subject share. A run that goes on has colours already."""
    if run.has("resume"):
        subject.trace(progress)
        return
    painter.begin()
    painter.show(run)  # soon: what comes now takes longer
    if type(painter) is Painter:  # others have asked for it
        subject.refit(progress)


def show_regions(
    fitted: Run,
    settings: StylizeSettings,
    regions: Sequence[Region],
    work: Path,
    progress: Progress = lambda *_: None,
    allow_outside: bool = False,
) -> image.Picture:
    """Where regions are: some views, and beside each the places tinted.

    Args:
        work: a folder with room for matrices, which are removed.

    Raises:
        UserError: as `stylize`.
    """
    settings.check()
    device = pick_device(settings.device)
    field, capture = open_photoreal(fitted, device, allow_outside)
    subject = Subject(field, capture.train, settings, progress)
    with closing(ViewCache(budget(settings, field), temporary(work / "cache"), device)) as cache:
        subject.open(cache, progress)
        if not subject.exact:
            subject.refit(progress)
        return overlay(subject, places_of(subject, regions, False, progress))


def _check(
    mixtures: Sequence[list[Path]],
    settings: StylizeSettings,
    regions: Sequence[Region],
    reference: Reference | None,
) -> None:
    """Raises UserError where styles, regions and a reference do not belong together."""
    if reference:
        check_unused(settings, WITHOUT_STYLES, "with a reference")
    if reference and regions:
        raise UserError("--region is of styles, and --reference brings its own; give one of them")
    if not regions:
        return
    count, styles = len(regions), sum(map(len, mixtures))
    if len(mixtures) > 1 or styles not in (count, count + 1):
        raise UserError(
            f"{count} regions and {styles} styles; give one --style for each --region, in their order, and perhaps one "
            "more for everything else"
        )
    check_unused(settings, ("style_weights",), "with regions, of which each has its own style")


def _of(style: str, progress: Progress) -> Progress:
    """Progress that says which painting it is of."""
    return lambda what, *rest: progress(f"{style[:20]}: {what}", *rest)


@contextmanager
def _saying(done: list[Run], left: Sequence[list[Path]]) -> Iterator[None]:
    """What stops one of several paintings also says what has become of the others."""
    try:
        yield
    except (UserError, KeyboardInterrupt) as stop:
        if isinstance(stop, AtOnce) or not (done or left):
            raise
        finished = f"; finished: {', '.join(str(run.path) for run in done)}" if done else ""
        waiting = f"; not begun: {', '.join(style.name for styles in left for style in styles)}" if left else ""
        raise type(stop)(f"{stop}{finished}{waiting}") from stop


def sheet_path(run: Run) -> Path:
    """Where the contact sheet of several paintings is, of which this was the first."""
    return run.path.with_name(f"{run.name}-each.png")


def _paint(painter: Painter, run: Run, capture: Capture, resumed: bool, progress: Progress) -> Look:
    """One painting, from the first stroke to the last file."""
    painter.begin()
    if resumed and run.has("resume"):
        painter.load(run)
    else:
        painter.lift(progress)
    start = time.perf_counter()
    try:
        with held_interrupts() as stopped, Curves(run.path, painter.curves) as curves:
            painter.paint(run, curves, stopped, progress)
    except AtOnce:
        raise
    except KeyboardInterrupt:
        painter.save(run)
        raise
    seconds = {**painter.subject.seconds, "steps": time.perf_counter() - start}
    painter.save(run)  # before anything that may fail, such as the disk
    look = painter.finish()
    preview = painter.preview(look.theta, look.background)
    give_back_memory()
    curves.draw()  # before the run is marked as finished: then nobody goes on with it
    painted = Painted(painter.field, look, painter.settings.dropped(painter.field.drop))
    write_for_nerfstudio(run, capture, painted)
    finish_painting(run, painted, preview, painter.step, {"seconds": seconds, **painter.figures()})
    return look

"""Lifting: colours of a fitted scene that render nearest to pictures of its views.

A view is linear in the colours, so that pictures by any 2D method, of any program, of all views or of one, become a
scene by least squares. Each view's picture may contradict the next one's: what comes out is their best compromise, and
the same from everywhere. SNeRF (Nguyen-Phuoc et al., 2022) alternates painting and fitting instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import log10
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
from arf.radiance.operator.deferred import DeferredView
from arf.radiance.operator.matrix import RenderOperator
from arf.radiance.operator.refit import Target, refit
from arf.radiance.operator.views import OperatorSet
from arf.radiance.paint.by_method import Paint, painter_by
from arf.radiance.paint.leaving import description, finish_painting, write_for_nerfstudio
from arf.radiance.paint.pictures import ViewPicture, read_pictures
from arf.radiance.paint.subject import PREVIEWED, Progress, Subject, budget
from arf.radiance.records import Lifted, paint_record
from arf.radiance.settings import LiftSettings
from arf.style.color import Affine, Moments, keep_color, matching

DAMPING = 0.05  # against the weight that the views give a column; what hardly any sees stays where it began
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
    paint = painter_by(source.method, source.styles, settings) if source.method else _check_for_pictures(settings)
    field, capture = open_photoreal(fitted, device, allow_outside)
    given = read_pictures(source.pictures, capture.train.within(settings.size)) if source.pictures else {}
    subject = Subject(field, capture.train, settings, progress)
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
            start = time.perf_counter()
            look = lifted(subject, pictures, settings, progress)
            subject.seconds["lift"] = time.perf_counter() - start
            figures = {"psnr": nearness(subject, pictures, look), "pictures": len(pictures)}
            preview = _preview(subject, pictures, look)
        painted = Painted(field, look, settings.dropped(field.drop))
        write_for_nerfstudio(run, capture, painted)
        finish_painting(run, painted, preview, settings.passes, {"seconds": subject.seconds, **figures})
    return run


def lifted(
    subject: Subject, pictures: dict[int, ViewPicture], settings: LiftSettings, progress: Progress = lambda *_: None
) -> Look:
    """The look of a subject that renders nearest to pictures of some of its views.

    It begins with the photoreal colours, recoloured like the pictures; columns that no picture shows stay so. In the
    end all are recoloured like the pictures once more, since what contradicts itself has averaged to something paler.
    With `elsewhere` "photograph" nothing is recoloured.
    """
    photoreal, background = subject.photoreal, subject.field.background
    recolor = Affine.identity()
    if settings.elsewhere == "recolor":
        recolor = matching(*_moments(subject, pictures, subject.image))
    chosen = list(pictures)

    def target(k: int) -> Target:
        picture, weight = pictures[chosen[k]].target(subject.weight(chosen[k]))
        return picture.to(photoreal), None if weight is None else weight.to(photoreal)

    theta = refit(
        _Some(subject.operators, chosen), recolor.apply(photoreal), recolor.apply(background), target, settings.passes,
        DAMPING, progress=lambda i, n: progress("lift", i, n, {}),
    )  # fmt: skip
    if settings.preserve_color:
        return Look(keep_color(theta, subject.field.colors), background, Affine.identity())
    look = Look(theta, recolor.apply(background), recolor)
    if settings.elsewhere == "photograph":
        return look
    again = matching(*_moments(subject, pictures, lambda i: _shown(subject, look, i)))
    return Look(again.apply(theta), again.apply(look.background), again.compose(recolor))


@torch.no_grad()
def nearness(subject: Subject, pictures: dict[int, ViewPicture], look: Look) -> float:
    """How near renderings come to the pictures, as PSNR in dB over all of their pixels that count."""
    squared = count = 0.0
    for i, picture in pictures.items():
        wanted, weight = picture.target(subject.weight(i))
        errors = (_shown(subject, look, i) - wanted).square().mean(2)  # [h, w]
        weight = torch.ones_like(errors) if weight is None else weight
        squared, count = squared + float((errors * weight).sum()), count + float(weight.sum())
    return -10 * log10(max(squared / count, 1e-10))


@dataclass(frozen=True)
class _Some:
    """Some of the views' operators."""

    operators: OperatorSet
    chosen: Sequence[int]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, k: int) -> RenderOperator | DeferredView:
        return self.operators[self.chosen[k]]


def _moments(
    subject: Subject, pictures: dict[int, ViewPicture], shown: Callable[[int], image.Picture]
) -> tuple[Moments, Moments]:
    """Of the colours that views show now, and of those of their pictures, where the pictures say something."""
    now, wanted = Moments(), Moments()
    for i, picture in pictures.items():
        target, weight = picture.target(subject.weight(i))
        now.update(shown(i).cpu(), weight)
        wanted.update(target, weight)
    return now, wanted


@torch.no_grad()
def _shown(subject: Subject, look: Look, i: int) -> image.Picture:
    return subject.operators[i].apply(look.theta, look.background).clamp(0, 1).cpu()


def _painted(subject: Subject, paint: Paint, run: Run, progress: Progress) -> dict[int, ViewPicture]:
    """The photographs, painted one by one; those that a stopped job has painted are read."""
    start, count, pictures = time.perf_counter(), len(subject), {}
    for i, name in enumerate(subject.views.names):
        file = below(run.path, PICTURES, f"{name}.png")
        if not file.exists():
            image.write(file, paint(subject.image(i).cpu()))
            run.save("resume", {}, step=i + 1)
        pictures[i] = ViewPicture.of(image.read(file))
        progress("paint", i + 1, count, {})
    subject.seconds["paint"] = time.perf_counter() - start
    return pictures


def _check_for_pictures(settings: LiftSettings) -> None:
    check_unused(settings, ("model", "encoder_weights", "steps", "style_weights"), "with --pictures")


def _preview(subject: Subject, pictures: dict[int, ViewPicture], look: Look) -> Float[Tensor, "h w 3"]:
    """photograph | picture | painting, for some of the views that have pictures."""
    chosen = list(pictures)
    rows = []
    for k in apart(len(chosen), PREVIEWED):
        i = chosen[k]
        rows.append([subject.image(i).cpu(), pictures[i].image.float() / 255, _shown(subject, look, i)])
    return image.contact_sheet(rows)

"""Colours that render nearest to pictures of views: linear least squares, since a view is linear in the colours.

Each view's picture may contradict the next one's: what comes out is their best compromise, the same from everywhere.
SNeRF (Nguyen-Phuoc et al., 2022) alternates painting and fitting instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10

import torch

from arf.errors import UserError
from arf.media import image
from arf.radiance.looks.look import Look
from arf.radiance.operator.deferred import DeferredView
from arf.radiance.operator.matrix import RenderOperator
from arf.radiance.operator.refit import Target, refit
from arf.radiance.operator.views import OperatorSet
from arf.radiance.paint.lifting.pictures import ViewPicture
from arf.radiance.paint.subject import Progress, Subject
from arf.radiance.settings import LiftSettings
from arf.style.color import Affine, Moments, keep_color, matching

LEAST = 0.25  # weight that some pixel of a picture has to have
DAMPING = 0.01  # against the weight that the views give a column; what hardly any sees stays where it began


def lifted(
    subject: Subject,
    pictures: dict[int, ViewPicture],
    settings: LiftSettings,
    progress: Progress = lambda *_: None,
    damping: float = DAMPING,
) -> Look:
    """The look of a subject that renders nearest to pictures of some of its views.

    It begins with the photoreal colours, recoloured like the pictures; columns that no picture shows stay so. In the
    end all are recoloured like the pictures once more, since what contradicts itself has averaged to something paler.
    With `elsewhere` "photograph" nothing is recoloured.
    """
    photoreal, background = subject.unpainted, subject.field.background
    recolor = Affine.identity()
    if settings.elsewhere == "recolor":
        recolor = matching(*_moments(subject, pictures, subject.image))
    chosen = list(pictures)

    def target(k: int) -> Target:
        picture, weight = pictures[chosen[k]].target(subject.weight(chosen[k]))
        return picture.to(photoreal), None if weight is None else weight.to(photoreal)

    theta = refit(
        _Some(subject.operators, chosen), recolor.apply(photoreal), recolor.apply(background), target, settings.passes,
        damping, progress=lambda i, n: progress("lift", i, n, {}),
    )  # fmt: skip
    if settings.preserve_color:
        return Look(keep_color(theta, photoreal), background, Affine.identity())
    look = Look(theta, recolor.apply(background), recolor)
    if settings.elsewhere == "photograph":
        return look
    again = matching(*_moments(subject, pictures, lambda i: shown(subject, look, i)))
    return Look(again.apply(theta), again.apply(look.background), again.compose(recolor))


def check_said(subject: Subject, pictures: dict[int, ViewPicture]) -> None:
    """Raises UserError where one of the pictures says nothing: transparent, or painted where no photograph counts."""
    for i, picture in pictures.items():
        weight = picture.target(subject.weight(i))[1]
        if weight is not None and not float(weight.amax()) > LEAST:
            where = f"the picture of the view {subject.views.names[i]}"
            raise UserError(f"{where} is transparent wherever its photograph counts; paint what is to be seen")


@torch.no_grad()
def nearness(subject: Subject, pictures: dict[int, ViewPicture], look: Look) -> float:
    """How near renderings come to the pictures, as PSNR in dB over all of their pixels that count."""
    squared = count = 0.0
    for i, picture in pictures.items():
        wanted, weight = picture.target(subject.weight(i))
        errors = (shown(subject, look, i) - wanted).square().mean(2)  # [h, w]
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
    subject: Subject, pictures: dict[int, ViewPicture], now: Callable[[int], image.Picture]
) -> tuple[Moments, Moments]:
    """Of the colours that views show now, and of those of their pictures, where the pictures say something."""
    before, wanted = Moments(), Moments()
    for i, picture in pictures.items():
        target, weight = picture.target(subject.weight(i))
        before.update(now(i).cpu(), weight)
        wanted.update(target, weight)
    return before, wanted


@torch.no_grad()
def shown(subject: Subject, look: Look, i: int) -> image.Picture:
    """View i under a look."""
    return subject.operators[i].apply(look.theta, look.background).clamp(0, 1).cpu()

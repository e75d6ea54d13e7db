"""Runs as splats, in the colours of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.runs import Run
from arf.radiance.capture.views import Capture
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.looks.blend import blend
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import check_painted, same_field
from arf.radiance.opening import open_model
from arf.radiance.records import paint_record
from arf.radiance.settings import ExportSettings
from arf.radiance.share.convert import as_splats
from arf.radiance.share.page.page import Paint

Progress = Callable[[str, int, int], None]  # what, step, steps


@dataclass
class Shared:
    """One scene as splats.

    Attributes:
        splats: in the scene's frame, without spherical harmonics; their colours are the photoreal ones.
        paints: the photoreal one, then one of each painting.
        psnr: of their pictures against the field's own, in dB, by paint; empty where the field is these splats.
    """

    capture: Capture
    splats: Splats
    paints: list[Paint]
    psnr: dict[str, float]
    antialiased: bool


def shared(runs: list[Run], settings: ExportSettings, progress: Progress = lambda *_: None) -> Shared:
    """
    Raises:
        UserError: runs of two scenes, no run, a strength for a photoreal run, or one that shows nothing.
    """
    device, looks, names = pick_device(settings.device), [], []
    field, capture = None, None
    for run in runs:
        check_painted(run, settings.strength, settings.preserve_color)
        own, painted, seen = open_model(run, device, settings.allow_outside)
        if field is not None and not same_field(field, own):
            raise UserError(f"{run.path} and {runs[0].path} are not of one fit, so they cannot share a page")
        field, capture = field or own, capture or seen
        if painted is not None:
            looks.append(painted.look)
            names.append(_unused(paint_record(run).name, names))
    if isinstance(field, SplatField):
        splats, own, psnr = field.splats.flat(), [Look.photoreal(field), *looks], {}
        antialiased = field.antialiased
    else:
        made = as_splats(field, capture, looks, settings.count, progress)
        splats, own, psnr, antialiased = made.splats, made.looks, made.psnr, False
    first, rest = own[0], own[1:]
    paints = [Paint("photographs", first.theta.cpu(), first.background.cpu())]
    for name, look in zip(names, rest, strict=True):
        parts = (
            blend(getattr(first, part), getattr(look, part), settings.strength, settings.preserve_color).cpu()
            for part in ("theta", "background")
        )
        paints.append(Paint(name, *parts))
    named = dict(zip(("photographs", *names), psnr, strict=False))
    return Shared(capture, splats.flat(paints[0].colors), paints, named, antialiased)


def _unused(name: str, names: list[str]) -> str:
    number = 2
    found = name
    while found in names or found == "photographs":
        found, number = f"{name} {number}", number + 1
    return found

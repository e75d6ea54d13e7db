"""Paintings of one fit, mixed to another one: a weighted sum of their colours is one of all their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.files import plain
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.capture.views import apart
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import Painted, painting, same_field
from arf.radiance.opening import open_painted
from arf.radiance.paint.leaving import finish_painting, write_for_nerfstudio
from arf.radiance.paint.subject import PREVIEWED, Progress
from arf.radiance.records import Blend, paint_record
from arf.radiance.settings import RepaintSettings

TOLERANCE = 0.005  # by which the sum of weights may differ from 1: 0.33 0.33 0.34 and the like


def blend_runs(
    runs: Sequence[Run],
    weights: Sequence[float],
    settings: RepaintSettings,
    output: Path,
    progress: Progress = lambda *_: None,
    allow_outside: bool = False,
) -> Run:
    """Mix the paintings of one fit and write a `stylize` run below `output`.

    Args:
        weights: one for each run, 0 or more, adding up to 1; equal when left out.
        settings: its `size` is that of the preview.

    Raises:
        UserError: fewer than two runs, one that is no painting, runs of two fits, or weights that are none.
    """
    settings.check()
    shares = _shares(runs, weights)
    records = [paint_record(run) for run in runs]
    device = pick_device(settings.device)
    first, capture = open_painted(runs[0], device, allow_outside)
    looks, drop = [first.look], first.drop
    for k, run in enumerate(runs[1:], start=1):
        other, _ = open_painted(run, device, allow_outside)
        if not same_field(first.field, other.field):
            raise UserError(f"{run.path} and {runs[0].path} are not of one fit, so they cannot be mixed")
        looks, drop = [*looks, other.look], min(drop, other.drop)
        progress("open", k + 1, len(runs), {})
    mixed = Painted(first.field, Look.mixed(looks, shares), drop)
    blend = Blend(tuple(r.name for r in records), tuple(run.path.resolve() for run in runs), tuple(shares))
    shown = capture.train.within(settings.side(device.type == "cuda"))
    rows = []
    for number, i in enumerate(chosen := apart(len(shown), PREVIEWED), start=1):
        rows.append([painting(mixed.field, look, shown.cameras[i]) for look in (*looks, mixed.look)])
        progress("preview", number, len(chosen), {})
    about = {"styles": [], "fit": runs[0].info["fit"], "model": runs[0].info["model"], "blend": blend}
    settings = replace(settings, drop_weight=drop)
    run = Run.create(output, capture.name, "blend", kind="stylize", settings=settings, **plain(about))
    with run.at_work():
        write_for_nerfstudio(run, capture, mixed)
        finish_painting(run, mixed, image.contact_sheet(rows), 0, {"paintings": len(runs)})
    return run


def _shares(runs: Sequence[Run], weights: Sequence[float]) -> list[float]:
    """The weights, whose sum is 1."""
    if len(runs) < 2:
        raise UserError("blend what? Name two or more paintings of one fit: arf blend RUN_A RUN_B --weights 0.3 0.7")
    weights = list(weights) or [1 / len(runs)] * len(runs)
    said = " ".join(f"{weight:g}" for weight in weights)
    if len(weights) != len(runs):
        raise UserError(f"weights is {said}; it needs {len(runs)} numbers, one for each of the runs")
    if not all(weight >= 0 for weight in weights) or not abs(sum(weights) - 1) <= TOLERANCE:
        raise UserError(f"weights is {said}; they add up to {sum(weights):g}, and should be 0 or more and add up to 1")
    return [weight / sum(weights) for weight in weights]

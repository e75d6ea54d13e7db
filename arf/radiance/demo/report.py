"""The demo's report: one page with the film, the pictures, the curves, the timings and the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arf.jobs.door import admit
from arf.jobs.files import plain
from arf.jobs.runs import INFO, Run
from arf.media.image import Picture as Frame
from arf.media.report import Commands, Curves, Gallery, Link, Picture, Section, Table, Video, write_report
from arf.radiance.records import REMEDY, fit_record, paint_record


@dataclass
class _FitFigures:
    psnr: float
    ssim: float
    samples_per_ray: float
    train_seconds: float
    views: int


@dataclass
class _PaintFigures:
    columns: int
    seconds: dict[str, float]


@dataclass
class _Fit:
    """What the page says of a fit's result."""

    steps: int
    metrics: _FitFigures


WALK = "Walk through it yourself: the same paintings as a page, for any browser, to keep or to send to somebody"


@dataclass
class _Painting:
    """What it says of a painting's."""

    steps: int
    metrics: _PaintFigures


def write_demo_report(
    path: Path,
    film: Path,
    walk: Path,
    sheet: Path,
    fitted: Run,
    painted: Sequence[Run],
    rows: Sequence[Sequence[Frame]],
    seconds: float,
) -> None:
    """Write the page.

    Args:
        fitted: the fit; painted: its stylizations.
        rows: frames, each photoreal and then in every style.
        seconds: that the whole demo took this time.
    """
    styles = [paint_record(run).styles[0] for run in painted]
    fit = admit(_Fit, fitted.info, fitted.path / INFO, REMEDY)
    paintings = [admit(_Painting, run.info, run.path / INFO, REMEDY) for run in painted]
    names = [style.stem.replace("_", " ") for style in styles]
    sections = [
        Section(parts=[Video(film, " | ".join(["the fitted scene", *names])), Link(walk.name, WALK)]),
        *(
            Section(name.capitalize(), parts=[_before_and_after(rows, k, style)])
            for k, (name, style) in enumerate(zip(names, styles, strict=True), start=1)
        ),
        Section(
            "All of it on one sheet", parts=[Picture(sheet, "first row: the scene and the pictures; below: frames")]
        ),
        Section("The fit", _fit_text(fit), [Curves(fitted.curves(), names=("psnr", "rgb"))]),
        *(
            Section(f"Painting: {name}", _paint_text(run, painting), [Curves(run.curves())])
            for name, run, painting in zip(names, painted, paintings, strict=True)
        ),
        Section("Where the time went", parts=[Table(_timings(fit, paintings, names, seconds), ("stage", "seconds"))]),
        Section("Settings", parts=[Table(_settings(fitted, painted[0]), ("setting", "fit", "painting"))]),
        Section("Try next", parts=[Commands(_commands(fitted))]),
    ]
    lead = (
        f"{fit.metrics.views} rendered views of a still life, fitted with Gaussian splats and repainted "
        f"in the style of {len(styles)} picture{'s' * (len(styles) != 1)}. The geometry is the same in all of them; "
        "only its paint changes, so every brush stroke stays where it is while the camera moves."
    )
    write_report(path, "A still life, repainted", lead, sections)


def _before_and_after(rows: Sequence[Sequence[Frame]], k: int, style: Path) -> Gallery:
    return Gallery([Picture(rows[0][0], "before"), Picture(style, "style"), Picture(rows[0][k], "after")])


def _fit_text(fit: _Fit) -> str:
    m = fit.metrics
    return (
        f"{fit.steps} steps. On views that it never saw: PSNR {m.psnr:.2f} dB, SSIM {m.ssim:.3f}, "
        f"{m.samples_per_ray:.1f} samples per ray that matter."
    )


def _paint_text(run: Run, painting: _Painting) -> str:
    settings = paint_record(run).settings
    return (
        f"{painting.steps} steps of {settings.loss.upper()} on {', '.join(settings.layers)} of the encoder "
        f"{settings.encoder}; {painting.metrics.columns:,} splats repainted."
    )


def _timings(
    fit: _Fit, paintings: Sequence[_Painting], names: Sequence[str], seconds: float
) -> list[tuple[str, float]]:
    rows = [("fit", fit.metrics.train_seconds)]
    for name, painting in zip(names, paintings, strict=True):
        rows += [(f"{name}: {phase}", value) for phase, value in painting.metrics.seconds.items()]
    return [(what, round(value, 1)) for what, value in [*rows, ("this call of the demo, all in all", seconds)]]


def _settings(fitted: Run, painted: Run) -> list[tuple[str, ...]]:
    """A row for every setting that one of the runs has, in their own words."""
    settings = [plain(fit_record(fitted).settings), plain(paint_record(painted).settings)]
    names = dict.fromkeys(name for held in settings for name in held)
    return [(name, *(_said(held.get(name)) for held in settings)) for name in names]


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(v) for v in value)
    return "" if value is None else str(value)


def _commands(fitted: Run) -> list[str]:
    return [
        "# the same scene in a picture of yours",
        "arf demo --style your-picture.jpg",
        "# its brushwork alone, or with the photographs' own colours",
        f"arf stylize {fitted.path} --style your-picture.jpg --encoder compact --style-scale 1.5",
        f"arf stylize {fitted.path} --style your-picture.jpg --encoder compact --preserve-color",
        "# a place of yours: 30 to 100 overlapping photographs",
        "ns-process-data images --data photos/ --output-dir my-place/",
        "arf fit my-place/ && arf stylize outputs/my-place --style your-picture.jpg",
    ]

"""The demo's report: one page with the film, the pictures, the curves, the timings and the settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arf.jobs.runs import Run
from arf.media.image import Picture as Frame
from arf.media.report import Commands, Curves, Gallery, Picture, Section, Table, Video, write_report


def write_demo_report(
    path: Path,
    film: Path,
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
    styles = [Path(run.info["styles"][0]) for run in painted]
    names = [style.stem.replace("_", " ") for style in styles]
    sections = [
        Section(parts=[Video(film, " | ".join(["the fitted scene", *names]))]),
        *(
            Section(name.capitalize(), parts=[_before_and_after(rows, k, style)])
            for k, (name, style) in enumerate(zip(names, styles, strict=True), start=1)
        ),
        Section(
            "All of it on one sheet", parts=[Picture(sheet, "first row: the scene and the pictures; below: frames")]
        ),
        Section("The fit", _fit_text(fitted), [Curves(fitted.curves(), names=("psnr", "rgb"))]),
        *(
            Section(f"Painting: {name}", _paint_text(run), [Curves(run.curves())])
            for name, run in zip(names, painted, strict=True)
        ),
        Section("Where the time went", parts=[Table(_timings(fitted, painted, names, seconds), ("stage", "seconds"))]),
        Section("Settings", parts=[Table(_settings(fitted, painted[0]), ("setting", "fit", "painting"))]),
        Section("Try next", parts=[Commands(_commands(fitted))]),
    ]
    lead = (
        f"{fitted.info['metrics']['views']} rendered views of a still life, fitted as a radiance field and repainted "
        f"in the style of {len(styles)} picture{'s' * (len(styles) != 1)}. The geometry is the same in all of them; "
        "only its paint changes, so every brush stroke stays where it is while the camera moves."
    )
    write_report(path, "A still life, repainted", lead, sections)


def _before_and_after(rows: Sequence[Sequence[Frame]], k: int, style: Path) -> Gallery:
    return Gallery([Picture(rows[0][0], "before"), Picture(style, "style"), Picture(rows[0][k], "after")])


def _fit_text(run: Run) -> str:
    m = run.info["metrics"]
    return (
        f"{run.info['steps']} steps. On views that it never saw: PSNR {m['psnr']:.2f} dB, SSIM {m['ssim']:.3f}, "
        f"{m['samples_per_ray']:.1f} samples per ray that matter."
    )


def _paint_text(run: Run) -> str:
    settings = run.info["settings"]
    return (
        f"{run.info['steps']} steps of {settings['loss'].upper()} on {', '.join(settings['layers'])} of the encoder "
        f"{settings['encoder']}; {run.info['metrics']['columns']:,} vertices repainted."
    )


def _timings(fitted: Run, painted: Sequence[Run], names: Sequence[str], seconds: float) -> list[tuple[str, float]]:
    rows = [("fit", fitted.info["metrics"]["train_seconds"])]
    for name, run in zip(names, painted, strict=True):
        rows += [(f"{name}: {phase}", value) for phase, value in run.info["metrics"]["seconds"].items()]
    return [(what, round(value, 1)) for what, value in [*rows, ("this call of the demo, all in all", seconds)]]


def _settings(*runs: Run) -> list[tuple[str, ...]]:
    """A row for every setting that one of the runs has, in their own words."""
    names = dict.fromkeys(name for run in runs for name in run.info["settings"])
    return [(name, *(_said(run.info["settings"].get(name)) for run in runs)) for name in names]


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

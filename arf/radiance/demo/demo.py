"""The whole way without any input: fit the still life, repaint it in two styles, film them side by side, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

import arf
from arf import bundled
from arf.jobs.device import pick_device
from arf.jobs.locks import owned
from arf.jobs.runs import Run
from arf.media import image
from arf.media.video import Writer
from arf.radiance.demo.report import write_demo_report
from arf.radiance.fit.loop import fit
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.paint.stylize import stylize
from arf.radiance.paths.choice import camera_path
from arf.radiance.records import paint_record
from arf.radiance.settings import DemoSettings, ExportSettings
from arf.radiance.share.export import export
from arf.style import encoder as encoders

Progress = Callable[[str, int, int, dict[str, float]], None]  # what, step, steps, figures
SHOWN = 3  # frames on the contact sheet


@dataclass
class Demo:
    """What a demo made."""

    report: Path
    film: Path
    walk: Path
    sheet: Path
    fitted: Run
    painted: list[Run]


def demo(styles: list[Path], settings: DemoSettings, output: Path, progress: Progress = lambda *_: None) -> Demo:
    """Write `film.mp4`, `walk.html`, `sheet.png`, `report.html` and the runs below `output`.

    What an earlier demo with the same settings has finished there is used again, what it has left unfinished is gone on
    with: so another style costs no other fit, and a demo that was stopped is called again.

    Args:
        styles: pictures to take the styles from; two of our own if empty.

    Raises:
        UserError: bad input.
    """
    settings.check()
    start = time.perf_counter()
    styles = [Path(path).resolve() for path in styles] or [bundled.style(name) for name in bundled.DEFAULT_STYLES]
    for path in styles:
        image.read_style(path)  # whatever is wrong is said before minutes of work
    pick_device(settings.device)
    encoders.load(settings.encoder)
    with owned(output, output / ".lock"):
        return _made(styles, settings, output, progress, start)


def _made(styles: list[Path], settings: DemoSettings, output: Path, progress: Progress, start: float) -> Demo:
    fitted = _fitted(settings, output, progress)
    painted = [_painted(fitted, path, settings, output, progress) for path in styles]
    film, sheet = output / "film.mp4", output / "sheet.png"
    rows = _film(film, fitted, painted, settings, progress)
    pictures = [_cropped(image.read(path), *rows[0][0].shape[:2]) for path in styles]
    image.write(sheet, image.contact_sheet([[rows[0][0], *pictures], *rows[1:]]))
    page = output / "report.html"
    walk = _walk(output / "walk.html", painted, settings, progress)
    write_demo_report(page, film, walk, sheet, fitted, painted, rows, time.perf_counter() - start)
    return Demo(page, film, walk, sheet, fitted, painted)


def _fitted(settings: DemoSettings, output: Path, progress: Progress) -> Run:
    data, wanted = bundled.capture().resolve(), settings.fit()
    run = _earlier(output, 0.0, kind="fit", arf=arf.__version__, data=data, settings=wanted)
    if run and run.info["finished"]:
        return run
    return fit(data, wanted, output, progress, run)


def _painted(fitted: Run, style: Path, settings: DemoSettings, output: Path, progress: Progress) -> Run:
    wanted = settings.stylize()
    info = {"kind": "stylize", "arf": arf.__version__, "styles": [style], "settings": wanted}
    run = _earlier(output, style.stat().st_mtime, **info)
    if run and paint_record(run).fit.run != fitted.path.resolve():
        run = None
    if run and run.info["finished"]:
        return run
    return stylize(
        fitted, [style], wanted, output, lambda what, i, n, f: progress(f"{style.stem}: {what}", i, n, f), run
    )


def _earlier(output: Path, since: float, **info) -> Run | None:
    """The newest run of exactly this job, begun after `since` (seconds since 1970)."""
    runs = [run for run in Run.below(output) if run.is_of(**info) and (run.path / "arf.json").stat().st_mtime >= since]
    return runs[-1] if runs else None


def _film(
    path: Path, fitted: Run, painted: list[Run], settings: DemoSettings, progress: Progress
) -> list[list[image.Picture]]:
    """Write the film, photoreal and every style side by side, and return the frames of the contact sheet."""
    device = pick_device(settings.device)
    field, capture = open_photoreal(fitted, device)
    look = Look.beside([open_painted(run, device)[0].look for run in painted])
    asked = settings.render()
    cameras = camera_path(capture, asked.path, asked.frames, asked.fps, asked.width)
    shown, rows = {k * len(cameras) // SHOWN for k in range(SHOWN)}, []
    with Writer(path, cameras.fps, settings.render().quality) as writer:
        for k in range(len(cameras)):
            row = picture(field, look, cameras.cameras[k]).split(3, dim=2)
            writer.write(torch.cat(row, dim=1))
            progress("film", k + 1, len(cameras), {})
            if k in shown:
                rows.append(row)
    return rows


def _walk(path: Path, painted: list[Run], settings: DemoSettings, progress: Progress) -> Path:
    """Write the page to walk through."""
    count = 15_000 if settings.quick else 40_000
    asked = ExportSettings(format="html", path="orbit", count=count, device=settings.device)
    export(painted, asked, path, lambda what, i, n: progress(f"walk: {what}", i, n, {}))
    return path


def _cropped(picture: image.Picture, height: int, width: int) -> image.Picture:
    """The middle of a picture at another aspect."""
    scale = min(picture.shape[0] / height, picture.shape[1] / width)
    tall, wide = round(height * scale), round(width * scale)
    top, left = (picture.shape[0] - tall) // 2, (picture.shape[1] - wide) // 2
    return image.resize(picture[top : top + tall, left : left + wide], height, width)

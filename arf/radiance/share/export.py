"""Runs in forms that other programs open: point clouds, files of splats, a page to walk through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.radiance.records import fit_record, paint_record
from arf.radiance.settings import ExportSettings

SUFFIXES = {"points": ".ply", "ply": ".ply", "splat": ".splat", "spz": ".spz", "html": ".html"}
NAMES = {"points": "cloud", "ply": "splats", "splat": "splats", "spz": "splats", "html": "walk"}
RIDE, RATE = 240, 24.0  # frames of a page's ride, and how many a second

Progress = Callable[[str, int, int], None]  # what, step, steps


def format_of(runs: list[Run], settings: ExportSettings, output: Path | None) -> str:
    """What is to be written.

    Raises:
        UserError: no run, several for what holds one, or an output whose name says otherwise.
    """
    if not runs:
        raise UserError("export what? Name a run: arf export RUN")
    suffix = output.suffix.lower() if output else None
    named = {end: kind for kind, end in SUFFIXES.items() if end != ".ply"}
    found = settings.format
    if found == "auto":
        found = named.get(suffix) or ("ply" if is_of_splats(runs[0]) else "points")
    if suffix is not None and settings.format == "auto" and suffix not in SUFFIXES.values():
        raise UserError(f"cannot write {output}: its name must end in {', '.join(dict.fromkeys(SUFFIXES.values()))}")
    if suffix not in (None, SUFFIXES[found]):
        raise UserError(f"cannot write {output}: the name of {_said(found)} must end in {SUFFIXES[found]}")
    if len(runs) > 1 and found != "html":
        raise UserError(f"--format {found} holds one run, not {len(runs)}; only --format html holds several")
    return found


def is_of_splats(run: Run) -> bool:
    """Whether a run, photoreal or painted, is one of splats."""
    record = paint_record(run) if run.kind == "stylize" else fit_record(run)
    return record.model.get("backbone") == "splat"


def export(
    runs: list[Run], settings: ExportSettings, output: Path, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Write a run, or several paintings of one fit, painted where they are and photoreal otherwise.

    Returns:
        `format`; `points` or `splats`, how many; for a page `bytes`; and `psnr`, in dB by paint, where splats stand for
        another kind of field.

    Raises:
        UserError: see `format_of`; a strength on a photoreal run, nothing to be seen, runs of two scenes, or a file
            that cannot be written.
    """
    settings.check()
    kind = format_of(runs, settings, output)
    if kind == "points":
        from arf.radiance.share.pointcloud import export_points

        return {"format": kind, "points": export_points(runs[0], settings, output, lambda i, n: progress(kind, i, n))}
    from arf.radiance.share.shared import shared

    scene = shared(runs, settings, progress)
    made: dict[str, Any] = {"format": kind, "splats": len(scene.splats), **({"psnr": scene.psnr} if scene.psnr else {})}
    if kind == "html":
        from arf.radiance.share.walk import write_walk

        return {**made, "bytes": write_walk(output, scene, settings.path, RIDE, RATE)}
    from arf.radiance.share.splatfiles import write_splats

    splats = scene.splats.flat(scene.paints[-1].colors)
    write_splats(output, kind, splats, scene.capture, settings.frame)
    return made


def _said(kind: str) -> str:
    return {"points": "a point cloud", "html": "a page"}.get(kind, "splats")

"""The command that makes a scene of pictures of its views."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from arf.cli.common import progress
from arf.cli.scene import Output, refuse_finished
from arf.errors import UserError
from arf.radiance.settings import LiftSettings, SplatSettings


@dataclass
class Lift:
    """Make a consistent painting of pictures of the views, by any 2D method or any program."""

    run: Positional[Path | None] = None
    """A run of `arf fit`, a folder that holds some (the newest is taken), or splats: a .ply, .splat or .spz."""
    with_: Annotated[Literal["adain", "cast", "fast", "gatys"] | None, arg(name="with")] = None
    """The 2D method that paints the views' photographs."""
    style: UseAppendAction[tuple[str, ...]] = ()
    """Style picture; give it several times to mix styles. For fast the name or number of a network's style."""
    pictures: Path | None = None
    """Or pictures of your own: one of a view, or a folder of any number of them, by the names of the views. What is
    transparent in them says nothing."""
    export_views: Path | None = None
    """Write the views' photographs into this folder, for another program or your own brush; --pictures takes them
    back."""
    config: Path | None = None
    """Preset; flags win over it."""
    resume: Path | None = None
    """An unfinished run to go on with, in place of RUN, styles and settings."""
    overwrite: bool = False
    """Let --export-views replace files that exist already."""
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""
    settings: OmitArgPrefixes[LiftSettings] = field(default_factory=LiftSettings)
    splats: OmitArgPrefixes[SplatSettings] = field(default_factory=SplatSettings)
    common: OmitArgPrefixes[Output] = field(default_factory=Output)


def _lift(command: Lift) -> dict[str, Any]:
    from arf.jobs.runs import Run
    from arf.radiance.opening import open_run, reopened
    from arf.radiance.paint.lift import lift
    from arf.radiance.records import Lifted, paint_record

    if command.export_views:
        return _export_views(command)
    settings, unfinished = command.settings, None
    if command.resume:
        unfinished = Run.open(command.resume, "stylize", finished=False)
        refuse_finished(unfinished)
        record = paint_record(unfinished)
        if record.lift is None:
            raise UserError(f"{unfinished.path} is no run of arf lift; go on with arf stylize --resume")
        source, settings, fitted = record.lift, record.settings, reopened(record.fit)
    else:
        source = Lifted(command.with_, command.style, command.pictures)
        _check(command, source)
        fitted = open_run(command.run, "fit", command.splats, command.allow_outside)
    with progress(command.common) as bars:
        run = lift(fitted, source, settings, command.common.output, bars, unfinished, command.allow_outside)
    metrics = run.info["metrics"]
    near = f"{metrics['pictures']} pictures; the scene comes within {metrics['psnr']:.1f} dB of them"
    return {
        "run": run.path, **metrics,
        "say": f"{run.path}\n{near}\nlook at {run.path / 'preview.png'}\nnext: arf render {run.path} --compare",
    }  # fmt: skip


def _check(command: Lift, source: Any) -> None:
    """Raises UserError where it is not said what is to be lifted, or twice."""
    if command.run is None:
        raise UserError("lift what? Name a run: arf lift RUN --with adain --style PICTURE (or --resume RUN)")
    if source.method and source.pictures:
        raise UserError("--with paints the views and --pictures brings them painted; give one of them")
    if source.method is None and source.pictures is None:
        raise UserError("lift which pictures? Give --with adain (or cast, fast, gatys), or --pictures FOLDER")
    if source.pictures and source.styles:
        raise UserError("--style is for --with; pictures of the views have their style: leave it out")


def _export_views(command: Lift) -> dict[str, Any]:
    import torch

    from arf.radiance.opening import open_photoreal, open_run
    from arf.radiance.paint.pictures import export_views

    command.settings.check()
    if command.run is None:
        raise UserError("the views of what? Name a run: arf lift RUN --export-views FOLDER")
    if command.with_ or command.pictures or command.style:
        raise UserError("--export-views only writes pictures; give --with or --pictures in a call of their own")
    fitted, folder = open_run(command.run, "fit", command.splats, command.allow_outside), command.export_views
    _, capture = open_photoreal(fitted, torch.device("cpu"), command.allow_outside)
    views = capture.train.within(command.settings.size) if command.settings.size else capture.train
    with progress(command.common) as bars:
        files = export_views(views, folder, command.overwrite, lambda i, n: bars("views", i, n, {}))
    return {
        "pictures": [str(file) for file in files],
        "say": f"{folder} ({len(files)} pictures)\nnext: paint them, any number of them, under their names; then "
        f"arf lift {command.run} --pictures {folder}",
    }  # fmt: skip


COMMANDS = {"lift": (Lift, _lift)}

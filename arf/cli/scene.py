"""The commands of the main job: fit a place, repaint it, film it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction

from arf.cli import painting
from arf.cli.common import Output, Replacing, Talk, Work, of_run, place, progress
from arf.cli.lines import one_line
from arf.cli.painting import refuse_finished
from arf.errors import UserError
from arf.jobs.checks import check_unused
from arf.jobs.outputs import check_outputs, inputs_of, stale
from arf.radiance.settings import (
    CameraSettings,
    DemoSettings,
    ExportSettings,
    FitSettings,
    RenderSettings,
    SplatSettings,
)


@dataclass
class Cameras:
    """Find the cameras of photographs or clips (structure from motion), and write a capture that arf fit, nerfstudio
    and instant-ngp open."""

    data: Positional[tuple[Path, ...]] = ()
    """Folder of photographs, pictures, videos."""
    settings: OmitArgPrefixes[CameraSettings] = field(default_factory=CameraSettings)
    output: Path | None = None
    """Folder of the capture; outputs/captures/<name> when left out, where arf fit looks for it, too."""
    common: OmitArgPrefixes[Talk] = field(default_factory=Talk)


@dataclass
class Fit:
    """Fit a radiance field to photographs or clips of a place, or to a capture whose cameras are known."""

    data: Positional[tuple[Path, ...]] = ()
    """Folder of photographs, pictures, videos: their cameras are found, as by arf cameras. Or the folder of a capture
    (transforms.json, Blender, COLMAP or LLFF)."""
    config: Path | None = None
    """Preset, such as configs/quick.yaml; flags win over it."""
    resume: Path | None = None
    """An unfinished run to go on with, in place of DATA and settings."""
    settings: OmitArgPrefixes[FitSettings] = field(default_factory=FitSettings)
    cameras: OmitArgPrefixes[CameraSettings] = field(default_factory=CameraSettings)
    common: OmitArgPrefixes[Output] = field(default_factory=Output)


@dataclass
class Render:
    """Film a fitted or stylized scene along a camera path."""

    runs: Positional[tuple[Path, ...]]
    """A run, a folder that holds some (the newest is taken), or splats: a .ply, .splat or .spz. Of several of one fit
    the film goes from look to look, a fit being a photoreal one."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[RenderSettings] = field(default_factory=RenderSettings)
    splats: OmitArgPrefixes[SplatSettings] = field(default_factory=SplatSettings)
    output: Path | None = None
    """Video to write (.mp4); frames go into a folder of the same name. By default renders/<path>.mp4 in the run, the
    name longer where it is not the plain painting."""
    common: OmitArgPrefixes[Replacing] = field(default_factory=Replacing)


@dataclass
class Export:
    """Write a scene as Gaussian splats, as a page to walk through in a browser, or as a coloured point cloud."""

    runs: Positional[tuple[Path, ...]]
    """A run, a folder that holds some (the newest is taken), or splats: a .ply, .splat or .spz. For --format html
    several paintings of one fit, to choose from."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[ExportSettings] = field(default_factory=ExportSettings)
    splats: OmitArgPrefixes[SplatSettings] = field(default_factory=SplatSettings)
    output: Path | None = None
    """File to write (.ply, .splat, .spz, .html). By default cloud.ply, splats.ply, .splat or .spz, or walk.html in the
    run, the name longer where it is not the plain painting."""
    common: OmitArgPrefixes[Replacing] = field(default_factory=Replacing)


@dataclass
class Demo:
    """See it work: a still life of ours, repainted in two pictures of ours. No download, no GPU, some minutes."""

    style: UseAppendAction[tuple[Path, ...]] = ()
    """Your own picture in place of ours; give it several times for several."""
    settings: OmitArgPrefixes[DemoSettings] = field(default_factory=DemoSettings)
    output: Path = Path("outputs/demo")
    """Report, film and runs are written into this folder; what it already holds is used again."""
    common: OmitArgPrefixes[Talk] = field(default_factory=Talk)


@dataclass
class View:
    """Walk through a run in a browser, repaint it with a slider, and make camera paths for `arf render --path`."""

    run: Positional[Path]
    """A run, a folder that holds some (the newest is taken), or splats: a .ply, .splat or .spz."""
    port: int = 7007
    """Port to listen at. From another machine: ssh -L 7007:localhost:7007 HOST, with the same port on both sides."""
    host: str = "127.0.0.1"
    """Address to listen at: only this machine. 0.0.0.0 lets in everybody who can reach it, without a password."""
    splats: OmitArgPrefixes[SplatSettings] = field(default_factory=SplatSettings)
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    common: OmitArgPrefixes[Work] = field(default_factory=Work)


def _demo(command: Demo) -> dict[str, Any]:
    from arf.radiance.demo.demo import demo

    with progress(command.common) as bars:
        try:
            made = demo(list(command.style), command.settings, command.output, bars)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt("; call it again to go on") from stop
    return {
        "report": made.report, "film": made.film, "walk": made.walk, "sheet": made.sheet, "fit": made.fitted.path,
        "styles": [str(run.path) for run in made.painted],
        "say": f"{made.report}  pictures, film, curves and timings: open it in a browser\n"
        f"{made.film}  {made.sheet}\n"
        f"{made.walk}  the paintings to walk through, in any browser\n"
        f"next: arf demo --style your-picture.jpg\n"
        f"      arf fit your-photographs/ && arf stylize outputs/your-photographs --style your-picture.jpg",
    }  # fmt: skip


def _cameras(command: Cameras) -> dict[str, Any]:
    from arf.radiance.capture.sfm.find import find_cameras, place_for

    if not command.data:
        raise UserError("cameras of what? Name a folder of photographs, or clips: arf cameras PHOTOS")
    output = command.output or place_for(command.data, Path("outputs"))
    with progress(command.common) as bars:
        found = find_cameras(command.data, output, command.settings, bars, without=[Path("outputs")])
    return {
        "capture": output, **{k: v for k, v in vars(found).items() if k != "left_out"},
        "left_out": {left.shown: left.why for left in found.left_out},
        "say": f"{output}\n{found.said}\nnext: arf fit {output}",
    }  # fmt: skip


def _capture(command: Fit, bars: Any) -> Path:
    """The capture to be fitted; made where there are only photographs."""
    from arf.radiance.capture.sfm.find import as_capture

    if command.settings.format != "auto" and len(command.data) == 1:
        check_unused(command.cameras, ("frames", "matching"), "for a capture")
        return command.data[0]
    return as_capture(command.data, command.common.output, command.cameras, bars)


def _fit(command: Fit) -> dict[str, Any]:
    from arf.jobs.runs import Run
    from arf.radiance.fit.loop import fit
    from arf.radiance.records import fit_record

    command.cameras.check()
    settings, unfinished = command.settings, None
    if command.resume:
        unfinished = Run.open(command.resume, "fit", finished=False)
        refuse_finished(unfinished)
        record = fit_record(unfinished)
        outside = command.settings.allow_outside  # asked for by whoever is here: the run may be a stranger's
        data, settings = record.data, replace(record.settings, allow_outside=outside)
    elif not command.data:
        raise UserError("fit what? Name photographs, a clip or a capture: arf fit DATA (or --resume RUN)")
    with progress(command.common) as bars:
        if not unfinished:
            data = _capture(command, bars)
        run = fit(data, settings, command.common.output, bars, unfinished)
    m = run.info["metrics"]
    return {
        "run": run.path, **m,
        "say": f"{run.path}\nheld-out: PSNR {m['psnr']:.2f} dB, SSIM {m['ssim']:.3f}; "
        f"{m['samples_per_ray']:.1f} samples per ray\nnext: arf stylize {run.path} --style PICTURE",
    }  # fmt: skip


def _render(command: Render) -> dict[str, Any]:
    from arf.radiance.film.render import FRAMES, render
    from arf.radiance.opening import files_behind, open_run

    outside = command.settings.allow_outside
    if not command.runs:
        raise UserError("film what? Name a run: arf render RUN")
    run, *more = (open_run(path, splats=command.splats, allow_outside=outside) for path in command.runs)
    settings = command.settings
    if not any(each.kind == "stylize" for each in more):
        settings = of_run(command, "render", run, ("compare", "strength", "strength_curve", "preserve_color"))
    name = f"{Path(settings.path).stem}{'-compare' * settings.compare}{_of_look(settings)}{'-looks' * bool(more)}"
    if command.output is None:
        place(run, "renders", name)  # where the frames go
    output = command.output or place(run, "renders", f"{name}.mp4")
    if output.suffix.lower() != ".mp4":
        raise UserError(f"cannot write {output}: the name of a video must end in .mp4")
    frames = stale(output.with_suffix(""), FRAMES) if settings.png else []
    saved = [settings.save_path] if settings.save_path else []
    read = [file for each in (run, *more) for file in files_behind(each)]
    check_outputs([output, *saved, *frames], [*inputs_of(command), *read], command.common.overwrite)
    with progress(command.common) as bars:

        def said(i: int, n: int) -> None:
            bars("render", i, n, {})

        video, frames = render(run, settings, output.with_suffix(""), said, command.common.overwrite, more)
    return {"video": video, "frames": frames, "say": f"{video} ({frames} frames)"}


def _export(command: Export) -> dict[str, Any]:
    from arf.jobs.locks import sole_writer
    from arf.radiance.opening import files_behind, open_run
    from arf.radiance.share.export import NAMES, SUFFIXES, export, format_of

    settings = command.settings
    runs = [open_run(path, splats=command.splats, allow_outside=settings.allow_outside) for path in command.runs]
    if runs and not any(run.kind == "stylize" for run in runs):
        settings = of_run(command, "export", runs[0], ("strength", "preserve_color"))
    kind = format_of(runs, settings, command.output)
    output = command.output or place(runs[0], f"{NAMES[kind]}{_of_look(settings)}{SUFFIXES[kind]}")
    read = [file for run in runs for file in files_behind(run)]
    check_outputs([output], [*inputs_of(command), *read], command.common.overwrite)
    with sole_writer(output, command.common.overwrite), progress(command.common) as bars:
        made = export(runs, settings, output, lambda what, i, n: bars(what, i, n, {}))
    held = f"{made['points']:,} points" if kind == "points" else f"{made['splats']:,} splats"
    like = "".join(
        f"; {name}: {value:.1f} dB to the run's own pictures" for name, value in made.get("psnr", {}).items()
    )
    size = f", {made['bytes'] / 1e6:.1f} MB: open it in a browser" if kind == "html" else ""
    return {"file": output, **made, "say": f"{output} ({held}{size}{like})"}


def _view(command: View) -> None:
    from arf.radiance.opening import open_run
    from arf.radiance.viewer.opened import view_run

    run = open_run(command.run, splats=command.splats, allow_outside=command.allow_outside)

    def ready(url: str) -> None:
        print(one_line(f"{url}  {run.path}"), flush=True)

    try:
        view_run(run, command.host, command.port, command.device, ready, command.allow_outside)
    except KeyboardInterrupt:
        print("arf: closed the viewer", file=sys.stderr)


def _of_look(settings: RenderSettings | ExportSettings) -> str:
    """What the name of a film or a cloud says of its paint."""
    strength = "" if settings.strength == 1 else f"-strength-{settings.strength:g}"
    return f"{strength}{'-own-colors' * settings.preserve_color}"


COMMANDS = {
    "demo": (Demo, _demo),
    "fit": (Fit, _fit),
    "cameras": (Cameras, _cameras),
    **painting.COMMANDS,
    "render": (Render, _render),
    "export": (Export, _export),
    "view": (View, _view),
}

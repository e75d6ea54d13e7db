"""Photographs of a place, repainted in the style of a picture, that you can walk through.

The command line: one dataclass per sub-command. What they do is imported when they run, so that --help is instant.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction

from arf.allocator import keep_freed_memory
from arf.errors import UserError
from arf.files import cannot_write
from arf.presets import apply_preset
from arf.settings import DemoSettings, ExportSettings, FitSettings, RenderSettings, StylizeSettings


@dataclass
class Output:
    """What every command that writes has in common."""

    output: Path = Path("outputs")
    """Runs are written below this folder."""
    quiet: bool = False
    """No progress, only warnings and errors."""
    json: bool = False
    """Print the result as one JSON object, for scripts."""


@dataclass
class Fit:
    """Fit a radiance field to a capture: photographs with known cameras."""

    data: Positional[Path | None] = None
    """Folder of the capture (transforms.json, Blender, COLMAP or LLFF)."""
    config: Path | None = None
    """Preset, such as configs/quick.yaml; flags win over it."""
    resume: Path | None = None
    """An unfinished run to go on with, in place of DATA and settings."""
    settings: OmitArgPrefixes[FitSettings] = field(default_factory=FitSettings)
    common: OmitArgPrefixes[Output] = field(default_factory=Output)


@dataclass
class Stylize:
    """Repaint a fitted scene in the style of one or more pictures."""

    run: Positional[Path | None] = None
    """A run of `arf fit`, or a folder that holds some (the newest is taken)."""
    style: UseAppendAction[tuple[Path, ...]] = ()
    """Style picture; give it several times to mix styles."""
    config: Path | None = None
    """Preset, such as configs/quick.yaml; flags win over it."""
    resume: Path | None = None
    """An unfinished run to go on with, in place of RUN, styles and settings."""
    settings: OmitArgPrefixes[StylizeSettings] = field(default_factory=StylizeSettings)
    common: OmitArgPrefixes[Output] = field(default_factory=Output)


@dataclass
class Render:
    """Film a fitted or stylized scene along a camera path."""

    run: Positional[Path]
    """A run, or a folder that holds some (the newest is taken)."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[RenderSettings] = field(default_factory=RenderSettings)
    output: Path | None = None
    """Video to write (.mp4); frames go into a folder of the same name. By default renders/<path>.mp4 in the run."""
    quiet: bool = False
    """No progress, only warnings and errors."""
    json: bool = False
    """Print the result as one JSON object, for scripts."""


@dataclass
class Export:
    """Write a fitted or stylized scene as a coloured point cloud (PLY), for MeshLab, Blender and the like."""

    run: Positional[Path]
    """A run, or a folder that holds some (the newest is taken)."""
    config: Path | None = None
    """Preset; flags win over it."""
    settings: OmitArgPrefixes[ExportSettings] = field(default_factory=ExportSettings)
    output: Path | None = None
    """Point cloud to write (.ply). By default cloud.ply in the run."""
    quiet: bool = False
    """No progress, only warnings and errors."""
    json: bool = False
    """Print the result as one JSON object, for scripts."""


@dataclass
class Demo:
    """See it work: a still life of ours, repainted in two pictures of ours. No download, no GPU, some minutes."""

    style: UseAppendAction[tuple[Path, ...]] = ()
    """Your own picture in place of ours; give it several times for several."""
    settings: OmitArgPrefixes[DemoSettings] = field(default_factory=DemoSettings)
    output: Path = Path("outputs/demo")
    """Report, film and runs are written into this folder; what it already holds is used again."""
    quiet: bool = False
    """No progress, only warnings and errors."""
    json: bool = False
    """Print the result as one JSON object, for scripts."""


@dataclass
class Evaluate:
    """Measure a fitted scene against its held-out photographs."""

    run: Positional[Path]
    """A run of `arf fit`, or a folder that holds some (the newest is taken)."""
    json: bool = False
    """Print the result as one JSON object, for scripts."""


@dataclass
class View:
    """Walk through a run in a browser, in nerfstudio's viewer."""

    run: Positional[Path]
    """A run, or a folder that holds some (the newest is taken)."""
    port: int = 7007
    """Port of the viewer."""
    host: str = "127.0.0.1"
    """Address to listen at: only this machine; 0.0.0.0 lets in everybody who can reach it."""
    device: str = "auto"
    """cpu, cuda, or auto."""


Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Fit, tyro.conf.subcommand("fit")]
    | Annotated[Stylize, tyro.conf.subcommand("stylize")]
    | Annotated[Render, tyro.conf.subcommand("render")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[View, tyro.conf.subcommand("view")]
)
GO_ON = ", go on with --resume RUN"
SECTIONS = {
    "fit": (Fit, FitSettings),
    "stylize": (Stylize, StylizeSettings),
    "render": (Render, RenderSettings),
    "export": (Export, ExportSettings),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    warnings.filterwarnings("ignore", category=FutureWarning)
    for message in ("Sparse CSR tensor support", "Using a non-tuple sequence"):  # of torch, about what we do on purpose
        warnings.filterwarnings("ignore", message=message)
    keep_freed_memory()
    try:
        command = tyro.cli(
            Command, prog="arf", description=__doc__.splitlines()[0], args=arguments, **_preset(arguments)
        )
        result = HANDLERS[type(command)](command)
    except UserError as error:
        print(f"arf: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = {"demo": ", call it again to go on", "fit": GO_ON, "stylize": GO_ON}.get((arguments or [""])[0], "")
        print(f"arf: stopped; what was done is saved{again}" if again else "arf: stopped", file=sys.stderr)
        return 130
    except OSError as error:  # a full disk in some library's hands
        print(f"arf: {cannot_write(error.filename or 'a file of the run', error)}", file=sys.stderr)
        return 2
    if result:
        _report(
            result, as_json=getattr(command, "json", False) or getattr(getattr(command, "common", None), "json", False)
        )
    return 0


def _preset(arguments: list[str]) -> dict[str, Any]:
    """Read --config before the other flags, so that it changes their defaults."""
    path = None
    for i, word in enumerate(arguments):
        if word == "--config" and i + 1 < len(arguments):
            path = arguments[i + 1]
        elif word.startswith("--config="):
            path = word.split("=", 1)[1]
    if path is None or not arguments or arguments[0] not in SECTIONS:
        return {}
    command, settings = SECTIONS[arguments[0]]
    values = apply_preset(settings(), Path(path), arguments[0])
    needed = {"run": tyro.MISSING} if command in (Render, Export) else {}
    return {"default": command(settings=values, **needed)}


def _demo(command: Demo) -> dict[str, Any]:
    from arf.radiance.demo import demo

    with _progress(command) as bars:
        made = demo(list(command.style), command.settings, command.output, bars)
    return {
        "report": made.report, "film": made.film, "sheet": made.sheet, "fit": made.fitted.path,
        "styles": [str(run.path) for run in made.painted],
        "say": f"{made.report}  pictures, film, curves and timings: open it in a browser\n"
        f"{made.film}  {made.sheet}\n"
        f"next: arf demo --style your-picture.jpg\n"
        f"      arf fit your-capture/ && arf stylize outputs/your-capture --style your-picture.jpg",
    }  # fmt: skip


def _fit(command: Fit) -> dict[str, Any]:
    from arf.radiance.fit import fit
    from arf.runs import Run, settings_from

    data, settings, unfinished = command.data, command.settings, None
    if command.resume:
        unfinished = Run.open(command.resume, "fit", finished=False)
        _refuse_finished(unfinished)
        data, settings = Path(unfinished.info["data"]), settings_from(FitSettings, unfinished.info["settings"])
    if data is None:
        raise UserError("fit what? Name the folder of a capture: arf fit DATA (or --resume RUN)")
    with _progress(command.common) as bars:
        run = fit(data, settings, command.common.output, lambda i, n, f: bars("fit", i, n, f), unfinished)
    m = run.info["metrics"]
    return {
        "run": run.path, **m,
        "say": f"{run.path}\nheld-out: PSNR {m['psnr']:.2f} dB, SSIM {m['ssim']:.3f}; "
        f"{m['samples_per_ray']:.1f} samples per ray\nnext: arf stylize {run.path} --style PICTURE",
    }  # fmt: skip


def _stylize(command: Stylize) -> dict[str, Any]:
    from arf.radiance.scene import open_run
    from arf.radiance.stylize import stylize
    from arf.runs import Run, settings_from

    styles, settings, unfinished = list(command.style), command.settings, None
    if command.resume:
        unfinished = Run.open(command.resume, "stylize", finished=False)
        _refuse_finished(unfinished)
        settings = settings_from(StylizeSettings, unfinished.info["settings"])
        styles = [Path(p) for p in unfinished.info["styles"]]
        fitted = open_run(unfinished.info["fit"]["run"], "fit")
    elif command.run is None:
        raise UserError("stylize what? Name a run: arf stylize RUN --style PICTURE (or --resume RUN)")
    else:
        fitted = open_run(command.run, "fit")
    with _progress(command.common) as bars:
        run = stylize(fitted, styles, settings, command.common.output, bars, unfinished)
    return {
        "run": run.path, **run.info["metrics"],
        "say": f"{run.path}\nlook at {run.path / 'preview.png'}\nnext: arf render {run.path} --compare",
    }  # fmt: skip


def _render(command: Render) -> dict[str, Any]:
    from arf.radiance.render import render
    from arf.radiance.scene import open_run

    run = open_run(command.run)
    output = command.output or run.path / "renders" / f"{Path(command.settings.path).stem}.mp4"
    if output.suffix.lower() != ".mp4":
        raise UserError(f"cannot write {output}: the name of a video must end in .mp4")
    with _progress(command) as bars:
        video, frames = render(run, command.settings, output.with_suffix(""), lambda i, n: bars("render", i, n, {}))
    return {"video": video, "frames": frames, "say": f"{video} ({frames} frames)"}


def _export(command: Export) -> dict[str, Any]:
    from arf.radiance.pointcloud import export
    from arf.radiance.scene import open_run

    run = open_run(command.run)
    output = command.output or run.path / "cloud.ply"
    with _progress(command) as bars:
        points = export(run, command.settings, output, lambda i, n: bars("export", i, n, {}))
    return {"cloud": output, "points": points, "say": f"{output} ({points:,} points)"}


def _evaluate(command: Evaluate) -> dict[str, Any]:
    from arf.radiance.fit import evaluate, pick_device
    from arf.radiance.scene import open_photoreal, open_run

    run = open_run(command.run, "fit")
    model, capture = open_photoreal(run, pick_device("auto"))
    m = evaluate(model, capture.held_out)
    said = f"PSNR {m['psnr']:.2f} dB, SSIM {m['ssim']:.3f}, {m['samples_per_ray']:.1f} samples per ray"
    return {"run": run.path, **m, "say": f"{run.path}: {len(capture.held_out)} held-out views: {said}"}


def _view(command: View) -> None:
    from arf.radiance.scene import open_run
    from arf.radiance.viewing import view

    run = open_run(command.run)
    try:
        view(run, command.host, command.port, command.device, lambda url: print(f"{url}  {run.path}", flush=True))
    except KeyboardInterrupt:
        print("arf: closed the viewer", file=sys.stderr)


def _refuse_finished(run) -> None:
    if run.info["finished"]:
        raise UserError(f"{run.path} has finished; there is nothing to resume")


@contextmanager
def _progress(common: Any) -> Iterator[Any]:
    """Progress bars of rich on the terminal's error stream: one per phase, with the latest figures."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
    )  # fmt: skip
    tasks: dict[str, Any] = {}
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=common.quiet or common.json or not console.is_terminal) as bars:

        def update(phase: str, step: int, steps: int, figures: dict[str, float]) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=steps, figures="")
            said = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
            bars.update(tasks[phase], completed=step, total=steps, figures=said)

        yield update


def _report(result: dict[str, Any], as_json: bool) -> None:
    said = result.pop("say")
    print(json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in result.items()}) if as_json else said)


HANDLERS = {
    Demo: _demo,
    Fit: _fit,
    Stylize: _stylize,
    Render: _render,
    Export: _export,
    Evaluate: _evaluate,
    View: _view,
}

if __name__ == "__main__":
    sys.exit(main())

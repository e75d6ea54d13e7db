"""The commands that repaint a scene: in the style of pictures, or by pictures of its views."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from arf.cli.common import Output, progress
from arf.errors import UserError
from arf.radiance.settings import LiftSettings, Region, SplatSettings, StylizeSettings


@dataclass
class Stylize:
    """Repaint a fitted scene in the style of one or more pictures."""

    run: Positional[Path | None] = None
    """A run of `arf fit`, a folder that holds some (the newest is taken), or splats: a .ply, .splat or .spz, or a run
    folder of 3D Gaussian Splatting."""
    style: UseAppendAction[tuple[Path, ...]] = ()
    """Style picture; give it several times to mix styles."""
    region: UseAppendAction[tuple[str, ...]] = ()
    """Where a style goes, once for each --style and in their order; one more style goes everywhere else, which stays as
    photographed without one. Words in quotes: "mask.png@VIEW other.png@VIEW", white where it is; color=R,G,B
    tolerance=0.15; depth=0,0.3 (the nearest three tenths); box=x,y,z,x,y,z; sphere=x,y,z,r. And: soft=0.02, scale=0.5,
    strength=0.7."""
    show_regions: Path | None = None
    """Only write a picture of where the regions are (.png), and stop."""
    reference: Path | None = None
    """In place of styles: a view that you have painted, or a folder of some, called as their views are (see arf lift
    --export-views). They come back as painted, and the rest follows them."""
    view: str | None = None
    """The view of which --reference is, where it is called otherwise."""
    each: bool = False
    """Several style pictures make a painting each, not a mixture: what they share is computed once. A contact sheet
    shows them beside each other."""
    config: Path | None = None
    """Preset, such as configs/quick.yaml; flags win over it."""
    resume: Path | None = None
    """An unfinished run to go on with, in place of everything else."""
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""
    settings: OmitArgPrefixes[StylizeSettings] = field(default_factory=StylizeSettings)
    splats: OmitArgPrefixes[SplatSettings] = field(default_factory=SplatSettings)
    common: OmitArgPrefixes[Output] = field(default_factory=Output)


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
    """An unfinished run to go on with, in place of everything else."""
    overwrite: bool = False
    """Let --export-views replace files that exist already."""
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""
    settings: OmitArgPrefixes[LiftSettings] = field(default_factory=LiftSettings)
    splats: OmitArgPrefixes[SplatSettings] = field(default_factory=SplatSettings)
    common: OmitArgPrefixes[Output] = field(default_factory=Output)


@dataclass
class Blend:
    """Mix several paintings of one fit to another one."""

    runs: Positional[tuple[Path, ...]]
    """Paintings of one fit: runs of `arf stylize`, `arf lift` or `arf blend`."""
    weights: tuple[float, ...] = ()
    """One for each, adding up to 1; equal when left out."""
    size: int | None = None
    """Pixels of the longer side of the preview's pictures; 384 when left out."""
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    common: OmitArgPrefixes[Output] = field(default_factory=Output)


def _stylize(command: Stylize) -> dict[str, Any]:
    from arf.jobs.presets import unless_preset
    from arf.jobs.runs import Run
    from arf.radiance.opening import open_run, reopened
    from arf.radiance.paint.stylize import WITHOUT_STYLES, sheet_path, stylize_each
    from arf.radiance.records import Reference, paint_record

    styles, settings, unfinished = list(command.style), command.settings, None
    if command.each and (command.resume or settings.style_weights):
        idle = "--resume" if command.resume else "--style-weights"
        raise UserError(f"--each begins a painting of each style, and {idle} is of a single one; give one of the two")
    regions = [Region.parse(text) for text in command.region]
    if command.each and regions:
        raise UserError("--each begins a painting of each style, and --region is of a single one; give one of the two")
    reference = Reference(command.reference, command.view).resolved() if command.reference else None
    if reference and (styles or command.each):
        raise UserError("--reference brings its own style; leave --style and --each out")
    if command.view and not reference:
        raise UserError("--view names the view of a --reference; give one")
    if command.resume:
        _refuse_with_resume(command, "region", "reference", "view", "show_regions")
        unfinished = Run.open(command.resume, "stylize", finished=False)
        refuse_finished(unfinished)
        record = paint_record(unfinished)
        regions, reference = record.regions, record.reference
        if record.lift:
            raise UserError(f"{unfinished.path} is a run of arf lift; go on with arf lift --resume {unfinished.path}")
        if record.blend:
            raise UserError(f"{unfinished.path} is a run of arf blend, which takes seconds; blend again")
        styles, settings, fitted = [*record.styles], record.settings, reopened(record.fit)
    elif command.run is None:
        raise UserError("stylize what? Name a run: arf stylize RUN --style PICTURE (or --resume RUN)")
    else:
        fitted = open_run(command.run, "fit", command.splats, command.allow_outside)
        settings = _of_fit(command, "stylize", fitted)
        if reference:
            settings = unless_preset(settings, command.config, "stylize", WITHOUT_STYLES)
    with progress(command.common) as bars:
        mixtures = [[style] for style in styles] if command.each else [styles]
        if command.show_regions:
            return _show_regions(command, fitted, settings, regions, bars)
        common = command.common.output, bars, unfinished, command.allow_outside, regions, reference
        runs = stylize_each(fitted, mixtures, settings, *common)
    if not command.each:
        (run,) = runs
        said = f"{run.path}\nlook at {run.path / 'preview.png'}\nnext: arf render {run.path} --compare"
        return {"run": run.path, **run.info["metrics"], "say": said}
    names, sheet = [str(run.path) for run in runs], sheet_path(runs[0]) if len(runs) > 1 else None
    look = sheet or runs[0].path / "preview.png"
    said = "\n".join([*names, f"look at {look}", f"next: arf export {' '.join(names)} --format html"])
    return {"runs": names, "sheet": sheet, "say": said}


def _show_regions(command: Stylize, fitted: Any, settings: Any, regions: Any, bars: Any) -> dict[str, Any]:
    from arf.jobs.files import check_writable
    from arf.media import image
    from arf.radiance.paint.stylize import show_regions

    file = image.check_name(command.show_regions)
    if not regions or command.reference:
        raise UserError("--show-regions shows where each --region is; give one, and no --reference")
    if file.exists():
        raise UserError(f"{file} exists already; choose another name for --show-regions, or remove it")
    check_writable(file)
    sheet = show_regions(fitted, settings, regions, file.parent, bars, command.allow_outside)
    image.write(file, sheet)
    return {"picture": file, "say": f"{file}\nnext: the same without --show-regions"}


def _lift(command: Lift) -> dict[str, Any]:
    from arf.jobs.runs import Run
    from arf.radiance.opening import open_run, reopened
    from arf.radiance.paint.lifting.lift import lift
    from arf.radiance.records import Lifted, paint_record

    if command.export_views:
        return _export_views(command)
    settings, unfinished = command.settings, None
    if command.resume:
        _refuse_with_resume(command, "with_", "pictures")
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
        settings = _of_fit(command, "lift", fitted)
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
    from arf.radiance.paint.lifting.pictures import export_views

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


def _blend(command: Blend) -> dict[str, Any]:
    from arf.radiance.opening import open_run
    from arf.radiance.paint.blending import blend_runs
    from arf.radiance.settings import RepaintSettings

    runs = [open_run(path, "stylize", allow_outside=command.allow_outside) for path in command.runs]
    settings = RepaintSettings(size=command.size, device=command.device)
    with progress(command.common) as bars:
        run = blend_runs(runs, command.weights, settings, command.common.output, bars, command.allow_outside)
    said = f"{run.path}\nlook at {run.path / 'preview.png'}\nnext: arf render {run.path}"
    return {"run": run.path, **run.info["metrics"], "say": said}


def _of_fit(command: Any, section: str, fitted: Any) -> Any:
    """A command's settings, less what only its preset says of a nerfacto, for what is none."""
    from arf.jobs.presets import unless_preset
    from arf.radiance.records import fit_record

    if fit_record(fitted).model.get("backbone", "voxel") == "nerfacto":
        return command.settings
    return unless_preset(command.settings, command.config, section, ("color_resolution",))


def _refuse_with_resume(command: Any, *names: str) -> None:
    """Raises UserError where one of these was given beside --resume."""
    if idle := next((name for name in names if getattr(command, name)), ""):
        flag = idle.strip("_").replace("_", "-")
        raise UserError(f"--resume goes on with what its run was asked for; leave --{flag} out")


def refuse_finished(run) -> None:
    if run.info["finished"]:
        raise UserError(f"{run.path} has finished; there is nothing to resume")


COMMANDS = {"stylize": (Stylize, _stylize), "lift": (Lift, _lift), "blend": (Blend, _blend)}

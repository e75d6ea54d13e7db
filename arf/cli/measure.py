"""The command that measures a run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction

from arf.cli.common import Replacing, of_run, place, progress
from arf.errors import UserError
from arf.jobs.checks import check_unused
from arf.jobs.outputs import check_outputs, inputs_of
from arf.radiance.evaluate.settings import EvaluateSettings
from arf.radiance.settings import SplatSettings

OF_PAINTINGS = tuple(f.name for f in fields(EvaluateSettings) if f.name != "device")
ALONE = "for a fit without --frames"


@dataclass
class Evaluate:
    """Measure a fit against its held-out photographs; or a painting: how well its frames agree, how much of the style
    they show, how much of the place they keep."""

    run: Positional[Path]
    """A run, a folder that holds some (the newest is taken), or splats: a .ply, .splat or .spz."""
    against: UseAppendAction[tuple[Path, ...]] = ()
    """Another painting, to be measured along the same path; give it several times for several."""
    frames: Path | None = None
    """Folder of pictures that another program rendered along the path (`arf render --save-path` writes it): measured
    beside the run's, with the run's depth."""
    style: UseAppendAction[tuple[Path, ...]] = ()
    """Style picture to measure against, the painting's own when left out; give it several times for several."""
    config: Path | None = None
    """Preset; flags win over it."""
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""
    settings: OmitArgPrefixes[EvaluateSettings] = field(default_factory=EvaluateSettings)
    splats: OmitArgPrefixes[SplatSettings] = field(default_factory=SplatSettings)
    output: Path | None = None
    """Page to write (.html); the figures go beside it (.json). By default evaluation.html in the run. Of a fit alone
    nothing is written."""
    common: OmitArgPrefixes[Replacing] = field(default_factory=Replacing)


def _evaluate(command: Evaluate) -> dict[str, Any]:
    from arf.radiance.opening import open_run

    run = open_run(command.run, splats=command.splats, allow_outside=command.allow_outside)
    if run.kind == "stylize" or command.frames or command.against:
        return _measure(command, run)
    check_unused(command, ("style", "output"), ALONE)
    settings = of_run(command, "evaluate", run, OF_PAINTINGS)
    check_unused(settings, OF_PAINTINGS, ALONE)
    return _fidelity(command, run)


def _fidelity(command: Evaluate, run: Any) -> dict[str, Any]:
    from arf.jobs.device import pick_device
    from arf.radiance.evaluate.fidelity import evaluate
    from arf.radiance.opening import open_photoreal

    field, capture = open_photoreal(run, pick_device(command.settings.device), command.allow_outside)
    with progress(command.common) as bars:
        m = evaluate(field, capture.held_out, lambda *told: bars("evaluate", *told))
    said = f"PSNR {m['psnr']:.2f} dB, SSIM {m['ssim']:.3f}, {m['samples_per_ray']:.1f} samples per ray"
    return {"run": run.path, **m, "say": f"{run.path}: {len(capture.held_out)} held-out views: {said}"}


def _measure(command: Evaluate, run: Any) -> dict[str, Any]:
    from arf.jobs.files import plain, write_json
    from arf.jobs.locks import sole_writer
    from arf.radiance.evaluate.page import rows, text, write_page
    from arf.radiance.evaluate.painted import measure
    from arf.radiance.opening import files_behind, open_run

    runs = [run, *(open_run(path, "stylize") for path in command.against)]
    page = command.output or place(run, "evaluation.html")
    if page.suffix.lower() != ".html":
        raise UserError(f"cannot write {page}: the name of a page must end in .html")
    figures, read = page.with_suffix(".json"), [file for each in runs for file in files_behind(each)]
    check_outputs([page, figures], [*inputs_of(command), *read], command.common.overwrite)
    with sole_writer(page, command.common.overwrite), progress(command.common) as bars:
        found = measure(runs, command.settings, command.frames, command.style, bars, command.allow_outside)
        table = rows(found)
        write_page(page, found)
        write_json(figures, plain({"settings": command.settings, "runs": [r.path for r in runs], "films": table}))
    lacks = f"\n{found.lacks}" if found.lacks else ""
    return {
        "page": page, "figures": figures, "films": table,
        "say": f"{text(table)}{lacks}\n{page}  the pairs that agree least: open it in a browser",
    }  # fmt: skip


COMMANDS = {"evaluate": (Evaluate, _evaluate)}

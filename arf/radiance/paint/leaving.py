"""What a painted scene leaves behind: its description, its model and its preview, whoever held the brush."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.capture.views import Capture
from arf.radiance.extras import nerfstudio
from arf.radiance.fields.field import Field
from arf.radiance.fields.rays.field import RayField
from arf.radiance.looks.painted import Painted
from arf.radiance.records import fit_record
from arf.radiance.settings import RepaintSettings


def description(fitted: Run, styles: Sequence[Path], settings: RepaintSettings, field: Field) -> dict[str, Any]:
    """What arf.json says of a painting: enough to open it without the fit, and to resume it with the fit."""
    record = fit_record(fitted)
    source = {key: getattr(record, key) for key in ("data", "settings", "parser", "capture", "sight")}
    return {
        "kind": "stylize", "styles": [path.resolve() for path in styles], "settings": settings,
        "fit": {**source, "run": fitted.path.resolve()}, "model": {"backbone": field.name, **field.values()},
    }  # fmt: skip


def write_for_nerfstudio(run: Run, capture: Capture, painted: Painted) -> None:
    """Write what nerfstudio needs to open a painting, where it is installed and knows the kind of field."""
    if isinstance(painted.field, RayField) and (room := nerfstudio("runs.writing")):
        room.write_painting(run, capture, painted)


def finish_painting(
    run: Run, painted: Painted, preview: Float[Tensor, "h w 3"], steps: int, metrics: dict[str, Any]
) -> None:
    """Write model.safetensors and preview.png, and mark the run as done."""
    run.save("model", painted.tensors(), step=steps)
    image.write(run.path / "preview.png", preview)
    model = {"backbone": painted.field.name, **painted.field.values()}  # what it was painted on
    run.finish(metrics={"columns": len(painted.look.theta), **metrics}, steps=steps, model=model)

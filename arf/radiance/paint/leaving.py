"""What a painted scene leaves behind: its description, its model and its preview, whoever held the brush."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.capture.views import Views
from arf.radiance.fields.field import Field
from arf.radiance.looks.painted import Painted, picture
from arf.radiance.records import fit_record
from arf.radiance.settings import StylizeSettings


def description(fitted: Run, styles: list[Path], settings: StylizeSettings, field: Field) -> dict[str, Any]:
    """What arf.json says of a painting: enough to open it without the fit, and to resume it with the fit."""
    record = fit_record(fitted)
    source = {key: getattr(record, key) for key in ("data", "settings", "parser", "capture", "sight")}
    return {
        "kind": "stylize", "styles": [path.resolve() for path in styles], "settings": settings,
        "fit": {**source, "run": fitted.path.resolve()}, "model": {"backbone": field.name, **field.values()},
    }  # fmt: skip


def finish_painting(
    run: Run, painted: Painted, views: Views, styles: list[Tensor], steps: int, metrics: dict[str, Any]
) -> None:
    """Write model.safetensors and preview.png, and mark the run as done.

    Args:
        styles: pictures [H, W, 3].
    """
    run.save("model", painted.tensors(), step=steps)
    image.write(run.path / "preview.png", preview(painted, views, styles))
    model = {"backbone": painted.field.name, **painted.field.values()}  # what it was painted on
    run.finish(metrics={"columns": len(painted.look.theta), **metrics}, steps=steps, model=model)


def preview(painted: Painted, views: Views, styles: list[Tensor], rows: int = 4) -> Float[Tensor, "h w 3"]:
    """before | style | after, for some of the views."""
    table = []
    for k, i in enumerate(apart(len(views), rows)):
        both = picture(painted.field, painted.look, views.cameras[i], drop=painted.drop)
        before, after = both.split(3, dim=2)
        table.append([before, styles[k % len(styles)], after])
    return image.contact_sheet(table)


def apart(count: int, most: int) -> list[int]:
    """Some of so many views: the middles of equal parts, since a way around something ends where it began."""
    return sorted({int((part + 0.5) / most * count) for part in range(most)})

"""What a painted scene leaves behind: its description, its model and its preview, whoever held the brush."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from arf.jobs.runs import Run
from arf.media import image
from arf.nerfstudio.stylized import StylizedModel
from arf.radiance.capture.capture import Views
from arf.radiance.fields.backbones import plain
from arf.radiance.fields.trace import trace
from arf.radiance.settings import StylizeSettings


def description(fitted: Run, styles: list[Path], settings: StylizeSettings, backbone) -> dict[str, Any]:
    """What arf.json says of a painting: enough to open it without the fit, and to resume it with the fit."""
    source = {key: fitted.info.get(key) for key in ("data", "settings", "parser")}
    return {
        "kind": "stylize", "styles": [path.resolve() for path in styles], "settings": settings,
        "fit": {**source, "run": fitted.path.resolve()}, "model": plain(backbone.config),
    }  # fmt: skip


def finish_painting(
    run: Run, model: StylizedModel, views: Views, styles: list[Tensor], steps: int, metrics: dict[str, Any]
) -> None:
    """Write model.safetensors and preview.png, and mark the run as done.

    Args:
        styles: pictures [H, W, 3].
    """
    run.save("model", model.state_dict(), step=steps)
    image.write(run.path / "preview.png", preview(model, views, styles))
    run.finish(metrics={"vertices": len(model.colors.keys), **metrics}, steps=steps)


@torch.no_grad()
def preview(model: StylizedModel, views: Views, styles: list[Tensor], rows: int = 4) -> Float[Tensor, "h w 3"]:
    """before | style | after, for some of the views."""
    table = []
    for k, i in enumerate(sorted({round(x) for x in np.linspace(0, len(views) - 1, rows)})):
        traced = trace(model.backbone, *views.rays(i), model.config.drop_weight)
        size = (*views.size(i), 3)
        before = traced.composite(traced.rgb, model.backbone.background).clamp(0, 1).cpu().view(size)
        after = model.colors.render(traced).clamp(0, 1).cpu().view(size)
        table.append([before, styles[k % len(styles)], after])
    return image.contact_sheet(table)

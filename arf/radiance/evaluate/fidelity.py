"""How near a field comes to photographs that it never saw."""

from __future__ import annotations

from collections.abc import Callable

import torch

from arf.errors import UserError
from arf.metrics import psnr, ssim
from arf.radiance.capture.views import Views
from arf.radiance.fields.field import Field


@torch.no_grad()
def evaluate(
    field: Field, views: Views, told: Callable[[int, int, dict[str, float]], None] = lambda *_: None
) -> dict[str, float]:
    """Mean PSNR and SSIM over views, of the pixels that count, and the samples per ray that weigh more than 0.01.

    Args:
        told: called after each view with how many are done, of how many, and the means of those.

    Raises:
        UserError: there is no view.
    """
    if not len(views):
        raise UserError("no view was held out of training, so that nothing can be measured; fit with some held out")
    totals = {"psnr": 0.0, "ssim": 0.0, "samples_per_ray": 0.0}
    for i in range(len(views)):
        photograph, parts = views.photograph(i), []
        samples = 0
        for band in views.cameras[i].bands(field.band):
            shot = field.shoot(band)
            parts.append(shot.color.clamp(0, 1).cpu())
            samples += int(shot.samples.sum())
        picture = torch.cat(parts).view(photograph.image.shape)
        totals["psnr"] += psnr(picture, photograph.image, photograph.mask)
        totals["ssim"] += ssim(picture, photograph.image, photograph.mask)
        totals["samples_per_ray"] += samples / views.cameras[i].pixels
        means = {name: value / (i + 1) for name, value in totals.items()}
        told(i + 1, len(views), {name: means[name] for name in ("psnr", "ssim")})
    return means

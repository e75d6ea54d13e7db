"""How nerfstudio's evaluation measures our models."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from arf.metrics import psnr, ssim


def composited(picture: Float[Tensor, "*n c"], background: Float[Tensor, " 3"]) -> Float[Tensor, "*n 3"]:
    """RGB, or RGBA over a background."""
    if picture.shape[-1] == 3:
        return picture
    return picture[..., :3] * picture[..., 3:] + (1 - picture[..., 3:]) * background


def picture_metrics(
    picture: Float[Tensor, "h w 3"], batch: dict[str, Tensor], background: Float[Tensor, " 3"]
) -> tuple[dict[str, float], Float[Tensor, "h w 3"]]:
    """PSNR and SSIM of a rendering against a batch's photograph, where that counts, and the photograph."""
    truth = composited(batch["image"].to(picture.device), background)
    mask = batch.get("mask")
    mask = None if mask is None else mask[..., 0].to(picture.device)
    return {"psnr": psnr(picture, truth, mask), "ssim": ssim(picture, truth, mask)}, truth

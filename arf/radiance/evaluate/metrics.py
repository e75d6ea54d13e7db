"""How near a rendering is to a photograph. LPIPS is left out: its weights would be downloaded."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def psnr(picture: Float[Tensor, "*n"], truth: Float[Tensor, "*n"]) -> float:
    """Peak signal-to-noise ratio in dB of values in [0, 1]."""
    return float(-10 * torch.log10((picture - truth).square().mean().clamp_min(1e-12)))


def ssim(picture: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"]) -> float:
    """Structural similarity (Wang et al., 2004), through torchmetrics."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    pair = [p.permute(2, 0, 1)[None] for p in (picture, truth)]
    return float(structural_similarity_index_measure(*pair, data_range=1.0))

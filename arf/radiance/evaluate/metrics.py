"""How near a rendering is to a photograph. LPIPS is left out: its weights would be downloaded."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

Mask = Bool[Tensor, "h w"]
WINDOW = 5  # pixels on either side of its middle that SSIM's Gaussian window takes in


def psnr(picture: Float[Tensor, "*n"], truth: Float[Tensor, "*n"], mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB of values in [0, 1], over the pixels of the mask."""
    error = (picture - truth).square()
    error = error if mask is None else error[mask]
    return float(-10 * torch.log10(error.mean().clamp_min(1e-12)))


def ssim(picture: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"], mask: Mask | None = None) -> float:
    """Structural similarity (Wang et al., 2004), through torchmetrics: the mean over the pixels whose whole window lies
    in the mask, or over those of the mask where there are none."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    pair = [p.permute(2, 0, 1)[None] for p in (picture, truth)]
    if mask is None:
        return float(structural_similarity_index_measure(*pair, data_range=1.0))
    _, where = structural_similarity_index_measure(*pair, data_range=1.0, return_full_image=True)
    beyond = (~mask).float()[None, None]
    whole = mask & (max_pool2d(beyond, 2 * WINDOW + 1, 1, WINDOW)[0, 0] == 0)
    return float(where[0].mean(0)[whole if whole.any() else mask].mean())

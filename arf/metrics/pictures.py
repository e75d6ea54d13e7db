"""How near a picture is to another, pixel by pixel and window by window."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, pad

Mask = Bool[Tensor, "h w"]
WINDOW, SIGMA = 5, 1.5  # pixels on either side of its middle that SSIM's Gaussian window takes in; its deviation
C1, C2 = 0.01**2, 0.03**2


def psnr(picture: Float[Tensor, "*n"], truth: Float[Tensor, "*n"], mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB of values in [0, 1], over the pixels of the mask."""
    error = (picture - truth).square()
    error = error if mask is None else error[mask]
    return float(-10 * torch.log10(error.mean().clamp_min(1e-12)))


def rmse(picture: Float[Tensor, "h w c"], truth: Float[Tensor, "h w c"], mask: Mask | None = None) -> float:
    """Root of the mean squared difference over the channels and the pixels of the mask; NaN where that has none."""
    error = (picture - truth).square()
    return float((error if mask is None else error[mask]).mean().sqrt())


def ssim(picture: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"], mask: Mask | None = None) -> float:
    """Structural similarity (Wang et al., 2004) of values in [0, 1], as torchmetrics gives it: the mean over pixels and
    channels, the pictures mirrored beyond their borders. With a mask over the pixels whose whole window lies in it, or
    over those of the mask where there are none."""
    where = _similarity(picture, truth)  # [h, w]
    if mask is None:
        return float(where.mean())
    beyond = (~mask).float()[None, None]
    whole = mask & (max_pool2d(beyond, 2 * WINDOW + 1, 1, WINDOW)[0, 0] == 0)
    return float(where[whole if whole.any() else mask].mean())


def _similarity(picture: Float[Tensor, "h w 3"], truth: Float[Tensor, "h w 3"]) -> Float[Tensor, "h w"]:
    """Of each pixel's window, the mean over the channels."""
    a, b = (pad(p.permute(2, 0, 1), 4 * (WINDOW,), "reflect") for p in (picture, truth))  # [3, h + 10, w + 10] each
    x, y, xx, yy, xy = _blurred(torch.cat([a, b, a * a, b * b, a * b])).split(3)
    above = (2 * x * y + C1) * (2 * (xy - x * y) + C2)
    below = (x * x + y * y + C1) * ((xx - x * x).clamp_min(0) + (yy - y * y).clamp_min(0) + C2)
    return (above / below).mean(0)


def _blurred(planes: Float[Tensor, "c h w"]) -> Float[Tensor, "c h-10 w-10"]:
    """Means under the window."""
    steps = torch.arange(-WINDOW, WINDOW + 1).to(planes)
    window = (-steps.square() / (2 * SIGMA**2)).exp()
    window = (window / window.sum()).expand(len(planes), 1, 1, -1)  # [c, 1, 1, 11]
    return conv2d(conv2d(planes[None], window, groups=len(planes)), window.mT, groups=len(planes))[0]

"""The loss of `likeness` in torch, and its gradient, on any device."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d

from arf.radiance.fields.splats.descent.likeness import C1, C2, REACH, SHARE, WINDOW

Picture = Float[Tensor, "h w 3"]


def slope(picture: Picture, target: Picture) -> Picture:
    """The gradient of the loss with respect to the picture."""
    picture = picture.detach().requires_grad_()
    # cuDNN may round convolutions to ten bits (TF32), and variances are small differences
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        return torch.autograd.grad(loss(picture, target), picture)[0]


def loss(picture: Picture, target: Picture) -> Float[Tensor, ""]:
    """(1 − λ) L1 + λ (1 − SSIM)."""
    return (1 - SHARE) * (picture - target).abs().mean() + SHARE * (1 - ssim(picture, target))


def ssim(picture: Picture, target: Picture) -> Float[Tensor, ""]:
    """The mean over pixels and channels (Wang et al., 2004), zeros beyond the borders."""
    a, b = (part.permute(2, 0, 1).contiguous() for part in (picture, target))  # [3, h, w] each
    x, y, xx, yy, xy = _blurred(torch.cat([a, b, a * a, b * b, a * b])).split(3)
    above = (2 * x * y + float(C1)) * (2 * (xy - x * y) + float(C2))
    below = (x * x + y * y + float(C1)) * (xx - x * x + yy - y * y + float(C2))
    return (above / below).mean()


def _blurred(planes: Float[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
    count = len(planes)
    window = torch.from_numpy(WINDOW).to(planes).expand(count, 1, 1, -1).contiguous()  # [c, 1, 1, 11]
    across = conv2d(planes[None], window, padding=(0, REACH), groups=count)
    return conv2d(across, window.mT.contiguous(), padding=(REACH, 0), groups=count)[0]

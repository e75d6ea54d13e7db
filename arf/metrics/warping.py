"""Pictures moved over one another: backwards by looking up, forwards by splatting."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

ROUNDED = 1e-3  # pixels by which a place may be off
TINY = 1e-7  # of a pixel's weights: below it nothing has come there


def look_up(
    values: Float[Tensor, "h w c"], places: Float[Tensor, "h2 w2 2"]
) -> tuple[Float[Tensor, "h2 w2 c"], Bool[Tensor, "h2 w2"]]:
    """Values at places, bilinear between the four pixels around each, and where there are four.

    Args:
        places: column and row in pixels; the centre of the first pixel is (0.5, 0.5).
    """
    height, width = values.shape[:2]
    size = places.new_tensor([width, height])
    grid = (2 * places / size - 1)[None]  # where a picture goes from -1 to 1
    planes = values.permute(2, 0, 1)[None]
    found = grid_sample(planes, grid, padding_mode="border", align_corners=False)[0].permute(1, 2, 0)
    inside = ((places >= 0.5 - ROUNDED) & (places <= size - 0.5 + ROUNDED)).all(-1)
    return found, inside


def splat(
    values: Float[Tensor, "h w c"], flow: Float[Tensor, "h w 2"], importance: Float[Tensor, "h w"]
) -> Float[Tensor, "h w c"]:
    """Values moved along a flow and summed bilinearly where they fall, those that fall together weighted by the
    exponential of their importance (softmax splatting; Niklaus & Liu, CVPR 2020). 0 where nothing falls.

    Args:
        flow: columns and rows in pixels.
    """
    height, width, channels = values.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    target = torch.stack([columns, rows], -1).to(flow) + flow  # [h, w, 2]
    first = target.floor()
    weighted = (
        torch.cat([values, torch.ones_like(values[..., :1])], -1) * (importance - importance.max()).exp()[..., None]
    )
    total = values.new_zeros(height * width, channels + 1)
    for corner in flow.new_tensor([[0, 0], [1, 0], [0, 1], [1, 1]]):
        x, y = (first + corner).long().unbind(-1)
        share = (1 - (target - first - corner).abs()).prod(-1)  # [h, w]
        there = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        total.index_add_(0, (y * width + x)[there], (weighted * share[..., None])[there])
    found = total[:, :-1] / total[:, -1:].clamp_min(TINY)
    return found.view(height, width, channels)

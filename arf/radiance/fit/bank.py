"""All training pixels, drawn at random: three bytes for each, and its ray when it is drawn."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.views import Views
from arf.radiance.fields.rays.batch import RayBatch

Shown = tuple[UInt8[Tensor, "h w 3"], Bool[Tensor, "h w"] | None]  # colours, and which of them count; None: all


class RayBank:
    """The pixels of views that count, one after the other.

    Attributes:
        colors: uint8 [P, 3] of all pixels, view after view, row after row.
        starts: int64 [views + 1] where each view's begin.
        chosen: int64 [p] the pixels that are not masked out, or None where none is.
    """

    def __init__(
        self,
        cameras: Cameras,
        colors: UInt8[Tensor, "p 3"],
        starts: Int[Tensor, " n1"],
        chosen: Int[Tensor, " c"] | None,
        device: torch.device,
    ) -> None:
        self.colors, self.starts = colors.to(device), starts.to(device)
        self.chosen = None if chosen is None else chosen.to(device)
        self.poses, self.width = cameras.poses.to(device), cameras.width.to(device)
        self.inner = torch.stack([cameras.fx, cameras.fy, cameras.cx, cameras.cy], 1).to(device)  # [n, 4]

    @classmethod
    def of(cls, views: Views, device: torch.device) -> RayBank:
        """Read every photograph once."""
        photographs = (views.photograph(i) for i in range(len(views)))
        return cls.made_of(
            views.cameras, (((p.image * 255).round().to(torch.uint8), p.mask) for p in photographs), device
        )

    @classmethod
    def made_of(cls, cameras: Cameras, pictures: Iterable[Shown], device: torch.device) -> RayBank:
        """Of what each camera shows."""
        sizes = cameras.width * cameras.height  # [n]
        starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        colors, masks = torch.empty(int(starts[-1]), 3, dtype=torch.uint8), {}
        for i, (picture, mask) in enumerate(pictures):
            colors[starts[i] : starts[i + 1]] = picture.flatten(0, 1)
            if mask is not None:
                masks[i] = mask.flatten()
        chosen = None
        if masks:
            counted = torch.ones(len(colors), dtype=torch.bool)
            for i, mask in masks.items():
                counted[starts[i] : starts[i + 1]] = mask
            chosen = counted.nonzero().squeeze(1)
        return cls(cameras, colors, starts, chosen, device)

    def __len__(self) -> int:
        return len(self.colors) if self.chosen is None else len(self.chosen)

    def draw(self, count: int) -> RayBatch:
        """Random rays and their true colours."""
        pixel = torch.randint(0, len(self), (count,), device=self.colors.device)
        if self.chosen is not None:
            pixel = self.chosen[pixel]
        view = torch.searchsorted(self.starts, pixel, right=True) - 1  # [r]
        place, width = pixel - self.starts[view], self.width[view]
        return RayBatch(self.poses[view][:, :, 3], self._directions(view, place % width, place // width),
                        self.colors[pixel].float() / 255, view)  # fmt: skip

    def _directions(
        self, view: Int[Tensor, " r"], column: Int[Tensor, " r"], row: Int[Tensor, " r"]
    ) -> Float[Tensor, "r 3"]:
        fx, fy, cx, cy = self.inner[view].unbind(1)
        x, y = (column + 0.5 - cx) / fx, -(row + 0.5 - cy) / fy
        local = torch.stack([x, y, -torch.ones_like(x)], 1)  # [r, 3]
        return normalize((self.poses[view][:, :, :3] @ local[:, :, None])[:, :, 0], dim=1)

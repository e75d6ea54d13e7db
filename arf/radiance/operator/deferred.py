"""Deferred back-propagation: the gradient of a loss on a whole picture, in the memory of some of its rows.

Zhang et al., ARF (ECCV 2022), sec. 3.2: render the picture without a graph, take the loss and its gradient with
respect to each pixel, then render again band by band and pull the pixels' gradient through each. Everything is traced
twice. It is what remains where render operators do not fit (`--no-cache`). A field that renders colours directly needs
no trace for it, and no bands.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import avg_pool2d

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.field import Direct, Field
from arf.radiance.operator.matrix import RenderOperator


class DeferredView:
    """One view of a frozen field with nothing stored: every use renders or traces it anew. It has the interface of
    `RenderOperator`.

    Args:
        count: number of columns.
        drop: share of each pixel's weight that a trace may leave out.
        rays: per pixel, along each side; a pixel is their mean.
    """

    def __init__(self, field: Field, camera: Camera, count: int, drop: float = 0.0, rays: int = 1) -> None:
        self.field, self.camera, self.count, self.drop, self.rays = field, camera, count, drop, rays
        self._fine = camera.finer(rays)

    def apply(self, theta: Float[Tensor, "V 3"], background: Float[Tensor, " 3"]) -> Float[Tensor, "h w 3"]:
        """Render colours of the columns. Differentiable in `theta`."""
        picture = _Deferred.apply(theta, background, self)
        if self.rays == 1:
            return picture
        return avg_pool2d(picture.permute(2, 0, 1)[None], self.rays)[0].permute(1, 2, 0)

    @torch.no_grad()
    def transpose(self, picture: Float[Tensor, "h w c"]) -> Float[Tensor, "V c"]:
        """How much each column contributed to a picture."""
        if self.rays > 1:
            picture = picture.repeat_interleave(self.rays, 0).repeat_interleave(self.rays, 1) / self.rays**2
        return self._pull(picture)

    def bands(self) -> Iterator[RenderOperator]:
        """The operators of successive rows of the finer picture, their entries as they were traced."""
        for band in self._fine.bands(self.field.band):
            traced = self.field.trace(band, self.drop)
            index = traced.columns.dtype
            rows = traced.starts.to(index), traced.columns, traced.weights
            yield RenderOperator(*band.size, self.count, *rows, traced.leftover)

    def _render(self, theta: Tensor, background: Tensor) -> Tensor:
        if isinstance(self.field, Direct):
            return self.field.render(self._fine, theta, background)
        return torch.cat([band.apply(theta, background) for band in self.bands()])

    def _pull(self, picture: Tensor) -> Tensor:
        if isinstance(self.field, Direct):
            return self.field.pull(self._fine, picture)
        out, first = picture.new_zeros(self.count, picture.shape[2]), 0
        for band in self.bands():
            out += band.transpose(picture[first : first + band.height])
            first += band.height
        return out


class _Deferred(torch.autograd.Function):
    @staticmethod
    def forward(ctx, theta, background, view):
        ctx.view = view
        return view._render(theta, background)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return ctx.view._pull(gradient), None, None

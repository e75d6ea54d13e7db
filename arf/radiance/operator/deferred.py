"""Deferred back-propagation: the gradient of a loss on a whole picture, in the memory of some of its rows.

Zhang et al., ARF (ECCV 2022), sec. 3.2: render the picture without a graph, take the loss and its gradient with
respect to each pixel, then render again band by band and pull the pixels' gradient through each. Everything is traced
twice. It is what remains where render operators do not fit (`--no-cache`). A field that renders colours directly needs
no trace for it, and no bands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.views import Views
from arf.radiance.fields.field import Direct, Field
from arf.radiance.operator.matrix import RenderOperator


class DeferredSet:
    """The training views of a frozen field, like `OperatorSet`, with nothing stored: every use traces the view anew.

    Attributes:
        count: number of columns.
        nbytes, entries, pixels: totals over the views; there are no bytes and no entries.
    """

    nbytes = entries = 0

    def __init__(
        self,
        field: Field,
        views: Views,
        drop: float = 0.0,
        resolution: int | None = None,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self.field, self.views, self.drop = field, views, drop
        self.pixels = sum(camera.pixels for camera in views.cameras)
        with field.survey(views, resolution) as columns_are_met:
            for i, camera in enumerate(views.cameras):
                if columns_are_met:  # no Direct field's
                    for band in camera.bands(field.band):
                        field.trace(band, drop)
                progress(i + 1, len(views))
        self.count = field.count

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, i: int) -> DeferredView:
        return DeferredView(self, self.views.cameras[i])

    def prefetch(self, i: int) -> None:
        """There is nothing to fetch."""


class DeferredView:
    """One view of a `DeferredSet`, with the interface of `RenderOperator`."""

    def __init__(self, views: DeferredSet, camera: Camera) -> None:
        self.views, self.camera = views, camera

    def apply(self, theta: Float[Tensor, "V 3"], background: Float[Tensor, " 3"]) -> Float[Tensor, "h w 3"]:
        """Render colours of the columns. Differentiable in `theta`."""
        return _Deferred.apply(theta, background, self)

    @torch.no_grad()
    def transpose(self, picture: Float[Tensor, "h w 3"]) -> Float[Tensor, "V 3"]:
        """How much each column contributed to a picture."""
        if isinstance(self.views.field, Direct):
            return self.views.field.pull(self.camera, picture)
        out, first = picture.new_zeros(self.views.count, picture.shape[2]), 0
        for band in self.bands():
            out += band.transpose(picture[first : first + band.height])
            first += band.height
        return out

    def bands(self) -> Iterator[RenderOperator]:
        """The operators of successive rows, their entries as they were traced."""
        field = self.views.field
        for band in self.camera.bands(field.band):
            traced = field.trace(band, self.views.drop)
            index = traced.columns.dtype
            rows = traced.starts.to(index), traced.columns, traced.weights
            yield RenderOperator(*band.size, self.views.count, *rows, traced.leftover)


class _Deferred(torch.autograd.Function):
    @staticmethod
    def forward(ctx, theta, background, view):
        ctx.view, field = view, view.views.field
        if isinstance(field, Direct):
            return field.render(view.camera, theta, background)
        return torch.cat([band.apply(theta, background) for band in view.bands()])

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return ctx.view.transpose(gradient), None, None

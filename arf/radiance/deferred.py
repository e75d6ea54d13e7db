"""Deferred back-propagation: the gradient of a loss on a whole picture, in the memory of a few thousand rays.

Zhang et al., ARF (ECCV 2022), sec. 3.2: render the picture without a graph, take the loss and its gradient with
respect to each pixel, then render again chunk by chunk and pull the pixels' gradient through each chunk. Everything is
rendered twice. It is what remains where render operators do not fit (`--no-cache`), or where colour is not linear in
what is optimised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from arf.radiance.backbone import Backbone
from arf.radiance.capture import Views
from arf.radiance.trace import Trace, trace
from arf.radiance.views import vertices_of
from arf.radiance.volume import add_rows, interpolate

CHUNK = 4096  # rays at a time: in cache on a CPU

Render = Callable[[Float[Tensor, "n 3"], Float[Tensor, "n 3"]], Float[Tensor, "n c"]]


def render_deferred(
    render: Render, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"], chunk: int
) -> Float[Tensor, "r c"]:
    """Pixels of rays, differentiable in whatever parameters `render` uses, and in nothing else.

    The backward pass renders each chunk again with the random numbers that it had the first time, so both passes see
    the same samples. Rays belong on the device on which `render` draws.

    Args:
        render: from origins and unit directions of some rays to their pixels; called twice for each chunk.
        chunk: rays at a time; memory grows with them, and not with all of them.
    """
    parts = zip(origins.split(chunk), directions.split(chunk), strict=True)
    return torch.cat([checkpoint(render, *rays, use_reentrant=False, preserve_rng_state=True) for rays in parts])


class DeferredSet:
    """The training views of a frozen scene, like `OperatorSet`, with nothing stored: every use traces the view anew.

    Samples are those that an operator is made of, chunk for chunk, so pictures and gradients are the operator's.

    Attributes:
        keys: int64 [V] sorted row-major indices of the vertices that some view sees, in the colour grid.
        shape: cells of the colour grid per axis.
        nbytes, entries, pixels: totals over the views; there are no bytes and no entries.
    """

    nbytes = entries = 0

    def __init__(
        self, model: Backbone, views: Views, drop_weight: float, progress: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        self.model, self.views, self.drop_weight, self.shape = model, views, drop_weight, model.color_shape
        self.pixels = 0
        cells = []
        for i in range(len(views)):
            cells += [traced.cell.unique() for traced, _ in self.traces(i)]
            self.pixels += views.size(i)[0] * views.size(i)[1]
            progress(i + 1, len(views))
        self.keys: Int[Tensor, " V"] = vertices_of(torch.cat(cells), self.shape)

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, i: int) -> DeferredView:
        return DeferredView(self, i)

    def prefetch(self, i: int) -> None:
        """There is nothing to fetch."""

    @property
    def chunk(self) -> int:
        """Rays at a time, at most as many as `trace` takes; in nerfacto that is as many: same batch, same bits."""
        return min(CHUNK, self.model.config.eval_num_rays_per_chunk)

    def rays(self, i: int) -> tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"]]:
        """The rays of a view, on the model's device."""
        origins, directions = self.views.rays(i)
        return origins.to(self.model.device), directions.to(self.model.device)

    def traces(self, i: int) -> Iterator[tuple[Trace, slice]]:
        """A view chunk by chunk: traced, and which of its pixels these are."""
        origins, directions = self.rays(i)
        for first in range(0, len(origins), self.chunk):
            here = slice(first, first + self.chunk)
            yield trace(self.model, origins[here], directions[here], self.drop_weight), here

    def vertices(self, traced: Trace) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
        """Rows of the eight vertices around each sample in `keys`, and their weights: 0 where no view has seen one."""
        vertices, share = traced.vertices(self.shape)
        rows = torch.searchsorted(self.keys, vertices).clamp_max(len(self.keys) - 1)
        return rows, share * (self.keys[rows] == vertices)


class DeferredView:
    """One view of a `DeferredSet`, with the interface of `RenderOperator`."""

    def __init__(self, views: DeferredSet, i: int) -> None:
        self.views, self.i = views, i

    def apply(self, theta: Float[Tensor, "V 3"], background: Float[Tensor, " 3"]) -> Float[Tensor, "h w 3"]:
        """Render vertex colours. Differentiable in `theta`."""

        def render(origins: Tensor, directions: Tensor) -> Tensor:
            traced = trace(self.views.model, origins, directions, self.views.drop_weight)
            return traced.composite(interpolate(theta, *self.views.vertices(traced)), background)

        pixels = render_deferred(render, *self.views.rays(self.i), self.views.chunk)
        return pixels.view(*self.views.views.size(self.i), -1)

    @torch.no_grad()
    def transpose(self, picture: Float[Tensor, "h w 3"]) -> Float[Tensor, "V 3"]:
        """How much each vertex contributed to a picture."""
        flat = picture.reshape(-1, picture.shape[-1])  # [p, 3]
        out = flat.new_zeros(len(self.views.keys), flat.shape[1])
        for traced, here in self.views.traces(self.i):
            along = traced.weight[:, None] * flat[here][traced.ray]  # [n, 3]
            out += add_rows(*self.views.vertices(traced), along, len(out))
        return out

"""Deferred back-propagation: the gradient of a loss on a whole picture, in the memory of a few thousand rays.

Zhang et al., ARF (ECCV 2022), sec. 3.2: render the picture without a graph, take the loss and its gradient with
respect to each pixel, then render again chunk by chunk and pull the pixels' gradient through each chunk. Everything is
rendered twice. It is what remains where render operators do not fit (`--no-cache`), or where colour is not linear in
what is optimised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from arf.radiance.capture.capture import Views
from arf.radiance.fields.backbone import Backbone
from arf.radiance.fields.trace import Trace, trace
from arf.radiance.fields.voxel.volume import add_rows, interpolate
from arf.radiance.operator.operators import vertices_of

RAYS = 4096  # at a time: in cache on a CPU

Render = Callable[[slice], Float[Tensor, "n ..."]]


def render_deferred(render: Render, parameters: Sequence[Tensor], rows: int, chunks: int) -> Float[Tensor, "rows ..."]:
    """Render a picture chunk by chunk, differentiable in `parameters`.

    A chunk is every so many-th row, which makes one as heavy as the next. The backward pass renders each again with the
    random numbers that it had the first time, so both passes see the same samples. (torch's checkpointing of chunks
    does that too, but its memory is not flat on a CPU: the chunks' results, kept between short-lived tensors, leave the
    heap in pieces. Here they are copied to their place.)

    Args:
        render: from a choice of rows to what they show; called twice for each chunk.
        parameters: what the gradient is wanted of. Random numbers are drawn on their device.
        rows: how many the picture has.
        chunks: how many it is rendered in; one of them is all that is kept beside the picture and its gradient.
    """
    return _Deferred.apply(render, rows, [slice(k, rows, chunks) for k in range(min(chunks, rows))], *parameters)


class _Deferred(torch.autograd.Function):
    @staticmethod
    def forward(ctx, render, rows, chunks, *parameters):
        ctx.render, ctx.chunks = render, chunks
        ctx.state = _State(parameters[0].device)
        ctx.save_for_backward(*parameters)
        picture = None
        for here in chunks:
            part = render(here)  # [n, c]
            picture = part.new_empty(rows, *part.shape[1:]) if picture is None else picture
            picture[here] = part
        return picture

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        parameters = ctx.saved_tensors
        totals = [torch.zeros_like(parameter) for parameter in parameters]
        with ctx.state.again():
            for here in ctx.chunks:
                with torch.enable_grad():
                    part = ctx.render(here)
                if part.requires_grad:
                    pulled = torch.autograd.grad(part, parameters, gradient[here], allow_unused=True)
                    for total, pull in zip(totals, pulled, strict=True):
                        if pull is not None:
                            total += pull
        return None, None, None, *totals


class _State:
    """What a rendering depends on beside its inputs: random generators and mixed precision."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.cuda = device, [device] if device.type == "cuda" else []
        self.random = torch.get_rng_state(), [torch.cuda.get_rng_state(d) for d in self.cuda]
        self.half = {"enabled": torch.is_autocast_enabled(device.type), "dtype": torch.get_autocast_dtype(device.type)}

    @contextmanager
    def again(self) -> Iterator[None]:
        """Bring it back for a while; the generators then go on from where they are now."""
        with torch.random.fork_rng(self.cuda), torch.autocast(self.device.type, **self.half):
            torch.set_rng_state(self.random[0])
            for device, state in zip(self.cuda, self.random[1], strict=True):
                torch.cuda.set_rng_state(state, device)
            yield


class DeferredSet:
    """The training views of a frozen scene, like `OperatorSet`, with nothing stored: every use traces the view anew.

    Samples are those that an operator is made of, so pictures and gradients are the operator's.

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
            height, width = views.size(i)
            chunks = self.chunks(i)
            cells += [self.trace(i, slice(k, None, chunks)).cell.unique() for k in range(chunks)]
            self.pixels += height * width
            progress(i + 1, len(views))
        self.keys: Int[Tensor, " V"] = vertices_of(torch.cat(cells), self.shape)

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, i: int) -> DeferredView:
        return DeferredView(self, i)

    def prefetch(self, i: int) -> None:
        """There is nothing to fetch."""

    def chunks(self, i: int) -> int:
        """In how many chunks a view is rendered, each of a row at least."""
        height, width = self.views.size(i)
        return min(height, math.ceil(height * width / min(RAYS, self.model.config.eval_num_rays_per_chunk)))

    def trace(self, i: int, rows: slice) -> Trace:
        """Some rows of a view."""
        return trace(self.model, *self.views.rays(i, rows), self.drop_weight)

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
        views, i = self.views, self.i
        height, width = views.views.size(i)

        def render(rows: slice) -> Tensor:
            traced = views.trace(i, rows)
            return traced.composite(interpolate(theta, *views.vertices(traced)), background).unflatten(0, (-1, width))

        return render_deferred(render, [theta], height, views.chunks(i))

    @torch.no_grad()
    def transpose(self, picture: Float[Tensor, "h w 3"]) -> Float[Tensor, "V 3"]:
        """How much each vertex contributed to a picture."""
        views, chunks = self.views, self.views.chunks(self.i)
        out = picture.new_zeros(len(views.keys), picture.shape[2])
        for k in range(chunks):
            here = slice(k, None, chunks)
            traced = views.trace(self.i, here)
            along = traced.weight[:, None] * picture[here].flatten(0, 1)[traced.ray]  # [n, 3]
            out += add_rows(*views.vertices(traced), along, len(out))
        return out

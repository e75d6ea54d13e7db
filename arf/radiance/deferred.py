"""Deferred back-propagation: the gradient of a loss on a whole picture, in the memory of a few thousand rays.

Zhang et al., ARF (ECCV 2022), sec. 3.2: render the picture without a graph, take the loss and its gradient with
respect to each pixel, then render again chunk by chunk and pull the pixels' gradient through each chunk. Everything is
rendered twice. It is what remains where render operators do not fit (`--no-cache`), or where colour is not linear in
what is optimised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from arf.radiance.backbone import Backbone
from arf.radiance.capture import Views
from arf.radiance.trace import Trace, trace
from arf.radiance.views import vertices_of
from arf.radiance.volume import add_rows, interpolate

CHUNK = 4096  # rays at a time: in cache on a CPU

Render = Callable[[slice], Float[Tensor, "n c"]]


def render_deferred(
    render: Render, parameters: Sequence[Tensor], pixels: int, chunk: int = CHUNK
) -> Float[Tensor, "pixels c"]:
    """Render a picture chunk by chunk, differentiable in `parameters`.

    The backward pass renders each chunk again with the random numbers that it had the first time, so both passes see
    the same samples. (torch's checkpointing of each chunk does this too, but its memory is not flat on a CPU: the
    chunks' pixels, kept between short-lived tensors, leave the heap in pieces. Here they are copied to their place.)

    Args:
        render: from a range of pixels to their colours; called twice for each.
        parameters: what the gradient is wanted of. Random numbers are drawn on their device.
        pixels: how many there are.
        chunk: pixels at a time; what they take is all the memory beside the picture and its gradient.
    """
    return _Deferred.apply(render, pixels, chunk, *parameters)


def ranges(pixels: int, chunk: int) -> list[slice]:
    """Chunks of so many pixels; the last one may be shorter."""
    return [slice(k, min(k + chunk, pixels)) for k in range(0, pixels, chunk)]


class _Deferred(torch.autograd.Function):
    @staticmethod
    def forward(ctx, render, pixels, chunk, *parameters):
        ctx.render, ctx.chunks = render, ranges(pixels, chunk)
        ctx.state = _State(parameters[0].device)
        ctx.save_for_backward(*parameters)
        picture = None
        for here in ctx.chunks:
            part = render(here)  # [n, c]
            picture = part.new_empty(pixels, part.shape[1]) if picture is None else picture
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
            height, width = views.size(i)
            cells += [self.trace(i, here).cell.unique() for here in ranges(height * width, self.chunk)]
            self.pixels += height * width
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
        """Pixels at a time, at most as many as `trace` takes: nerfacto then has the same batches, and the same bits."""
        return min(CHUNK, self.model.config.eval_num_rays_per_chunk)

    def trace(self, i: int, pixels: slice) -> Trace:
        """Some pixels of a view."""
        return trace(self.model, *self.views.rays(i, pixels), self.drop_weight)

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

        def render(pixels: slice) -> Tensor:
            traced = views.trace(self.i, pixels)
            return traced.composite(interpolate(theta, *views.vertices(traced)), background)

        views = self.views
        height, width = views.views.size(self.i)
        return render_deferred(render, [theta], height * width, views.chunk).view(height, width, -1)

    @torch.no_grad()
    def transpose(self, picture: Float[Tensor, "h w 3"]) -> Float[Tensor, "V 3"]:
        """How much each vertex contributed to a picture."""
        flat = picture.reshape(-1, picture.shape[-1])  # [p, 3]
        out = flat.new_zeros(len(self.views.keys), flat.shape[1])
        for here in ranges(len(flat), self.views.chunk):
            traced = self.views.trace(self.i, here)
            along = traced.weight[:, None] * flat[here][traced.ray]  # [n, 3]
            out += add_rows(*self.views.vertices(traced), along, len(out))
        return out

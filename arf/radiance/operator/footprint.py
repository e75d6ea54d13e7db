"""The operator of a whole view: traced band by band, with one ray or several to a pixel."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.field import Direct, Field, Trace
from arf.radiance.operator.matrix import ROWS, RenderOperator, build, stack


def traced(field: Field, camera: Camera, drop: float = 0.0, rays: int = 1) -> RenderOperator:
    """The operator of a camera over a field's columns.

    Args:
        drop: share of each pixel's weight that may be left out.
        rays: per pixel, along each side. A pixel is their mean, so that a picture which is smaller than what the field
            was fitted to shows all of it: paint on what falls between the rays would not be seen, and a sharper film
            would show it.
    """
    if drop and not (rays == 1 and isinstance(field, Direct)):
        drop /= 2  # the matrix is made leaner once more when its entries have met
    return stack([build(trace, *band.size, field.count, drop) for band, trace in _bands(field, camera, drop, rays)])


def _bands(field: Field, camera: Camera, drop: float, rays: int) -> Iterator[tuple[Camera, Trace]]:
    whole, first = camera.finer(rays), 0
    most = field.band if field.device.type == "cpu" else max(ROWS, field.band)  # a trace is many times its matrix
    for band in camera.bands(max(1, most // rays**2)):
        trace = field.trace(whole.band(first * rays, band.height * rays), drop)
        yield band, trace if rays == 1 else mean_of(trace, band, rays)
        first += band.height


def mean_of(trace: Trace, camera: Camera, rays: int) -> Trace:
    """What the pixels of a camera see, each the mean of `rays`² pixels of a trace of the finer one."""
    height, width = camera.size
    shape, device = (height, rays, width, rays), trace.starts.device
    fine = torch.arange(height * width * rays**2, device=device)
    fine = fine.view(shape).permute(0, 2, 1, 3).flatten()  # pixels of the finer picture, those of one pixel together
    lengths = trace.starts.diff()[fine]
    starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    total = len(trace.weights)
    entry = torch.repeat_interleave(trace.starts[fine] - starts[:-1], lengths, output_size=total)
    entry += torch.arange(total, device=device)

    def mean(values: Tensor) -> Tensor:
        return values.view(*shape, *values.shape[1:]).mean((1, 3)).flatten(0, 1)

    return Trace(
        starts[:: rays**2].contiguous(), trace.columns[entry], trace.weights[entry] / rays**2, mean(trace.leftover),
        mean(trace.color), mean(trace.depth), None if trace.rest is None else mean(trace.rest),
    )  # fmt: skip

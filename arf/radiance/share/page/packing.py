"""Splats as bytes for the page, as its shader reads them: 20 for a Gaussian, and 4 for its colour in each paint.

    places   u32 [n, 4]   x, y, z as float32; the quaternion: the index of its largest component among w, x, y, z in the
                          upper 2 bits, then the 3 others in order, 10 bits each, of the range ±√½
    shapes   u32 [n]      the logarithms of 3 scales and the opacity's square root, 8 bits each from the lowest up
    colors   u32 [n]      red, green, blue, 10 bits each from the lowest up, of a range of their own in each paint

All together leave 60 dB and more against the same splats in float32, near and far. Scales that span more than a real
scene's are coarser: 54 dB at the most that is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt32
from torch import Tensor

from arf.radiance.fields.splats.splats import Splats

OPAQUE = 1 / 255  # what no rasteriser shows is less
SPAN = 24.0  # of the scales' logarithms: smaller ones than e⁻²⁴ of the largest are that large
PALE, GLARING = -1.0, 2.0  # colours beyond these are no paint's
HALF = np.float32(0.5**0.5)


@dataclass(frozen=True)
class Packed:
    """N Gaussians as the page holds them.

    Attributes:
        places: uint32 [N, 4].
        shapes: uint32 [N].
        colors: uint32 [N] of each paint.
        logarithms: lowest and highest of the scales'.
        ranges: lowest and highest colour of each paint.
    """

    places: UInt32[np.ndarray, "n 4"]
    shapes: UInt32[np.ndarray, " n"]
    colors: list[UInt32[np.ndarray, " n"]]
    logarithms: tuple[float, float]
    ranges: list[tuple[float, float]]

    def __len__(self) -> int:
        return len(self.places)

    def blocks(self) -> list[bytes]:
        """Little-endian: places, shapes, then the colours of each paint."""
        return [block.astype("<u4").tobytes() for block in (self.places, self.shapes, *self.colors)]


def pack(splats: Splats, colors: list[Float[Tensor, "n 3"]]) -> Packed:
    """Quantise what can be seen of splats, their harmonics aside, in some paints' colours.

    Gaussians that are not finite, or too transparent to be drawn, are left out.
    """
    kept = showing(splats, colors)
    means, scales, quats, opacities = (
        part.numpy()[kept].astype(np.float32) for part in (splats.means, splats.scales, splats.quats, splats.opacities)
    )
    logarithms = np.log(scales.clip(1e-30))
    high = float(logarithms.max(initial=-SPAN))
    low = max(float(logarithms.min(initial=0)), high - SPAN)
    places = np.empty((len(means), 4), np.uint32)
    places[:, :3] = means.view(np.uint32)
    places[:, 3] = turns(quats)
    shape = np.concatenate([levels(logarithms, low, high, 8), levels(np.sqrt(opacities), 0, 1, 8)[:, None]], 1)
    paints = [paint.numpy()[kept].astype(np.float32).clip(PALE, GLARING) for paint in colors]
    ranges = [(float(paint.min(initial=1)), float(paint.max(initial=0))) for paint in paints]
    return Packed(
        places,
        joined(shape, 8),
        [joined(levels(paint, *ends, 10), 10) for paint, ends in zip(paints, ranges, strict=True)],
        (low, high),
        ranges,
    )


def showing(splats: Splats, colors: list[Float[Tensor, "n 3"]]) -> Bool[np.ndarray, " n"]:
    """Which Gaussians are drawn at all."""
    parts = (splats.means, splats.scales, splats.quats, splats.opacities[:, None], *colors)
    finite = np.all([np.isfinite(part.numpy()).all(1) for part in parts], axis=0)
    norms = np.abs(splats.quats.numpy()).max(1)
    return finite & (splats.opacities.numpy() >= OPAQUE) & (norms > 0)


def turns(quats: Float[np.ndarray, "n 4"]) -> UInt32[np.ndarray, " n"]:
    """Quaternions in 32 bits. q and −q are one rotation: the largest component is made positive and left out."""
    unit = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    largest = np.abs(unit).argmax(1)[:, None]
    unit *= np.where(np.take_along_axis(unit, largest, 1) < 0, np.float32(-1), np.float32(1))
    others = unit[np.arange(4) != largest].reshape(-1, 3)
    return joined(levels(others, -HALF, HALF, 10), 10) | largest[:, 0].astype(np.uint32) << 30


def levels(values: Float[np.ndarray, "*n"], low: float, high: float, bits: int) -> UInt32[np.ndarray, "*n"]:
    """The nearest of 2^bits values from low to high."""
    most = 2**bits - 1
    return np.rint((values - low) / max(high - low, 1e-6) * most).clip(0, most).astype(np.uint32)


def joined(parts: UInt32[np.ndarray, "n k"], bits: int) -> UInt32[np.ndarray, " n"]:
    """Columns side by side in 32 bits, the first lowest."""
    return np.bitwise_or.reduce(parts << (bits * np.arange(parts.shape[1], dtype=np.uint32)), axis=1)

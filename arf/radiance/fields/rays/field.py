"""Fields that are sampled along rays: from samples and their weights to traces, pictures and surfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.capture.cameras import Camera, Rays
from arf.radiance.fields.field import Shot, Surface, Trace
from arf.radiance.fields.rays.samples import Samples, hand_over, heaviest, mean_depth, median_depth, ray_starts
from arf.radiance.fields.rays.volume import accumulate, ray_sums

Part = TypeVar("Part", Trace, Shot, Surface)
Sampled = tuple[Samples, Float[Tensor, " n"], Float[Tensor, " r"], Float[Tensor, "n 3"]]

THICK = 1 / 40  # of the longest side of the mapped space, on either side of half a ray's weight: a surface's thickness,
THICK_CELLS = 4  # and in cells; the larger of the two


class RayField:
    """What the kinds that sample along rays share: each says how it samples, and what is around a sample.

    Attributes:
        chunk: rays that are sampled at once.
        shape: cells per axis of the grid that its columns are the vertices of.
    """

    chunk = 1 << 14
    band = 8192  # in cache on a CPU
    drop = 0.0025
    antialiased = False
    device: torch.device
    background: Float[Tensor, " 3"]
    shape: tuple[int, int, int]

    @property
    def detail(self) -> float:
        return 1 / max(self.shape)

    def samples(self, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]) -> Sampled:
        """Samples of rays, their weights, the transmittance behind each ray, and the samples' own colours."""
        raise NotImplementedError

    def columns(self, samples: Samples) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
        """The eight columns around each sample, -1 where there is none, and their trilinear weights."""
        raise NotImplementedError

    def places(self, samples: Samples) -> Float[Tensor, "n 3"]:
        """Where samples are, in cells of the grid."""
        raise NotImplementedError

    # --- what every field offers ----------------------------------------------------------------------------------

    def trace(self, camera: Camera, drop: float = 0.0) -> Trace:
        return self.trace_rays(camera.rays(), drop)

    def shoot(self, camera: Camera) -> Shot:
        return self.shoot_rays(camera.rays())

    def surface(self, camera: Camera) -> Surface:
        return self.surface_rays(camera.rays())

    # --- the same of any rays, which need not be a camera's -------------------------------------------------------

    def trace_rays(self, rays: Rays, drop: float = 0.0) -> Trace:
        return self._in_chunks(rays, lambda o, d: self._trace(o, d, drop))

    def shoot_rays(self, rays: Rays) -> Shot:
        return self._in_chunks(rays, self._shoot)

    def surface_rays(self, rays: Rays) -> Surface:
        return self._in_chunks(rays, self._surface)

    @torch.no_grad()
    def _in_chunks(self, rays: Rays, work: Callable[[Tensor, Tensor], Part]) -> Part:
        self.eval()
        origins, directions = rays
        chunks = zip(origins.split(self.chunk), directions.split(self.chunk), strict=True)
        parts = [work(o.to(self.device), d.to(self.device)) for o, d in chunks]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _trace(self, origins: Tensor, directions: Tensor, drop: float) -> Trace:
        samples, weight, leftover, rgb = self.samples(origins, directions)
        depth = mean_depth(samples, weight)
        kept = (weight > 0).nonzero().squeeze(1)
        if drop > 0:
            kept = heaviest(weight, samples.starts, samples.ray, drop).nonzero().squeeze(1)
            weight = hand_over(weight, samples.ray, samples.arc, kept)
            leftover = torch.where(ray_starts(samples.ray[kept], len(origins)).diff() > 0, leftover, 1.0)
        samples, weight, rgb = samples.keep(kept), weight[kept], rgb[kept]
        color = accumulate(weight, rgb, samples.starts, samples.ray) + leftover[:, None] * self.background
        columns, share = self.columns(samples)  # [n, 8]
        weights = share * weight[:, None]
        there = columns >= 0
        if there.all():
            return Trace(samples.starts * 8, columns.flatten(), weights.flatten(), leftover, color, depth)
        without = (weights * ~there).sum(1)  # [n]
        seen = torch.cat([rgb, torch.ones_like(rgb[:, :1])], 1)  # [n, 4]
        rest = accumulate(without, seen, samples.starts, samples.ray)
        starts = torch.cat([there.new_zeros(1).long(), there.sum(1).cumsum(0)])[samples.starts]
        return Trace(starts, columns[there], weights[there], leftover, color, depth, rest)

    def _shoot(self, origins: Tensor, directions: Tensor) -> Shot:
        return shot_of(*self.samples(origins, directions), self.background)

    def _surface(self, origins: Tensor, directions: Tensor) -> Surface:
        samples, weight, _, _ = self.samples(origins, directions)
        depth, at = median_depth(samples, weight)
        place = self.places(samples)  # [n, 3]
        near = (place - place[at[samples.ray]]).norm(dim=1) <= max(THICK * max(self.shape), THICK_CELLS)
        opacity = ray_sums(weight, samples.starts)
        solid = ray_sums(weight * near, samples.starts) / opacity.clamp_min(1e-12)
        return Surface(depth, opacity.float(), solid.float())


def shot_of(
    samples: Samples,
    weight: Float[Tensor, " n"],
    leftover: Float[Tensor, " r"],
    values: Float[Tensor, "n c"],
    background: Float[Tensor, " c"],
) -> Shot:
    """What R rays show of the samples along them."""
    color = accumulate(weight, values, samples.starts, samples.ray) + leftover[:, None] * background
    heavy = ray_sums((weight > 0.01).float(), samples.starts).long()
    return Shot(color, 1 - leftover, mean_depth(samples, weight), heavy)


def _joined(parts: list[Part]) -> Part:
    """One part after the other."""
    kind = type(parts[0])
    values = {}
    for name in (f.name for f in fields(kind)):
        these = [getattr(part, name) for part in parts]
        if name == "starts":
            these = [these[0], *(starts[1:] + before for starts, before in zip(these[1:], _ends(these), strict=False))]
        if name == "rest" and any(rest is not None for rest in these):
            these = [p.leftover.new_zeros(len(p.leftover), 4) if p.rest is None else p.rest for p in parts]
        if isinstance(these[0], Tensor):
            values[name] = torch.cat(these)
    return kind(**values)


def _ends(starts: list[Tensor]) -> Iterator[Tensor]:
    """How many entries there are up to the end of each part."""
    total = 0
    for part in starts:
        total = total + part[-1]
        yield total

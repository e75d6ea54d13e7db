"""Gaussian splats as a field: one column for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from arf.errors import UserError
from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.views import Views
from arf.radiance.fields.field import NOWHERE, Shot, Surface, Trace
from arf.radiance.fields.jit import ready
from arf.radiance.fields.rows import lighten
from arf.radiance.fields.splats.harmonics import seen
from arf.radiance.fields.splats.kernels.projection import Projected, project
from arf.radiance.fields.splats.kernels.raster import pull, rasterise
from arf.radiance.fields.splats.kernels.surfaces import middle
from arf.radiance.fields.splats.kernels.tiles import Tiles, tiles_of
from arf.radiance.fields.splats.kernels.tracing import trace
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.fields.splats.stored import checked
from arf.radiance.fields.splats.wide import through_faces

THICK = 1 / 40  # of the longest side of what is there: on either side of half a ray's weight, a surface's thickness


class SplatField:
    """Splats with a background. They are kept and traced on the CPU; what is asked for comes on `device`.

    Args:
        background: RGB behind everything.
        antialiased: see `arf.radiance.fields.splats.kernels.projection.project`.
    """

    name = "splat"
    band = 1 << 19  # a picture is projected and sorted as a whole; only traces of larger ones are too large at once
    drop = 0.01

    def __init__(
        self, splats: Splats, background: Float[Tensor, " 3"], device: torch.device, antialiased: bool = False
    ) -> None:
        self.splats, self.device, self.antialiased = splats, device, antialiased
        self.background = background.to(device)

    @property
    def count(self) -> int:
        return len(self.splats)

    @property
    def colors(self) -> Float[Tensor, "V 3"]:
        return self.splats.colors.to(self.device)

    @property
    def detail(self) -> float:
        return 1 / max(64, self.count**0.5)

    # --- what every field offers ----------------------------------------------------------------------------------

    @torch.no_grad()
    def trace(self, camera: Camera, drop: float = 0.0) -> Trace:
        with ready():
            projected, tiles = self._seen(camera)
            rows = trace(projected, tiles)
            if drop > 0:
                rows = lighten(rows, drop)
        starts, columns, weights = map(torch.from_numpy, rows)
        size = len(starts) - 1, self.count
        matrix = torch.sparse_csr_tensor(starts.to(columns), columns, weights, size, check_invariants=False)
        held = torch.cat([self._own(camera), torch.from_numpy(projected.depths)[:, None]], 1)
        held = torch.cat([held, torch.ones_like(held[:, :1])], 1)  # [V, 5]
        sums = matrix @ held  # [p, 5]
        opacity = sums[:, 4]
        color = sums[:, :3] + (1 - opacity)[:, None] * self.background.cpu()
        parts = starts, columns, weights, 1 - opacity, color, _along(camera, sums[:, 3], opacity)
        return Trace(*(part.to(self.device) for part in parts), merged=True)

    @torch.no_grad()
    def shoot(self, camera: Camera) -> Shot:
        held = torch.cat([self._own(camera), torch.zeros(self.count, 1)], 1)
        background = torch.cat([self.background.cpu(), torch.zeros(1)])
        with ready():
            projected, tiles = self._seen(camera)
            held[:, 3] = torch.from_numpy(projected.depths)
            picture, left, heavy = rasterise(projected, tiles, held.numpy(), background.numpy())
        sums, opacity = torch.from_numpy(picture).flatten(0, 1), 1 - torch.from_numpy(left).flatten()
        parts = sums[:, :3], opacity, _along(camera, sums[:, 3], opacity), torch.from_numpy(heavy).flatten().long()
        return Shot(*(part.to(self.device) for part in parts))

    @torch.no_grad()
    def surface(self, camera: Camera) -> Surface:
        with ready():
            projected, tiles = self._seen(camera)
            rows = trace(projected, tiles)
            depth, opacity, solid = map(torch.from_numpy, middle(rows, projected.depths, self._thickness()))
        depth = _along(camera, depth * opacity, opacity)
        return Surface(*(part.to(self.device) for part in (depth, opacity, solid)))

    @contextmanager
    def survey(self, views: Views, resolution: int | None = None) -> Iterator[bool]:
        if resolution:
            raise UserError("--color-resolution is for nerfacto; splats are repainted themselves: leave it out")
        yield False

    def adopt(self, shape: tuple[int, int, int], keys: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
        raise UserError("the painting is one of a grid's vertices, and the field are splats; the run is damaged")

    def refined(self, cameras: Cameras) -> Cameras:
        return cameras

    def values(self) -> dict[str, Any]:
        return {"antialiased": self.antialiased}

    def state_dict(self) -> dict[str, Tensor]:
        return {**self.splats.tensors(), "background": self.background.cpu()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.splats, background = checked(state)
        self.background = background.to(self.device)

    # --- without a trace ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def own(self, camera: Camera) -> Float[Tensor, "V 3"]:
        """The splats' own colours as the camera sees them."""
        return self._own(camera).to(self.device)

    @torch.no_grad()
    def render(
        self, camera: Camera, colors: Float[Tensor, "V c"], background: Float[Tensor, " c"]
    ) -> Float[Tensor, "h w c"]:
        """The picture of any colours, unclamped; of cameras of every kind."""
        if camera.kind != "pinhole":
            return through_faces(camera, lambda face: self.render(face, colors, background))
        with ready():
            picture, *_ = rasterise(*self._seen(camera), colors.cpu().numpy(), background.cpu().numpy())
        return torch.from_numpy(picture).to(self.device)

    @torch.no_grad()
    def pull(self, camera: Camera, gradient: Float[Tensor, "h w c"]) -> Float[Tensor, "V c"]:
        """The transpose of `render`: how much each splat contributed to a picture."""
        with ready():
            pulled = pull(*self._seen(camera), gradient.detach().cpu().numpy())
        return torch.from_numpy(pulled).to(self.device)

    def _seen(self, camera: Camera) -> tuple[Projected, Tiles]:
        projected = project(self.splats, camera, self.antialiased)
        return projected, tiles_of(projected)

    def _own(self, camera: Camera) -> Float[Tensor, "V 3"]:
        splats = self.splats
        if not splats.degree:
            return splats.colors
        return seen(splats.colors, splats.rest, normalize(splats.means - camera.pose[:, 3].cpu(), dim=1))

    def _thickness(self) -> float:
        """How far apart, along a ray, splats of one surface may lie."""
        some = self.splats.means[:: max(1, self.count >> 16)]
        low, high = some.quantile(torch.tensor([0.05, 0.95]), dim=0)
        return THICK * float((high - low).max())


def _along(camera: Camera, depth: Float[Tensor, " p"], opacity: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
    """From depths along the axis, times their weight, to mean distances along the rays."""
    pose = torch.cat([torch.eye(3), torch.zeros(3, 1)], 1)
    _, directions = replace(camera, pose=pose).rays()
    mean = depth / opacity.clamp_min(1e-9) / -directions[:, 2]
    return torch.where(opacity > 1e-4, mean, NOWHERE)

"""Surfaces between points that structure from motion has left.

A plane's inverse depth is linear in the pixels of a view: the surface is what Delaunay's triangles span between those
points that are the nearest in their surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64

from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.formats.points import Points
from arf.radiance.fields.field import NOWHERE, Surface

CELLS = 1024  # of a view: the nearest point in each is taken
FEWEST = 16  # points of a view: from fewer no surface follows
EDGE = 8  # points that are set along each side of a picture, as near as the nearest that is seen


class Between:
    """Surfaces as they can be seen through the points of a capture."""

    band = 1 << 40  # a view is looked at as a whole

    def __init__(self, points: Points) -> None:
        self.places = points.places

    def surface(self, camera: Camera) -> Surface:
        """Depths along the rays; every ray meets something, unless next to no point is seen."""
        from scipy.interpolate import LinearNDInterpolator  # imports slowly

        pixels, depths = self._seen(camera)
        if len(depths) < FEWEST:
            nowhere = torch.full((camera.pixels,), NOWHERE)
            return Surface(nowhere, torch.zeros_like(nowhere), torch.zeros_like(nowhere))
        pixels, depths = _with_edges(pixels, depths, camera)
        columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        inverse = LinearNDInterpolator(pixels, 1 / depths)(columns, rows)
        _, directions = camera.rays()
        along = -(directions @ camera.pose[:, :3])[:, 2]
        depth = torch.from_numpy(1 / inverse).flatten().float() / along
        return Surface(depth, torch.ones_like(depth), torch.ones_like(depth))

    def views(self, cameras: Sequence[Camera]) -> int:
        """How many cameras see enough points."""
        return sum(len(self._seen(camera)[1]) >= FEWEST for camera in cameras)

    def _seen(self, camera: Camera) -> tuple[Float64[np.ndarray, "p 2"], Float64[np.ndarray, " p"]]:
        """Where in the picture the nearest points are, and how deep along the axis."""
        pose = camera.pose.double().numpy()
        local = (self.places - pose[:, 3]) @ pose[:, :3] * [1, -1, -1]  # x right, y down, z forward
        local = local[local[:, 2] > 1e-6]
        pixels = local[:, :2] / local[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
        inside = ((pixels > 0) & (pixels < [camera.width, camera.height])).all(1)
        pixels, depths = pixels[inside], local[inside, 2]
        order = np.argsort(depths, kind="stable")
        side = max(1.0, (camera.pixels / CELLS) ** 0.5)
        columns, rows = (pixels[order] / side).astype(np.int64).T
        _, first = np.unique(rows * camera.width + columns, return_index=True)  # the nearest of each cell
        chosen = order[first]
        return pixels[chosen], depths[chosen]


def _with_edges(pixels: np.ndarray, depths: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """With points along the picture's edge, so that no pixel lies outside of all triangles."""
    from scipy.spatial import cKDTree  # imports slowly

    x, y = np.linspace(0, camera.width, EDGE + 1), np.linspace(0, camera.height, EDGE + 1)
    sides = [(x, 0 * x), (x, 0 * x + camera.height), (0 * y, y), (0 * y + camera.width, y)]
    edge = np.unique(np.concatenate([np.stack(side, 1) for side in sides]), axis=0)
    _, nearest = cKDTree(pixels).query(edge)
    return np.concatenate([pixels, edge]), np.concatenate([depths, depths[nearest]])

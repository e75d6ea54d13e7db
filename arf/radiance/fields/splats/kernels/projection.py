"""From Gaussians in space to ellipses in a picture (Zwicker et al., EWA Splatting, 2001; Kerbl et al., 2023).

    Σ₂ = J W Σ Wᵀ Jᵀ + 0.3 I          J: the projection's derivative at the mean, W: the camera's rotation

An ellipse is kept as the factor L of its inverse, Σ₂⁻¹ log₂(e) / 2 = LᵀL with L = [[l0, l1], [0, l2]], so that

    alpha(dx, dy) = 2^(peak − (l0 dx + l1 dy)² − (l2 dy)²)          peak = log₂ opacity

which stays exact in float32 for needles that cross the whole picture, where the inverse's own three numbers cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba as nb
import numpy as np

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.jit import device, kernel
from arf.radiance.fields.splats.splats import Splats

TILE = 16  # pixels along a tile's side
NEAR = 0.01  # scene units: what is nearer to the camera's plane is left out
BLUR = 0.3  # px² added to the covariance, the width of a pixel
FAINT = math.log2(255.0)  # a contribution below 1/255 is left out: 2^-FAINT
HALF_LOG2E = 0.5 * math.log2(math.e)
MARGIN = 0.3  # of half the picture, beyond its edges: where J is taken at most


@dataclass
class Projected:
    """N ellipses in a picture of `width` × `height` pixels.

    Attributes:
        ellipses: float32 [N, 6]: centre x and y in pixels, l0, l1, l2 and peak; see above.
        depths: float32 [N] along the optical axis.
        tiles: int32 [N, 4] first and last + 1 column, first and last + 1 row of the tiles that it reaches; none where
            it is behind the camera, beside the picture, or fainter than 1/255.
    """

    ellipses: np.ndarray
    depths: np.ndarray
    tiles: np.ndarray
    width: int
    height: int


def project(splats: Splats, camera: Camera, antialiased: bool = False) -> Projected:
    """
    Args:
        camera: a pinhole.
        antialiased: opacities are less by √(det (Σ₂ − 0.3 I) / det Σ₂), so that a splat which is smaller than a pixel
            gets no heavier by the blur (Yu et al., Mip-Splatting, 2024).
    """
    count = len(splats)
    ellipses = np.empty((count, 6), np.float32)
    depths, tiles = np.empty(count, np.float32), np.empty((count, 4), np.int32)
    parts = (splats.means, splats.scales, splats.quats, splats.opacities)
    arrays = [part.detach().cpu().numpy() for part in parts]
    size = (np.int32(camera.width), np.int32(camera.height))
    _project(*arrays, *lens_of(camera), *size, antialiased, ellipses, depths, tiles)
    return Projected(ellipses, depths, tiles, camera.width, camera.height)


def lens_of(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What kernels know of a camera: world to camera [3, 4], with x right, y down and z forward; fx, fy, cx and cy; and
    the slopes, left, right, up and down, beyond which J is not taken."""
    pose = camera.pose.double().cpu().numpy()
    turn = np.ascontiguousarray((pose[:, :3] * (1, -1, -1)).T)
    world = np.concatenate([turn, -(turn @ pose[:, 3:])], 1).astype(np.float32)
    across, down = 0.5 * MARGIN * camera.width / camera.fx, 0.5 * MARGIN * camera.rows / camera.fy
    inner = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
    top = camera.cy + camera.above
    slopes = (
        camera.cx / camera.fx,
        (camera.width - camera.cx) / camera.fx,
        top / camera.fy,
        (camera.rows - top) / camera.fy,
    )
    return world, inner, np.array(slopes, np.float32) + np.array([across, across, down, down], np.float32)


@device
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@device
def area(m, n):
    """Squared, of the parallelogram of two vectors: det [[m·m, m·n], [m·n, n·n]] as a sum of squares (Lagrange), which
    cancels nothing, however thin it is."""
    c0, c1, c2 = m[1] * n[2] - m[2] * n[1], m[2] * n[0] - m[0] * n[2], m[0] * n[1] - m[1] * n[0]
    return c0 * c0 + c1 * c1 + c2 * c2


@device
def placed(world, means, i):
    """A mean in the camera's axes, in float64."""
    x, y, z = nb.float64(means[i, 0]), nb.float64(means[i, 1]), nb.float64(means[i, 2])
    return (
        world[0, 0] * x + world[0, 1] * y + world[0, 2] * z + world[0, 3],
        world[1, 0] * x + world[1, 1] * y + world[1, 2] * z + world[1, 3],
        world[2, 0] * x + world[2, 1] * y + world[2, 2] * z + world[2, 3],
    )


@device
def slopes_at(world, inner, reach, t):
    """The rows of J W at a place t in the camera's axes."""
    ux, uy = min(max(t[0] / t[2], -reach[0]), reach[1]), min(max(t[1] / t[2], -reach[2]), reach[3])
    jx, jy = nb.float64(inner[0]) / t[2], nb.float64(inner[1]) / t[2]
    a0, a1, a2 = world[0, 0] - ux * world[2, 0], world[0, 1] - ux * world[2, 1], world[0, 2] - ux * world[2, 2]
    b0, b1, b2 = world[1, 0] - uy * world[2, 0], world[1, 1] - uy * world[2, 1], world[1, 2] - uy * world[2, 2]
    return (jx * a0, jx * a1, jx * a2), (jy * b0, jy * b1, jy * b2)


@device
def axes(quats, i):
    """The columns of a Gaussian's rotation."""
    w, x, y, z = nb.float64(quats[i, 0]), nb.float64(quats[i, 1]), nb.float64(quats[i, 2]), nb.float64(quats[i, 3])
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )


@device
def spread(a, b, turn, scales, i):
    """The rows of J W R S, from those of J W."""
    s0, s1, s2 = nb.float64(scales[i, 0]), nb.float64(scales[i, 1]), nb.float64(scales[i, 2])
    m = dot(a, turn[0]) * s0, dot(a, turn[1]) * s1, dot(a, turn[2]) * s2
    return m, (dot(b, turn[0]) * s0, dot(b, turn[1]) * s1, dot(b, turn[2]) * s2)


@kernel()
def _project(means, scales, quats, opacities, world, inner, reach, width, height, antialiased, ellipses, depths, tiles):
    fx, fy, cx, cy = nb.float64(inner[0]), nb.float64(inner[1]), nb.float64(inner[2]), nb.float64(inner[3])
    across, down = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    for i in nb.prange(len(means)):
        tiles[i, :] = 0
        t = placed(world, means, i)
        depths[i] = t[2]
        opacity = nb.float64(opacities[i])
        if not (t[2] > NEAR and opacity * 255.0 > 1.0):
            continue
        a, b = slopes_at(world, inner, reach, t)
        m, n = spread(a, b, axes(quats, i), scales, i)
        xx, xy, yy = dot(m, m), dot(m, n), dot(n, n)
        sharp = area(m, n)
        det = sharp + BLUR * (xx + yy) + BLUR * BLUR
        xx, yy = xx + BLUR, yy + BLUR
        if antialiased:
            opacity *= math.sqrt(sharp / det)
            if not opacity * 255.0 > 1.0:
                continue
        peak = math.log2(opacity)
        # Σ₂⁻¹ = [[yy, -xy], [-xy, xx]] / det = LᵀL: l0² = yy / det, l0 l1 = -xy / det, l2² = 1 / yy
        l0 = math.sqrt(HALF_LOG2E * yy / det)
        l1 = -xy / yy * l0
        l2 = math.sqrt(HALF_LOG2E / yy)
        px, py = fx * t[0] / t[2] + cx, fy * t[1] / t[2] + cy
        far = (peak + FAINT) / HALF_LOG2E  # squared distance, in standard deviations, at which it is 1/255
        ex, ey = math.sqrt(far * xx), math.sqrt(far * yy)
        if not (px + ex > 0.0 and px - ex < width and py + ey > 0.0 and py - ey < height):
            continue
        ellipses[i, 0], ellipses[i, 1], ellipses[i, 2] = px, py, l0
        ellipses[i, 3], ellipses[i, 4], ellipses[i, 5] = l1, l2, peak
        tiles[i, 0] = max(0.0, px - ex) // TILE
        tiles[i, 1] = min(float(across), (px + ex) // TILE + 1.0)
        tiles[i, 2] = max(0.0, py - ey) // TILE
        tiles[i, 3] = min(float(down), (py + ey) // TILE + 1.0)

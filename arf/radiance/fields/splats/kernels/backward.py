"""A picture's gradient pulled back to the splats themselves: colours, opacities, means, scales, rotations.

First over the pixels, to each splat's ellipse and colour; then through the projection. What a
pixel's later splats owe to an earlier one is what the finished picture still had to come:

    ∂C/∂alpha_i = T_i c_i − (C − Σ_{j≤i} w_j c_j) / (1 − alpha_i)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba as nb
import numpy as np
from jaxtyping import Float

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.jit import kernel
from arf.radiance.fields.splats.kernels.alphas import CLOSED, LOOK, MOST, PIXELS, alphas, blend, closed, rows_of
from arf.radiance.fields.splats.kernels.projection import BLUR, HALF_LOG2E, TILE, Projected, lens_of
from arf.radiance.fields.splats.kernels.raster import gather
from arf.radiance.fields.splats.kernels.tiles import Tiles
from arf.radiance.fields.splats.splats import Splats

LOG2 = math.log(2.0)
OWN = 6  # numbers of an ellipse, before those of its colour


@dataclass
class Gradient:
    """With respect to the parameters of N splats, as `Splats` has them.

    Attributes:
        means, scales: float32 [N, 3].
        quats: float32 [N, 4], along the sphere of unit quaternions.
        opacities: float32 [N].
        colors: float32 [N, C].
        centres: float32 [N, 2] of the ellipses' centres, in pixels.
    """

    means: Float[np.ndarray, "n 3"]
    scales: Float[np.ndarray, "n 3"]
    quats: Float[np.ndarray, "n 4"]
    opacities: Float[np.ndarray, " n"]
    colors: Float[np.ndarray, "n c"]
    centres: Float[np.ndarray, "n 2"]


def backward(
    splats: Splats,
    camera: Camera,
    projected: Projected,
    tiles: Tiles,
    colors: Float[np.ndarray, "n c"],
    picture: Float[np.ndarray, "h w c"],
    gradient: Float[np.ndarray, "h w c"],
    antialiased: bool = False,
) -> Gradient:
    """
    Args:
        projected, tiles, colors, picture: what `rasterise` was given, and what it made of it.
        gradient: of the picture.
    """
    count, channels = colors.shape
    slots = np.zeros((len(tiles.splats), OWN + channels), np.float32)
    parts = tiles.starts, tiles.splats, tiles.order, projected.ellipses
    arrays = (np.ascontiguousarray(array, np.float32) for array in (colors, picture, gradient))
    _pull_all(*parts, *arrays, slots)
    flat = np.zeros((count, OWN + channels), np.float32)
    gather(tiles.splats, slots, flat)
    out = Gradient(
        *(np.zeros((count, width), np.float32) for width in (3, 3, 4)), np.zeros(count, np.float32),
        np.ascontiguousarray(flat[:, OWN:]), np.ascontiguousarray(flat[:, :2]),
    )  # fmt: skip
    tensors = (splats.means, splats.scales, splats.quats, splats.opacities)
    _unproject(
        *(tensor.detach().numpy() for tensor in tensors), *lens_of(camera), antialiased, projected.ellipses,
        projected.tiles, flat, out.means, out.scales, out.quats, out.opacities,
    )  # fmt: skip
    return out


@kernel()
def _pull_all(starts, splats, order, ellipses, colors, picture, gradient, slots):
    height, width, channels = gradient.shape
    across = (width + TILE - 1) // TILE
    for k in nb.prange(len(order)):
        x0, y0 = order[k] % across * TILE, order[k] // across * TILE
        rows, columns = min(TILE, height - y0), min(TILE, width - x0)
        given = np.zeros((channels, PIXELS), np.float32)
        to_come = np.zeros(PIXELS, np.float32)  # the finished picture less what was seen so far, times the gradient
        through = np.ones(PIXELS, np.float32)
        for row in range(rows):
            for column in range(columns):
                for channel in range(channels):
                    value = gradient[y0 + row, x0 + column, channel]
                    given[channel, row * TILE + column] = value
                    to_come[row * TILE + column] += value * picture[y0 + row, x0 + column, channel]
        shares, weights = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
        worth, pulled = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
        sums = np.empty((OWN + channels, TILE), np.float32)
        for at in range(starts[order[k]], starts[order[k] + 1]):
            i = splats[at]
            l0, l1, l2 = ellipses[i, 2], ellipses[i, 3], ellipses[i, 4]
            sums[:] = np.float32(0)
            first, last = rows_of(ellipses, i, y0, rows)
            for row in range(first, last):
                alphas(ellipses, i, x0, y0 + row, shares)
                here = row * TILE
                for lane in range(TILE):
                    weights[lane] = shares[lane]
                    worth[lane] = np.float32(0)
                    pulled[lane] = through[here + lane]
                blend(weights, through, here)
                for channel in range(channels):
                    color = colors[i, channel]
                    for lane in range(TILE):
                        worth[lane] += given[channel, here + lane] * color
                        sums[OWN + channel, lane] += weights[lane] * given[channel, here + lane]
                dy = np.float32(y0 + row) + np.float32(0.5) - ellipses[i, 1]
                v = l2 * dy
                for lane in range(TILE):
                    before = pulled[lane] if pulled[lane] >= np.float32(CLOSED) else np.float32(0)
                    rest = to_come[here + lane] - weights[lane] * worth[lane]
                    to_come[here + lane] = rest
                    open_ = np.float32(1) - shares[lane]
                    slope = before * worth[lane] - (rest / open_ if before > np.float32(0) else np.float32(0))
                    # a clamped alpha does not move; neither does one that is left out
                    moves = shares[lane] < np.float32(MOST)
                    power = slope * shares[lane] * np.float32(LOG2) if moves else np.float32(0)
                    dx = np.float32(x0 + lane) + np.float32(0.5) - ellipses[i, 0]
                    u = l0 * dx + l1 * dy
                    sums[0, lane] += power * np.float32(2) * u * l0
                    sums[1, lane] += power * np.float32(2) * (u * l1 + v * l2)
                    sums[2, lane] -= power * np.float32(2) * u * dx
                    sums[3, lane] -= power * np.float32(2) * u * dy
                    sums[4, lane] -= power * np.float32(2) * v * dy
                    sums[5, lane] += power
            for part in range(OWN + channels):
                total = np.float32(0)
                for lane in range(TILE):
                    total += sums[part, lane]
                slots[at, part] = total
            if at & LOOK == LOOK and closed(through):
                break


@kernel()
def _unproject(
    means, scales, quats, opacities, world, inner, reach, antialiased, ellipses, tiles, flat, d_means, d_scales,
    d_quats, d_opacities,
):  # fmt: skip
    fx, fy = nb.float64(inner[0]), nb.float64(inner[1])
    for i in nb.prange(len(means)):
        if tiles[i, 1] <= tiles[i, 0]:
            continue
        # the projection once more; see `projection._project`
        x, y, z = nb.float64(means[i, 0]), nb.float64(means[i, 1]), nb.float64(means[i, 2])
        tx = world[0, 0] * x + world[0, 1] * y + world[0, 2] * z + world[0, 3]
        ty = world[1, 0] * x + world[1, 1] * y + world[1, 2] * z + world[1, 3]
        tz = world[2, 0] * x + world[2, 1] * y + world[2, 2] * z + world[2, 3]
        kx, ky = tx / tz, ty / tz
        ux, uy = min(max(kx, -reach[0]), reach[1]), min(max(ky, -reach[2]), reach[3])
        jx, jy = fx / tz, fy / tz
        a, b = np.empty(3), np.empty(3)
        for c in range(3):
            a[c] = jx * (world[0, c] - ux * world[2, c])
            b[c] = jy * (world[1, c] - uy * world[2, c])
        qw, qx = nb.float64(quats[i, 0]), nb.float64(quats[i, 1])
        qy, qz = nb.float64(quats[i, 2]), nb.float64(quats[i, 3])
        turn = np.empty((3, 3))
        turn[0, 0], turn[0, 1], turn[0, 2] = (
            1 - 2 * (qy * qy + qz * qz),
            2 * (qx * qy - qw * qz),
            2 * (qx * qz + qw * qy),
        )
        turn[1, 0], turn[1, 1], turn[1, 2] = (
            2 * (qx * qy + qw * qz),
            1 - 2 * (qx * qx + qz * qz),
            2 * (qy * qz - qw * qx),
        )
        turn[2, 0], turn[2, 1], turn[2, 2] = (
            2 * (qx * qz - qw * qy),
            2 * (qy * qz + qw * qx),
            1 - 2 * (qx * qx + qy * qy),
        )
        m, n = np.zeros(3), np.zeros(3)  # rows of J W R S
        for s in range(3):
            for c in range(3):
                m[s] += a[c] * turn[c, s] * scales[i, s]
                n[s] += b[c] * turn[c, s] * scales[i, s]
        xx = m[0] * m[0] + m[1] * m[1] + m[2] * m[2]
        xy = m[0] * n[0] + m[1] * n[1] + m[2] * n[2]
        yy = n[0] * n[0] + n[1] * n[1] + n[2] * n[2]
        c0, c1, c2 = m[1] * n[2] - m[2] * n[1], m[2] * n[0] - m[0] * n[2], m[0] * n[1] - m[1] * n[0]
        sharp = c0 * c0 + c1 * c1 + c2 * c2
        det = sharp + BLUR * (xx + yy) + BLUR * BLUR
        bx, by = xx + BLUR, yy + BLUR
        l0, l2 = nb.float64(ellipses[i, 2]), nb.float64(ellipses[i, 4])
        g0, g1, g2 = nb.float64(flat[i, 2]), nb.float64(flat[i, 3]), nb.float64(flat[i, 4])
        # to the covariance: l0² = H yy / det, l1 = -xy / yy l0, l2² = H / yy
        along = (g0 - xy / by * g1) * HALF_LOG2E / (2 * l0)
        g_xx = -along * by * by / (det * det)
        g_xy = along * 2 * by * xy / (det * det) - g1 * l0 / by
        g_yy = along * (1 / det - by * bx / (det * det)) + g1 * xy / (by * by) * l0
        g_yy -= g2 * HALF_LOG2E / (2 * l2 * by * by)
        peak = nb.float64(flat[i, 5])
        d_opacities[i] = peak / (LOG2 * opacities[i])
        if antialiased:  # peak = log2 opacity + log2 (sharp / det) / 2
            half = peak / (2 * LOG2)
            over = half / max(sharp, 1e-300)
            # d sharp / d (xx, xy, yy) = (yy, -2 xy, xx); d det the same with the blurred ones
            g_xx += over * yy - half / det * by
            g_xy += -over * 2 * xy + half / det * 2 * xy
            g_yy += over * xx - half / det * bx
        g_a, g_b = np.zeros(3), np.zeros(3)
        g_turn = np.zeros((3, 3))
        for s in range(3):
            g_m = 2 * g_xx * m[s] + g_xy * n[s]
            g_n = 2 * g_yy * n[s] + g_xy * m[s]
            along_s = 0.0
            for c in range(3):
                side = a[c] * g_m + b[c] * g_n
                along_s += side * turn[c, s]
                g_turn[c, s] = side * scales[i, s]
                g_a[c] += g_m * turn[c, s] * scales[i, s]
                g_b[c] += g_n * turn[c, s] * scales[i, s]
            d_scales[i, s] = along_s
        # to the quaternion, by the nine derivatives of its matrix
        e = g_turn
        dw = 2 * (-qz * e[0, 1] + qy * e[0, 2] + qz * e[1, 0] - qx * e[1, 2] - qy * e[2, 0] + qx * e[2, 1])
        dx = 2 * (qy * e[0, 1] + qz * e[0, 2] + qy * e[1, 0] - 2 * qx * e[1, 1] - qw * e[1, 2] + qz * e[2, 0])
        dx += 2 * (qw * e[2, 1] - 2 * qx * e[2, 2])
        dy = 2 * (-2 * qy * e[0, 0] + qx * e[0, 1] + qw * e[0, 2] + qx * e[1, 0] + qz * e[1, 2] - qw * e[2, 0])
        dy += 2 * (qz * e[2, 1] - 2 * qy * e[2, 2])
        dz = 2 * (-2 * qz * e[0, 0] - qw * e[0, 1] + qx * e[0, 2] + qw * e[1, 0] - 2 * qz * e[1, 1] + qy * e[1, 2])
        dz += 2 * (qx * e[2, 0] + qy * e[2, 1])
        off = dw * qw + dx * qx + dy * qy + dz * qz
        d_quats[i, 0], d_quats[i, 1] = dw - off * qw, dx - off * qx
        d_quats[i, 2], d_quats[i, 3] = dy - off * qy, dz - off * qz
        # to the mean: through the centre, and through J
        g_jx = g_a[0] * (world[0, 0] - ux * world[2, 0]) + g_a[1] * (world[0, 1] - ux * world[2, 1])
        g_jx += g_a[2] * (world[0, 2] - ux * world[2, 2])
        g_jy = g_b[0] * (world[1, 0] - uy * world[2, 0]) + g_b[1] * (world[1, 1] - uy * world[2, 1])
        g_jy += g_b[2] * (world[1, 2] - uy * world[2, 2])
        g_ux = -jx * (g_a[0] * world[2, 0] + g_a[1] * world[2, 1] + g_a[2] * world[2, 2])
        g_uy = -jy * (g_b[0] * world[2, 0] + g_b[1] * world[2, 1] + g_b[2] * world[2, 2])
        g_kx = fx * flat[i, 0] + (g_ux if -reach[0] < kx < reach[1] else 0.0)
        g_ky = fy * flat[i, 1] + (g_uy if -reach[2] < ky < reach[3] else 0.0)
        g_tx, g_ty = g_kx / tz, g_ky / tz
        g_tz = -(g_kx * kx + g_ky * ky + g_jx * jx + g_jy * jy) / tz
        for c in range(3):
            d_means[i, c] = world[0, c] * g_tx + world[1, c] * g_ty + world[2, c] * g_tz

"""A picture's gradient pulled back to the splats themselves: colours, opacities, means, scales, rotations.

First over the pixels, to each splat's ellipse and colour; then through the projection. What a pixel's later splats owe
to an earlier one is what the finished picture still had to come:

    ∂C/∂alpha_i = T_i c_i − (C − Σ_{j≤i} w_j c_j) / (1 − alpha_i)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba as nb
import numpy as np
from jaxtyping import Float

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.jit import device, kernel
from arf.radiance.fields.splats.kernels.alphas import (
    LOOK,
    MOST,
    PIXELS,
    along,
    alpha_of,
    beside,
    closed,
    open_at,
    rows_of,
)
from arf.radiance.fields.splats.kernels.projection import (
    BLUR,
    HALF_LOG2E,
    TILE,
    Projected,
    area,
    axes,
    dot,
    lens_of,
    placed,
    slopes_at,
    spread,
)
from arf.radiance.fields.splats.kernels.raster import gather, total
from arf.radiance.fields.splats.kernels.tiles import Tiles
from arf.radiance.fields.splats.splats import Splats

LOG2 = math.log(2.0)
OWN = 6  # numbers of an ellipse, before the three of its colour
_LOG2, _MOST, _HALF, _TWO = np.float32(LOG2), np.float32(MOST), np.float32(0.5), np.float32(2)


@dataclass
class Gradient:
    """With respect to the parameters of N splats, as `Splats` has them.

    Attributes:
        means, scales: float32 [N, 3].
        quats: float32 [N, 4], along the sphere of unit quaternions.
        opacities: float32 [N].
        colors: float32 [N, 3].
        centres: float32 [N, 2] of the ellipses' centres, in pixels.
    """

    means: Float[np.ndarray, "n 3"]
    scales: Float[np.ndarray, "n 3"]
    quats: Float[np.ndarray, "n 4"]
    opacities: Float[np.ndarray, " n"]
    colors: Float[np.ndarray, "n 3"]
    centres: Float[np.ndarray, "n 2"]


def backward(
    splats: Splats,
    camera: Camera,
    projected: Projected,
    tiles: Tiles,
    colors: Float[np.ndarray, "n 3"],
    picture: Float[np.ndarray, "h w 3"],
    gradient: Float[np.ndarray, "h w 3"],
    antialiased: bool = False,
) -> Gradient:
    """
    Args:
        projected, tiles, colors, picture: what `rasterise` was given, and what it made of it.
        gradient: of the picture.
    """
    count = len(colors)
    slots = np.empty((len(tiles.splats), OWN + 3), np.float32)
    parts = tiles.starts, tiles.splats, tiles.order, projected.ellipses
    _pull_all(*parts, *(np.ascontiguousarray(array, np.float32) for array in (colors, picture, gradient)), slots)
    flat = gather(tiles.splats, slots, count)
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
    """For each pair of a tile and a splat. With p = ∂/∂power · ln 2 at (dx, dy), all that an ellipse is owed follows
    from the sums of p, p dx, p dx², p dy, p dx dy and p dy². dx is the same in every row: only three are taken there.
    """
    height, width = gradient.shape[:2]
    across = (width + TILE - 1) // TILE
    for k in nb.prange(len(order)):
        x0, y0 = order[k] % across * TILE, order[k] // across * TILE
        rows, columns = min(TILE, height - y0), min(TILE, width - x0)
        # transmittance; the finished picture less what was seen so far, times the gradient; the gradient
        state = np.zeros(5 * PIXELS, np.float32)
        state[:PIXELS] = np.float32(1)
        for row in range(rows):
            for column in range(columns):
                p = row * TILE + column
                for c in range(3):
                    value = gradient[y0 + row, x0 + column, c]
                    state[(2 + c) * PIXELS + p] = value
                    state[PIXELS + p] += value * picture[y0 + row, x0 + column, c]
        sums, parts = np.empty(6 * TILE, np.float32), np.empty(OWN * TILE, np.float32)
        at, end = starts[order[k]], starts[order[k] + 1]
        while at < end:
            i = splats[at]
            l0, l1, l2 = ellipses[i, 2], ellipses[i, 3], ellipses[i, 4]
            c0, c1, c2 = colors[i, 0], colors[i, 1], colors[i, 2]
            sums[:] = np.float32(0)
            first, last = rows_of(ellipses, i, y0, rows)
            for row in range(first, last):
                here = row * TILE
                top, u = along(ellipses, i, x0, y0 + row)
                if beside(top, u, l0):
                    continue
                dy = np.float32(y0 + row) + _HALF - ellipses[i, 1]
                for lane in range(TILE):
                    p = here + lane
                    way = np.float32(u + l0 * np.float32(np.int32(lane)))
                    alpha = alpha_of(np.float32(top - way * way))
                    through = state[nb.uintp(p)]
                    before = open_at(through)
                    weight = alpha * before
                    state[nb.uintp(p)] = through - weight
                    g0, g1 = state[nb.uintp(p + 2 * PIXELS)], state[nb.uintp(p + 3 * PIXELS)]
                    g2 = state[nb.uintp(p + 4 * PIXELS)]
                    worth = g0 * c0 + g1 * c1 + g2 * c2
                    rest = state[nb.uintp(p + PIXELS)] - weight * worth
                    state[nb.uintp(p + PIXELS)] = rest
                    power = (before * worth - rest / (np.float32(1) - alpha)) * alpha * _LOG2
                    # a clamped alpha does not move; neither does what is behind a closed pixel
                    power = power if alpha < _MOST else np.float32(0)
                    power = power if before > np.float32(0) else np.float32(0)
                    sums[nb.uintp(lane)] += power
                    sums[nb.uintp(lane + TILE)] += power * dy
                    sums[nb.uintp(lane + 2 * TILE)] += power * dy * dy
                    sums[nb.uintp(lane + 3 * TILE)] += weight * g0
                    sums[nb.uintp(lane + 4 * TILE)] += weight * g1
                    sums[nb.uintp(lane + 5 * TILE)] += weight * g2
            left = np.float32(x0) + _HALF - ellipses[i, 0]
            for lane in range(TILE):
                dx = left + np.float32(np.int32(lane))
                parts[lane] = sums[lane]
                parts[lane + TILE] = sums[lane] * dx
                parts[lane + 2 * TILE] = sums[lane] * dx * dx
                parts[lane + 3 * TILE] = sums[lane + TILE]
                parts[lane + 4 * TILE] = sums[lane + TILE] * dx
                parts[lane + 5 * TILE] = sums[lane + 2 * TILE]
            p, px, pxx = total(parts, 0), total(parts, TILE), total(parts, 2 * TILE)
            py, pxy, pyy = total(parts, 3 * TILE), total(parts, 4 * TILE), total(parts, 5 * TILE)
            pu = l0 * px + l1 * py
            slots[at, 0], slots[at, 1] = _TWO * pu * l0, _TWO * (pu * l1 + l2 * l2 * py)
            slots[at, 2], slots[at, 3] = -_TWO * (l0 * pxx + l1 * pxy), -_TWO * (l0 * pxy + l1 * pyy)
            slots[at, 4], slots[at, 5] = -_TWO * l2 * pyy, p
            for c in range(3):
                slots[at, OWN + c] = total(sums, (3 + c) * TILE)
            at += 1
            if (at - 1) & LOOK == LOOK and closed(state):
                break
        while at < end:  # nothing is seen of the rest
            slots[at, :] = np.float32(0)
            at += 1


@kernel()
def _unproject(
    means, scales, quats, opacities, world, inner, reach, antialiased, ellipses, tiles, flat, d_means, d_scales,
    d_quats, d_opacities,
):  # fmt: skip
    fx, fy = nb.float64(inner[0]), nb.float64(inner[1])
    for i in nb.prange(len(means)):
        if tiles[i, 1] <= tiles[i, 0]:
            continue
        t, turn = placed(world, means, i), axes(quats, i)
        a, b = slopes_at(world, inner, reach, t)
        m, n = spread(a, b, turn, scales, i)
        xx, xy, yy = dot(m, m), dot(m, n), dot(n, n)
        sharp = area(m, n)
        det = sharp + BLUR * (xx + yy) + BLUR * BLUR
        bx, by = xx + BLUR, yy + BLUR
        l0, l2 = nb.float64(ellipses[i, 2]), nb.float64(ellipses[i, 4])
        g0, g1, g2 = nb.float64(flat[i, 2]), nb.float64(flat[i, 3]), nb.float64(flat[i, 4])
        # to the covariance: l0² = H yy / det, l1 = -xy / yy l0, l2² = H / yy
        half = (g0 - xy / by * g1) * HALF_LOG2E / (2 * l0)
        g_xx = -half * by * by / (det * det)
        g_xy = half * 2 * by * xy / (det * det) - g1 * l0 / by
        g_yy = half * (1 / det - by * bx / (det * det)) + g1 * xy / (by * by) * l0
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
        # to the rows of J W R S, and on to the scales, the columns of R, and the rows of J W
        p0, p1, p2 = 2 * g_xx * m[0] + g_xy * n[0], 2 * g_xx * m[1] + g_xy * n[1], 2 * g_xx * m[2] + g_xy * n[2]
        q0, q1, q2 = 2 * g_yy * n[0] + g_xy * m[0], 2 * g_yy * n[1] + g_xy * m[1], 2 * g_yy * n[2] + g_xy * m[2]
        side0, side1, side2 = mixed(a, p0, b, q0), mixed(a, p1, b, q1), mixed(a, p2, b, q2)
        d_scales[i, 0], d_scales[i, 1] = dot(side0, turn[0]), dot(side1, turn[1])
        d_scales[i, 2] = dot(side2, turn[2])
        s0, s1, s2 = nb.float64(scales[i, 0]), nb.float64(scales[i, 1]), nb.float64(scales[i, 2])
        (e00, e10, e20), (e01, e11, e21) = times(side0, s0), times(side1, s1)
        e02, e12, e22 = times(side2, s2)
        g_a = mixed(mixed(turn[0], p0 * s0, turn[1], p1 * s1), 1.0, turn[2], p2 * s2)
        g_b = mixed(mixed(turn[0], q0 * s0, turn[1], q1 * s1), 1.0, turn[2], q2 * s2)
        # to the quaternion, by the nine derivatives of its matrix
        qw, qx, qy, qz = (
            nb.float64(quats[i, 0]),
            nb.float64(quats[i, 1]),
            nb.float64(quats[i, 2]),
            nb.float64(quats[i, 3]),
        )
        dw = 2 * (-qz * e01 + qy * e02 + qz * e10 - qx * e12 - qy * e20 + qx * e21)
        dx = 2 * (qy * e01 + qz * e02 + qy * e10 - 2 * qx * e11 - qw * e12 + qz * e20 + qw * e21 - 2 * qx * e22)
        dy = 2 * (-2 * qy * e00 + qx * e01 + qw * e02 + qx * e10 + qz * e12 - qw * e20 + qz * e21 - 2 * qy * e22)
        dz = 2 * (-2 * qz * e00 - qw * e01 + qx * e02 + qw * e10 - 2 * qz * e11 + qy * e12 + qx * e20 + qy * e21)
        off = dw * qw + dx * qx + dy * qy + dz * qz
        d_quats[i, 0], d_quats[i, 1] = dw - off * qw, dx - off * qx
        d_quats[i, 2], d_quats[i, 3] = dy - off * qy, dz - off * qz
        # to the mean: through the centre, and through J
        jx, jy, kx, ky = fx / t[2], fy / t[2], t[0] / t[2], t[1] / t[2]
        g_jx, g_jy = dot(g_a, a) / jx, dot(g_b, b) / jy
        g_kx, g_ky = fx * flat[i, 0], fy * flat[i, 1]
        if -reach[0] < kx < reach[1]:
            g_kx -= jx * (g_a[0] * world[2, 0] + g_a[1] * world[2, 1] + g_a[2] * world[2, 2])
        if -reach[2] < ky < reach[3]:
            g_ky -= jy * (g_b[0] * world[2, 0] + g_b[1] * world[2, 1] + g_b[2] * world[2, 2])
        g_tx, g_ty = g_kx / t[2], g_ky / t[2]
        g_tz = -(g_kx * kx + g_ky * ky + g_jx * jx + g_jy * jy) / t[2]
        for c in range(3):
            d_means[i, c] = world[0, c] * g_tx + world[1, c] * g_ty + world[2, c] * g_tz


@device
def mixed(a, p, b, q):
    """p a + q b."""
    return a[0] * p + b[0] * q, a[1] * p + b[1] * q, a[2] * p + b[2] * q


@device
def times(a, p):
    """p a."""
    return a[0] * p, a[1] * p, a[2] * p

"""What `volume` computes of packed samples, compiled: one ray after the other, each by one thread.

All arrays are float32; `starts` [R + 1] says where each ray's samples begin.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from arf.radiance.fields.jit import kernel

_ONE = np.float32(1)


@kernel()
def weigh(tau, starts, transmittance, weights, leftover):
    """Transmittance in front of each sample, its weight, and what is left behind each ray."""
    for r in nb.prange(len(leftover)):
        through = _ONE
        for i in range(starts[r], starts[r + 1]):
            weight = -through * np.float32(math.expm1(-tau[i]))
            transmittance[i], weights[i] = through, weight
            through -= weight
        leftover[r] = through


@kernel()
def weigh_back(transmittance, weights, leftover, starts, of_weights, of_leftover, gradient):
    """Optical thickness raises a weight by T_{i+1}, and lowers all behind it in proportion to themselves."""
    for r in nb.prange(len(leftover)):
        behind = np.float64(of_leftover[r] * leftover[r])
        for back in range(starts[r + 1] - starts[r]):
            i = starts[r + 1] - 1 - back
            gradient[i] = of_weights[i] * (transmittance[i] - weights[i]) - np.float32(behind)
            behind += np.float64(of_weights[i] * weights[i])


@kernel()
def apart(weights, middle, starts, out):
    """Σ_j w_j |m_i − m_j| over the samples of a ray, for each of them; the m of a ray ascend."""
    for r in nb.prange(len(starts) - 1):
        total, total_m = 0.0, 0.0
        for i in range(starts[r], starts[r + 1]):
            total += weights[i]
            total_m += np.float64(weights[i]) * middle[i]
        front, front_m = 0.0, 0.0
        for i in range(starts[r], starts[r + 1]):
            w, m = np.float64(weights[i]), np.float64(middle[i])
            back, back_m = total - front - w, total_m - front_m - w * m
            out[i] = m * (front - back) - (front_m - back_m)
            front += w
            front_m += w * m

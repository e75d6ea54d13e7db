"""How unlike two pictures are, and its gradient: squared differences, or those of 3D Gaussian Splatting.

    loss = (1 − λ) L1 + λ (1 − SSIM)          λ = 0.2  (Kerbl et al., 2023)

SSIM (Wang et al., 2004) with an 11 × 11 Gaussian window of σ = 1.5, zeros beyond the borders, is a rational function of
five blurred pictures; its gradient is three pictures blurred once more.
"""

from __future__ import annotations

from collections.abc import Callable

import numba as nb
import numpy as np
from jaxtyping import Float

from arf.radiance.fields.jit import device, kernel

REACH = 5  # of the window, to each side
SHARE = 0.2  # λ
_bell = np.exp(-0.5 * (np.arange(-REACH, REACH + 1) / 1.5) ** 2)
WINDOW = (_bell / _bell.sum()).astype(np.float32)
C1, C2 = np.float32(0.01**2), np.float32(0.03**2)  # steady the two quotients
_ONE, _TWO = np.float32(1), np.float32(2)

Picture = Float[np.ndarray, "h w 3"]
Unlikeness = Callable[[Picture, Picture], Picture]  # its gradient with respect to the first


def squared(picture: Picture, target: Picture) -> Picture:
    """The gradient of the mean squared difference."""
    return np.float32(2 / picture.size) * (picture - target)


def structural(picture: Picture, target: Picture) -> Picture:
    """The gradient of the loss above."""
    gradient = np.float32((1 - SHARE) / picture.size) * np.sign(picture - target)
    height, width, channels = picture.shape
    blurred = np.empty((channels, 5, height, width), np.float32)
    slopes = np.empty((channels, 3, height, width), np.float32)
    _across(picture, target, WINDOW, blurred)
    _down(blurred, WINDOW, slopes)
    _back(slopes, WINDOW, picture, target, np.float32(SHARE / picture.size), gradient)
    return gradient


@kernel()
def _across(picture, target, window, out):
    """x, y, x², y² and xy, blurred along rows."""
    height, width, channels = picture.shape
    for row in nb.prange(height):
        line = np.zeros((5, width + 2 * REACH), np.float32)
        for c in range(channels):
            for k in range(width):
                x, y = picture[row, k, c], target[row, k, c]
                line[0, REACH + k], line[1, REACH + k] = x, y
                line[2, REACH + k], line[3, REACH + k], line[4, REACH + k] = x * x, y * y, x * y
            for moment in range(5):
                blur(line[moment], window, out[c, moment, row])


@kernel()
def _down(blurred, window, slopes):
    """Blurs along columns; then ∂SSIM with respect to the means of x, x² and xy."""
    channels, _, height, width = blurred.shape
    for row in nb.prange(height):
        sums = np.empty((5, width), np.float32)
        first, last = max(0, row - REACH), min(height, row + REACH + 1)
        for c in range(channels):
            sums[:] = np.float32(0)
            for r in range(first, last):
                weight = window[r - row + REACH]
                for moment in range(5):
                    for k in range(width):
                        sums[moment, k] += weight * blurred[c, moment, r, k]
            for k in range(width):
                x, y = sums[0, k], sums[1, k]
                a1, a2 = _TWO * x * y + C1, _TWO * (sums[4, k] - x * y) + C2
                b1, b2 = x * x + y * y + C1, sums[2, k] - x * x + sums[3, k] - y * y + C2
                over = _ONE / (b1 * b2)
                ssim = a1 * a2 * over
                slopes[c, 0, row, k] = _TWO * (y * (a2 - a1) * over + ssim * x * (_ONE / b2 - _ONE / b1))
                slopes[c, 1, row, k] = -ssim / b2
                slopes[c, 2, row, k] = _TWO * a1 * over


@kernel()
def _back(slopes, window, picture, target, share, gradient):
    """Subtracts share · ∂ΣSSIM/∂x: x and x² and xy come from x, each blurred by the same window."""
    channels, _, height, width = slopes.shape
    for row in nb.prange(height):
        lines, out = np.zeros((3, width + 2 * REACH), np.float32), np.empty((3, width), np.float32)
        first, last = max(0, row - REACH), min(height, row + REACH + 1)
        for c in range(channels):
            lines[:] = np.float32(0)
            for r in range(first, last):
                weight = window[r - row + REACH]
                for moment in range(3):
                    for k in range(width):
                        lines[moment, REACH + k] += weight * slopes[c, moment, r, k]
            for moment in range(3):
                blur(lines[moment], window, out[moment])
            for k in range(width):
                moved = out[0, k] + _TWO * picture[row, k, c] * out[1, k] + target[row, k, c] * out[2, k]
                gradient[row, k, c] -= share * moved


@device
def blur(line, window, out):
    """A line that has `REACH` more at either end, averaged with the window's weights."""
    out[:] = np.float32(0)
    for tap in range(len(window)):
        weight = window[tap]
        for k in range(len(out)):
            out[k] += weight * line[k + tap]

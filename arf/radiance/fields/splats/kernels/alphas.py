"""What one splat covers of a tile, as the kernels walk over it: row by row, all pixels of a row at once.

A kernel takes a row in one loop over its sixteen pixels, without branches, and holds what it knows of a tile's pixels
in one flat array, quantity after quantity: only then LLVM takes such a loop for its vector units.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from arf.radiance.fields.jit import device
from arf.radiance.fields.splats.kernels.projection import FAINT, TILE

PIXELS = TILE * TILE
MOST = 0.99  # alpha
CLOSED = 1e-4  # of transmittance: behind it nothing is seen
LOOK = 31  # a tile is looked at after every 32 splats, whether there is any pixel that is not closed

_FAINT, _MOST, _HALF, _CLOSED = np.float32(FAINT), np.float32(MOST), np.float32(0.5), np.float32(CLOSED)
_LAST = np.float32(TILE - 1)
_ROUND = np.float32(1.5 * 2**23)  # added and taken away: rounds to the nearest whole number
# 2^f for f in [-0.5, 0.5], to 2e-7: least squares on Chebyshev nodes of the relative error
_P = [np.float32(p) for p in np.polynomial.chebyshev.Chebyshev.interpolate(np.exp2, 5, [-0.5, 0.5])
      .convert(kind=np.polynomial.Polynomial).coef]  # fmt: skip
_P0, _P1, _P2, _P3, _P4, _P5 = _P


@device
def exp2(x):
    """2^x for x in [-126, 127]."""
    whole = np.float32(np.float32(x + _ROUND) - _ROUND)
    f = np.float32(x - whole)
    p = np.float32(_P4 + f * _P5)
    p = np.float32(_P3 + f * p)
    p = np.float32(_P2 + f * p)
    p = np.float32(_P1 + f * p)
    p = np.float32(_P0 + f * p)
    bits = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
    return np.float32(p * bits.view(np.float32))


@device
def rows_of(ellipses, i, top, rows):
    """First and last + 1 of a tile's rows that splat i may reach."""
    y = ellipses[i, 1] - np.float32(top) - _HALF
    reach = np.float32(math.sqrt(ellipses[i, 5] + _FAINT)) / ellipses[i, 4]
    first = max(np.float32(0), np.float32(math.ceil(y - reach)))
    last = min(np.float32(rows - 1), np.float32(math.floor(y + reach)))
    return nb.int64(first), nb.int64(last) + 1


@device
def along(ellipses, i, left, y):
    """What its alphas at the pixels of the picture's row y follow from, `left` being the first: 2^(top − u²), where u
    grows by l0 from each to the next."""
    dy = np.float32(y) + _HALF - ellipses[i, 1]
    v = ellipses[i, 4] * dy
    u = ellipses[i, 3] * dy + ellipses[i, 2] * (np.float32(left) + _HALF - ellipses[i, 0])
    return np.float32(ellipses[i, 5] - v * v), np.float32(u)


@device
def beside(top, u, l0):
    """Whether the splat reaches none of the row's pixels: it lies to the left of all, or to the right."""
    last = np.float32(u + l0 * _LAST)
    near = u if u > 0 else last if last < 0 else np.float32(0)
    return np.float32(top - near * near) < -_FAINT


@device
def alpha_of(power):
    """2^power, at most 0.99; 0 where below 1/255."""
    alpha = exp2(power if power >= -_FAINT else -_FAINT)
    alpha = alpha if alpha < _MOST else _MOST
    return alpha if power >= -_FAINT else np.float32(0)


@device
def open_at(through):
    """The transmittance that a further splat finds: none behind what is closed."""
    return through if through >= _CLOSED else np.float32(0)


@device
def weight_at(state, p, power):
    """The weight of a splat whose alpha is 2^power at pixel p; what it leaves is what the next one finds."""
    through = state[nb.uintp(p)]
    weight = alpha_of(power) * open_at(through)
    state[nb.uintp(p)] = through - weight
    return weight


@device
def closed(state):
    """Whether a tile's pixels all are; their transmittance comes first."""
    most = np.float32(0)
    for pixel in range(PIXELS):
        most = max(most, state[pixel])
    return most < _CLOSED

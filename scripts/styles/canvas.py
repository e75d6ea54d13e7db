"""What the painters share: the canvas, smooth noise, colours, scattered points and lines that follow a field.

Lengths are in picture heights: x runs from 0 to ASPECT, y from 0 to 1, downwards. Colours are sRGB in 0..1.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image
from scipy import ndimage

WIDTH, HEIGHT, OVERSAMPLE = 512, 384, 3
ASPECT = WIDTH / HEIGHT
SHAPE = (HEIGHT * OVERSAMPLE, WIDTH * OVERSAMPLE)
UNIT = SHAPE[0]  # canvas pixels in one picture height


def grid() -> tuple[np.ndarray, np.ndarray]:
    """x and y of the canvas's pixel centres, two float32 [rows, columns]."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    return (x + 0.5) / UNIT, (y + 0.5) / UNIT


def palette(*codes: str) -> np.ndarray:
    """Colours written as rrggbb, [n, 3]."""
    return np.array([[int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)] for code in codes], np.float32)


def ramp(t: np.ndarray, colors: np.ndarray, stops: tuple[float, ...] | None = None) -> np.ndarray:
    """Colours [..., 3] along a gradient through `colors`, evenly spaced over 0..1 or at `stops`."""
    stops = np.linspace(0, 1, len(colors)) if stops is None else stops
    return np.stack([np.interp(t, stops, colors[:, i]) for i in range(3)], -1).astype(np.float32)


def blend(below: np.ndarray, above: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`above` over `below` [..., 3] with the opacity `share` [...]."""
    return below + (above - below) * np.asarray(share)[..., None]


def smoothstep(start: float, end: float, x: np.ndarray) -> np.ndarray:
    """0 before `start`, 1 after `end` (or the other way round where end < start), smooth between."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def noise(rng: np.random.Generator, across: float, down: float | None = None, octaves: int = 3) -> np.ndarray:
    """Smooth noise of mean 0 and deviation 1 on the canvas, features `across` by `down` picture heights in size."""
    down = across if down is None else down
    total = np.zeros(SHAPE, np.float32)
    for octave in range(octaves):
        rows, columns = (int(np.ceil(n / size * 2**octave)) + 3 for n, size in ((1, down), (ASPECT, across)))
        values = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
        box = (1, 1, 1 + ASPECT / across * 2**octave, 1 + 1 / down * 2**octave)
        total += np.asarray(values.resize(SHAPE[::-1], Image.Resampling.BICUBIC, box=box)) / 2**octave
    return (total - total.mean()) / total.std()


def at(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The field's value at points [..., 2] of (x, y); beyond the edge, that of the edge."""
    columns, rows = ((points[..., i] * UNIT).astype(int).clip(0, SHAPE[1 - i] - 1) for i in (0, 1))
    return field[rows, columns]


def scatter(rng: np.random.Generator, spacing: float, jitter: float = 0.35) -> np.ndarray:
    """Points [n, 2] about `spacing` apart, in random order: a triangular lattice, shaken, past every edge a little."""
    rows = np.arange(-2, 1 / (spacing * 0.866) + 2)
    columns = np.arange(-2, ASPECT / spacing + 2)
    x = (columns[None] + 0.5 * (np.arange(len(rows)) % 2)[:, None]) * spacing
    y = np.broadcast_to(rows[:, None] * spacing * 0.866, x.shape)
    points = np.stack([x.ravel(), y.ravel()], -1)
    return rng.permutation(points + rng.uniform(-jitter, jitter, points.shape) * spacing)


def follow(angle: np.ndarray, starts: np.ndarray, lengths: np.ndarray, steps: int = 8) -> np.ndarray:
    """Curves [n, steps + 1, 2] along the field of angles, each with its start in the middle."""
    halves = []
    for sign in (-1, 1):
        points, half = starts, [starts]
        for _ in range(steps // 2):
            turn = at(angle, points)
            points = points + sign * np.stack([np.cos(turn), np.sin(turn)], -1) * lengths[:, None] / steps
            half.append(points)
        halves.append(half)
    return np.stack(halves[0][:0:-1] + halves[1], 1)


def limb(x: np.ndarray, y: np.ndarray, points: tuple, foot: float, tip: float) -> np.ndarray:
    """Signed distance (negative inside) to a branch along `points` that narrows from half width `foot` to `tip`."""
    best = np.full(x.shape, np.inf, np.float32)
    for i, ((ax, ay), (bx, by)) in enumerate(pairwise(points)):
        t = (((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2)).clip(0, 1)
        wide = foot + (tip - foot) * (i + t) / (len(points) - 1)
        best = np.minimum(best, np.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay)) - wide)
    return best


def relief(height: np.ndarray, strength: float) -> np.ndarray:
    """Brightness factors [rows, columns] of a height map lit from the upper left."""
    down, across = np.gradient(ndimage.gaussian_filter(height, 1.0))
    return 1 + np.clip(strength * (down + across), -0.35, 0.35)


def ink(color: np.ndarray) -> tuple[int, ...]:
    """A colour in 0..1 as Pillow's drawing functions take it."""
    return tuple(int(255 * min(max(c, 0.0), 1.0) + 0.5) for c in color)


def finish(canvas: np.ndarray) -> Image.Image:
    """The picture at its final size, antialiased, from a canvas [rows, columns, 3]."""
    picture = Image.fromarray((canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8))
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)

"""Discs, arcs and triangles on a warm ground: rings broken into sectors, each a dry stroke of one colour."""

from __future__ import annotations

import numpy as np
from PIL import Image

from styles.canvas import ASPECT, blend, finish, grid, noise, palette, smoothstep

GROUND = palette("ead2a4", "e2b878", "d99a5e", "efe0c0", "c97b4a")
COLORS = palette(
    "d5362b", "f08a24", "f6c334", "1f3f7a", "15171f", "f3e7cf",
    "2f7f78", "8a2740", "e9a39a", "5fa0b8", "d9a066", "b5502a",
)  # fmt: skip
# Centre, radius, rings, sectors of the big discs, back to front
DISCS = (
    (1.12, 0.20, 0.40, 8, 4),
    (0.20, 0.84, 0.44, 9, 4),
    (0.52, 0.36, 0.33, 8, 4),
    (1.02, 0.76, 0.27, 7, 4),
    (0.14, 0.20, 0.17, 5, 4),
    (0.66, 0.84, 0.13, 4, 3),
    (0.80, 0.13, 0.10, 4, 2),
    (1.27, 0.52, 0.10, 3, 4),
)
# Corners, index into COLORS, opacity
TRIANGLES = (
    ((0.62, 0.98), (1.02, 0.22), (0.88, 0.99), 4, 0.82),
    ((0.02, 0.52), (0.44, 0.60), (0.06, 0.34), 2, 0.88),
    ((0.78, 0.56), (1.30, 0.40), (1.22, 0.62), 0, 0.78),
    ((0.36, 0.02), (0.62, 0.05), (0.44, 0.36), 3, 0.80),
    ((1.10, 0.99), (1.32, 0.70), (1.33, 0.99), 6, 0.85),
    ((0.40, 0.70), (0.60, 0.58), (0.56, 0.78), 1, 0.90),
)
# Two points on each line, and its width
LINES = (
    (0.02, 0.99, 1.31, 0.07, 3.2),
    (0.30, 0.99, 0.72, 0.02, 2.0),
    (0.0, 0.46, 1.33, 0.66, 1.6),
    (0.92, 0.99, 1.20, 0.01, 2.2),
)


def half_plane(x: np.ndarray, y: np.ndarray, start: tuple, end: tuple) -> np.ndarray:
    """Signed distance to the line through two points, positive on its right going from start to end (y down)."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    return ((y - start[1]) * dx - (x - start[0]) * dy) / np.hypot(dx, dy)


def choose(rng: np.random.Generator, rings: int, sectors: int) -> np.ndarray:
    """A colour index for every ring and sector, no two neighbours alike."""
    chosen = np.zeros((rings, sectors), int)
    for ring in range(rings):
        for sector in range(sectors):
            taken = {chosen[ring - 1, sector], chosen[ring, sector - 1], chosen[ring, 0]}
            chosen[ring, sector] = rng.choice([c for c in range(len(COLORS)) if c not in taken])
    return chosen


def paint(seed: int = 0) -> Image.Image:
    """Ground, discs, triangles, lines; the brush follows each form and lets what lies below shimmer through."""
    rng = np.random.default_rng(seed)
    x, y = grid()
    weave = noise(rng, 0.007, octaves=2)
    # Ground: slanting planes, scumbled.
    picture = np.broadcast_to(GROUND[0], (*x.shape, 3))
    for i, (ax, ay, bx, by) in enumerate(
        ((0.0, 0.42, 1.33, 0.10), (0.25, 0.0, 0.62, 1.0), (0.0, 0.70, 1.33, 0.95), (0.98, 0.0, 0.80, 1.0))
    ):
        side = half_plane(x, y, (ax, ay), (bx, by))
        brush = noise(rng, 0.20, 0.012) * 0.5 + noise(rng, 0.02, 0.25) * 0.5
        picture = blend(picture, GROUND[i + 1], smoothstep(0, 0.003, side) * (0.62 + 0.16 * brush).clip(0, 1))
    picture = picture * (1 + 0.05 * noise(rng, 0.5) + 0.035 * noise(rng, 0.30, 0.012))[..., None]

    for cx, cy, radius, rings, sectors in DISCS:
        wobble = 0.0016 * noise(rng, 0.10)
        distance, turn = np.hypot(x - cx, y - cy) + wobble, np.arctan2(y - cy, x - cx)
        bounds = np.sort(np.linspace(0.16, 1, rings) + rng.uniform(-0.28, 0.28, rings) / rings)
        bounds[-1] = 1
        ring = np.searchsorted(bounds * radius, distance).clip(0, rings - 1)
        start = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.06, rings)
        part = (turn + start[ring] + 12 * wobble) % (2 * np.pi) * sectors / (2 * np.pi)
        sector = part.astype(int) % sectors
        fill = COLORS[choose(rng, rings, sectors)[ring, sector]]
        # The brush goes round: noise long in angle, fine in radius.
        streak = streaks(rng, distance, turn)
        within = part - sector - 0.5
        fill = fill * (1 + 0.10 * streak + 0.12 * within * np.where(ring % 2, 1, -1) + 0.03 * weave)[..., None]
        seam = np.abs(distance - np.append(0, bounds * radius)[ring + (distance > 0)]).clip(0)
        cover = (0.95 + 0.10 * streak).clip(0.72, 1) * smoothstep(0, 0.003, radius - distance)
        picture = blend(picture, fill * (0.90 + 0.10 * smoothstep(0, 0.006, seam))[..., None], cover)

    for a, b, c, shade, cover in TRIANGLES:
        sides = np.array([half_plane(x, y, *pair) for pair in ((a, b), (b, c), (c, a))])
        sides = sides * np.sign(half_plane(np.float64(c[0]), np.float64(c[1]), a, b))
        depth = sides.min(0)
        stripes = 0.5 + 0.5 * np.sign(np.sin(sides[0] * 2 * np.pi / 0.034))
        color = COLORS[shade] * (1 + 0.09 * noise(rng, 0.015, 0.2))[..., None]
        picture = blend(picture, color, smoothstep(0, 0.003, depth) * (cover - 0.42 * stripes))
        picture = blend(picture, COLORS[4], smoothstep(0.0042, 0.0025, np.abs(depth - 0.002)) * 0.9)

    for ax, ay, bx, by, thick in LINES:
        away = np.abs(half_plane(x, y, (ax, ay), (bx, by)) + 0.0008 * noise(rng, 0.08))
        picture = blend(picture, COLORS[4], smoothstep(thick * 0.0022, thick * 0.0014, away) * 0.92)
    for _ in range(16):  # small moons with a rim, and arcs
        cx, cy, radius = rng.uniform(0, ASPECT), rng.uniform(0, 1), rng.uniform(0.010, 0.034)
        distance = np.hypot(x - cx, y - cy)
        shade, rim = rng.choice(len(COLORS), 2, replace=False)
        picture = blend(picture, COLORS[rim], smoothstep(radius * 1.45, radius * 1.45 - 0.003, distance))
        picture = blend(picture, COLORS[shade], smoothstep(radius, radius - 0.003, distance))
    for _ in range(9):
        cx, cy, radius = rng.uniform(0, ASPECT), rng.uniform(0, 1), rng.uniform(0.07, 0.20)
        turn = (np.arctan2(y - cy, x - cx) + rng.uniform(0, 6.28)) % (2 * np.pi)
        span = rng.uniform(1.0, 2.6)
        thick = 0.0065 * np.sin((turn / span).clip(0, 1) * np.pi)
        away = np.abs(np.hypot(x - cx, y - cy) - radius) - thick
        picture = blend(picture, COLORS[4], smoothstep(0.0008, -0.0008, away) * (turn < span))
    return finish(picture * (1 + 0.028 * weave)[..., None])


def streaks(rng: np.random.Generator, distance: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Noise that runs around a centre like the bristles of a brush; mean 0, deviation about 1."""
    table = rng.standard_normal((512, 24))
    table = table + np.roll(table, 1, 1) + np.roll(table, 1, 0)
    row = (distance * 420).astype(int) % 512
    place = (turn / (2 * np.pi) % 1) * 24
    column = place.astype(int) % 24
    share = place - np.floor(place)
    return (table[row, column] * (1 - share) + table[row, (column + 1) % 24] * share) / 1.5

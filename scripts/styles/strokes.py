"""Thick brush strokes along a flow: a whirling night sky over blue hills, a wheat field and a cypress."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from styles.canvas import SHAPE, UNIT, at, blend, finish, follow, grid, ink, noise, palette, ramp, relief, smoothstep

# What the sky turns around: x, y, radius, how strongly and which way; and the size of the light there, if any
WHIRLS = (
    (1.03, 0.23, 0.19, 1.0, 0.0),  # the moon
    (0.56, 0.31, 0.19, -0.9, 0.0),
    (0.76, 0.085, 0.075, 0.7, 0.034),
    (0.075, 0.13, 0.085, 0.7, 0.034),
    (0.37, 0.095, 0.060, 0.7, 0.025),
    (1.27, 0.44, 0.055, -0.7, 0.022),
    (0.80, 0.45, 0.050, 0.7, 0.020),
    (0.06, 0.42, 0.055, -0.7, 0.021),
)
# Width, length, spacing of the strokes of each pass, in picture heights
PASSES = ((0.030, 0.15, 0.018), (0.019, 0.11, 0.0125), (0.012, 0.075, 0.0115))
BRISTLES = 6


def sky(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours and stroke angles: along the level lines of a stream function with a whirl for each light."""
    stream = 0.55 * y + 0.030 * np.sin(5.5 * x + 3 * y) + 0.012 * noise(rng, 0.5, octaves=1)
    for cx, cy, radius, turn, _ in WHIRLS:
        near = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / radius**2)
        calm = at(stream, np.array([cx, cy]))  # no wind in its middle
        stream = stream + (calm - stream + turn * radius) * near
    down, across = np.gradient(stream)
    bands = 0.5 + 0.5 * np.sin(stream * 46 + noise(rng, 0.3, octaves=2) * 0.7)
    night = palette("131b4d", "1d3788", "2d62b4", "5fa3c9", "b9d7c2")
    color = ramp(0.62 * y**1.2 + 0.52 * bands**1.5 * (0.45 + 0.5 * y), night)
    for cx, cy, _, _, radius in WHIRLS[2:]:
        distance = np.hypot(x - cx, y - cy) / radius
        halo = np.exp(-((distance / 1.6) ** 2)) * (0.75 + 0.25 * np.cos(distance * 5))
        color = blend(color, palette("d9dfa0")[0], 0.8 * halo)
        color = blend(color, palette("fff3b8")[0], smoothstep(0.9, 0.5, distance))
    eye = np.hypot(x - WHIRLS[1][0], y - WHIRLS[1][1])
    foam = np.exp(-((eye / 0.15) ** 2)) * (0.5 + 0.5 * np.cos(eye * 90))
    color = blend(color, palette("c4dccb")[0], 0.8 * foam)
    distance = np.hypot(x - WHIRLS[0][0], y - WHIRLS[0][1])
    halo = np.exp(-((distance / 0.17) ** 2)) * (0.72 + 0.28 * np.cos(distance * 105))
    color = blend(color, ramp(distance / 0.2, palette("ffd23f", "ffbf3a", "e9d77a", "7fc4b4")), halo.clip(0, 1))
    color = blend(color, palette("ffdf57")[0], smoothstep(0.062, 0.052, distance))
    crescent = np.hypot(x - WHIRLS[0][0] - 0.028, y - WHIRLS[0][1] + 0.012)
    color = blend(color, palette("e88b25")[0], smoothstep(0.05, 0.04, crescent) * smoothstep(0.065, 0.05, distance))
    return color, np.arctan2(-across, down)


def layers(rng: np.random.Generator):
    """From back to front: where a layer lies, its colours and the angles of its strokes."""
    x, y = grid()
    color, angle = sky(rng, x, y)
    yield np.ones(SHAPE, bool), color, angle
    for level, swell, wave, shades in (
        (0.60, 0.045, 4.1, ("22386f", "34609c", "7fa6bd")),
        (0.67, 0.040, 6.3, ("123a4b", "1f6a6c", "6fb08b")),
    ):
        top = level + swell * np.sin(wave * x + 9 * level) + 0.4 * swell * np.sin(2.3 * wave * x)
        slope = np.gradient(top, axis=1) * UNIT
        light = 0.5 + 0.28 * noise(rng, 0.16, 0.05) - 3.0 * (y - top - 0.06)
        yield y > top, ramp(light, palette(*shades)), np.arctan(slope) + 2.4 * (y - top) * np.sin(7 * x)
    top = 0.765 + 0.025 * np.sin(3.2 * x + 0.4)
    rows = 0.5 + 0.5 * np.sin(70 * (y + 0.22 * x) + 2.2 * noise(rng, 0.25, octaves=2))
    wheat = palette("6b3314", "b5651d", "dd9a2b", "f3cb58", "fbe9a0")
    color = ramp(0.22 + 0.50 * rows + 0.13 * noise(rng, 0.12) - 0.15 * (y - top), wheat)
    color = blend(color, palette("c9452a")[0], 0.75 * (noise(rng, 0.05, octaves=1) > 1.55))
    yield y > top, color, -1.05 + 0.65 * np.sin(4.3 * x + 6 * y) + 0.12 * noise(rng, 0.2)
    # The cypress: a flame of two tongues whose strokes rise and waver.
    tree = np.zeros(SHAPE, bool)
    for foot, tip, wide in ((0.225, 0.105, 0.085), (0.315, 0.40, 0.060)):
        up = ((1.08 - y) / (1.08 - tip)).clip(0, 1)
        middle = foot + 0.016 * np.sin(13 * y) + 0.02 * up
        tree |= (np.abs(x - middle) < wide * (up + 0.03) ** 0.35 * (1 - up) ** 0.72 * 1.25) & (y > tip)
    light = 0.42 + 0.30 * np.sin(95 * x + 8 * np.sin(9 * y)) + 0.16 * noise(rng, 0.05, 0.2)
    color = ramp(light, palette("0d1f22", "173d2f", "2f5f33", "7a8437"))
    yield tree, color, -np.pi / 2 + 0.55 * np.sin(13 * y + 5 * x) + 0.12 * noise(rng, 0.1)


def paint(seed: int = 0) -> Image.Image:
    """Every layer from broad strokes to fine, each a bundle of bristles of one pigment; then light on the relief."""
    rng = np.random.default_rng(seed)
    canvas = Image.new("RGB", SHAPE[::-1], ink(palette("1a2a5c")[0]))
    heights = Image.new("L", SHAPE[::-1], 0)
    draw, carve = ImageDraw.Draw(canvas), ImageDraw.Draw(heights)
    for depth, (where, color, angle) in enumerate(layers(rng)):
        for wide, long, spacing in PASSES if depth < 4 else PASSES[1:]:
            count = int(1.5 / spacing**2 * 0.6)
            starts = rng.random((count, 2)) * (1.40, 1.06) - 0.03
            starts = starts[at(where, starts)]
            curves = follow(angle, starts, long * rng.uniform(0.6, 1.25, len(starts)))  # [n, 9, 2]
            along = np.gradient(curves, axis=1)
            normal = np.stack([-along[..., 1], along[..., 0]], -1)
            normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
            shades = at(color, starts) * rng.uniform(0.86, 1.14, (len(starts), 1)) + rng.normal(
                0, 0.025, (len(starts), 3)
            )
            bristle = np.linspace(-0.5, 0.5, BRISTLES)
            thick = max(1, int(wide * UNIT / BRISTLES * 1.35 + 0.5))
            tones = 1 + rng.normal(0, 0.065, (len(starts), BRISTLES))
            lifts = (200 - 260 * np.abs(bristle) + rng.normal(0, 26, (len(starts), BRISTLES))).clip(20, 255)
            for i in range(len(starts)):
                for j in range(BRISTLES):
                    first, last = rng.integers(0, 2), 9 - rng.integers(0, 2)
                    line = ((curves[i] + normal[i] * bristle[j] * wide)[first:last] * UNIT).ravel().tolist()
                    draw.line(line, fill=ink(shades[i] * tones[i, j]), width=thick)
                    carve.line(line, fill=int(lifts[i, j]), width=thick)
    light = relief(np.asarray(heights, np.float32), 0.0055)
    return finish(np.asarray(canvas, np.float32) / 255 * light[..., None])

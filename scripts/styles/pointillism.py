"""Dots of pure colour, divided and set against their complements: a river on a bright afternoon."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from styles.canvas import SHAPE, UNIT, at, blend, finish, grid, ink, noise, palette, ramp, relief, scatter, smoothstep

SHORE = 0.50  # y of the far bank
POPLARS = ((0.06, 0.25, 0.052), (0.15, 0.15, 0.060), (0.25, 0.20, 0.056), (0.34, 0.28, 0.046), (0.415, 0.345, 0.036))
PIGMENTS = palette(
    "fff6dd", "ffe37a", "ffc23a", "f7923a", "e8583a", "d23a5a", "f2a7b5", "c88ac8", "8a6ac0", "5a56b0",
    "3a4a9a", "3f78c4", "6fb0e0", "b8dcee", "58b8a8", "2f8a6a", "4f9a3f", "8fbf45", "cfd84f", "2f3a66",
)  # fmt: skip
# Diameter and spacing of the dots of each pass, and how far their pigment may stray from the colour wanted
PASSES = ((0.0225, 0.0150, 0.05), (0.0150, 0.0105, 0.075), (0.0108, 0.0100, 0.10))


def far(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sky, far bank and its trees: what the water mirrors."""
    color = ramp(y / SHORE, palette("6f9fdc", "a9c4e6", "ecd9cf", "ffe2a0", "ffd07a"))
    cloud = smoothstep(0.2, 1.5, noise(rng, 0.42, 0.11) - 3 * np.abs(y - 0.17))
    color = blend(color, ramp(y / 0.35, palette("fff4e6", "ffd9cf", "e8b4c8")), 0.85 * cloud)
    glow = np.exp(-((np.hypot(x - 0.62, (y - 0.40) * 1.1) / 0.24) ** 2))
    color = blend(color, palette("ffe98a")[0], 0.85 * glow)
    color = blend(color, palette("fffbe0")[0], smoothstep(0.056, 0.045, np.hypot(x - 0.62, y - 0.385)))
    rise = smoothstep(0.64, 1.0, x)
    hills = SHORE - 0.03 - rise * (0.19 + 0.016 * np.sin(14 * x)) + 0.006 * noise(rng, 0.05)
    shades = ramp((y - hills) / 0.16 + 0.10 * noise(rng, 0.07), palette("6a5ab8", "5a6ac0", "4f8fb0", "7ab890"))
    color = blend(color, shades, smoothstep(0, 0.008, y - hills))
    for cx, tip, wide in POPLARS:
        up = ((SHORE - y) / (SHORE - tip)).clip(0, 1)
        inside = np.abs(x - cx) / (wide * (up + 0.02) ** 0.3 * (1 - up) ** 0.55 + 1e-6) + 0.14 * noise(rng, 0.03, 0.04)
        light = 0.5 + 0.55 * (x - cx) / wide + 0.14 * noise(rng, 0.03)
        tree = ramp(light, palette("353f86", "2f6a78", "4f9a4a", "c8cf4a"))
        color = blend(color, tree, smoothstep(1.1, 0.8, inside) * (y < SHORE) * (up < 0.995))
    bank = smoothstep(SHORE - 0.020, SHORE - 0.014, y + 0.005 * noise(rng, 0.08))
    return blend(color, ramp(0.5 + 0.3 * noise(rng, 0.06), palette("5a7a5a", "9ab04a", "e0cf5a")), bank)


def sail(x: np.ndarray, y: np.ndarray, foot: float, height: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mainsail, jib and hull of a boat as (where, colours); a negative height makes its reflection."""
    up = (foot - y) / height  # 0 at the water, 1 at the masthead
    size = abs(height)
    across = (x - 0.92) / size
    main = (up > 0.09) & (up < 1) & (across > 0.015) & (across < 0.46 * (1 - up).clip(0) ** 0.8)
    jib = (up > 0.09) & (up < 0.90) & (across < -0.015) & (across > -0.34 * (1 - up / 0.9).clip(0) ** 0.9)
    hull = (up > 0) & (up < 0.075) & (across > -0.42 + 1.2 * (0.075 - up)) & (across < 0.52 - 2.0 * (0.075 - up))
    cloth = ramp(0.1 + 1.7 * across, palette("fffdf2", "ffeec2", "f4b8a8", "c79ad0"))
    shade = ramp(0.6 + 1.5 * across, palette("e8cfe0", "fff0d0", "ffffff"))
    return [(main, cloth), (jib, shade), (hull, ramp(across + 0.5, palette("c8442a", "7a2a5a")))]


def scene(rng: np.random.Generator) -> np.ndarray:
    """The colours wanted, [rows, columns, 3]."""
    x, y = grid()
    color = far(rng, x, y)
    rows = ((SHORE - (y - SHORE) * 1.05 + 0.010 * np.sin(y * 150)).clip(0, 1) * UNIT).astype(int).clip(0, SHAPE[0] - 1)
    ripple = 0.012 * noise(rng, 0.10, 0.012, octaves=2) * (1 + 3 * (y - SHORE).clip(0))
    columns = ((x + ripple) * UNIT).astype(int).clip(0, SHAPE[1] - 1)
    water = color[rows, columns] * palette("d8e4f4")[0]
    deep = ramp((y - SHORE) / 0.4, palette("8fb8dc", "4f86c4", "3a60a8"))
    bands = smoothstep(0.2, 1.2, noise(rng, 0.30, 0.030, octaves=2))
    water = blend(water, deep, (0.12 + 0.6 * bands + 0.5 * (y - SHORE)).clip(0, 1))
    color = np.where((y > SHORE)[..., None], water, color)
    foot = 0.605
    for where, shades in sail(x + 1.5 * ripple, y, foot, -0.30):
        color = blend(color, 0.75 * shades + 0.25 * deep, 0.72 * where)
    for where, shades in sail(x, y, foot, 0.36):
        color = blend(color, shades, where)
    # The near bank with its poppies, and in its corner a tree that frames the view.
    bank = 0.965 - 0.20 * np.exp(-((x / 0.62) ** 2)) - 0.05 * smoothstep(0.9, 1.33, x) + 0.010 * np.sin(13 * x)
    light = 0.62 + 0.25 * noise(rng, 0.10, 0.04) - 1.3 * (y - bank - 0.07)
    color = blend(color, ramp(light, palette("2f4a7a", "2f8a5a", "7ab83f", "dfe05a")), smoothstep(0, 0.01, y - bank))
    shade = smoothstep(0.62, 0.10, np.hypot(x, 1.6 * (y - 0.93))) * (y > bank)
    color = blend(color, palette("3a4a9a")[0], 0.55 * shade)
    poppies = (noise(rng, 0.022, octaves=1) > 1.45) & (y > bank + 0.015)
    color = blend(color, palette("e8402f")[0], 0.95 * poppies)
    trunk = np.abs(x - 1.255 - 0.05 * np.sin(3.2 * y)) - 0.022 - 0.05 * smoothstep(0.8, 1.0, y)
    bark = ramp(0.45 - 9 * (x - 1.255 - 0.05 * np.sin(3.2 * y)), palette("2f2a5a", "5a3a6a", "b0604a", "ffb85a"))
    color = blend(color, bark, smoothstep(0.004, 0, trunk))
    crown = np.hypot((x - 1.25) * 0.85, y * 1.25 + 0.02) + 0.030 * noise(rng, 0.09)
    light = 0.40 + 0.27 * noise(rng, 0.05) + 0.9 * (crown - 0.24)
    leaves = palette("2f2f70", "2a5a78", "2f8a5a", "8fbf3f", "f0d84a")
    return blend(color, ramp(light, leaves), smoothstep(0.345, 0.325, crown))


def paint(seed: int = 0) -> Image.Image:
    """Three passes of dots, each dot of the pigment that its place asks for, or now and then of a neighbouring one."""
    rng = np.random.default_rng(seed)
    wanted = scene(rng)
    canvas = Image.new("RGB", SHAPE[::-1], ink(palette("efe2c4")[0]))
    heights = Image.new("L", SHAPE[::-1], 0)
    draw, raise_ = ImageDraw.Draw(canvas), ImageDraw.Draw(heights)
    for size, spacing, stray in PASSES:
        points = scatter(rng, spacing, 0.5)
        target = at(wanted, points)
        # Vivid: away from grey, then each channel strays, so that neighbours differ in hue more than in lightness.
        grey = target.mean(-1, keepdims=True)
        target = grey + (target - grey) * 1.35 + rng.normal(0, stray, target.shape)
        complement = rng.random(len(points)) < 0.05
        target[complement] = (2 * grey - target + 0.10)[complement]
        nearest = ((target[:, None] - PIGMENTS) ** 2 @ np.array([2.0, 4.0, 1.5])).argmin(1)
        shades = 0.62 * PIGMENTS[nearest] + 0.38 * target + rng.normal(0, 0.02, target.shape)
        radii = size / 2 * UNIT * rng.uniform(0.72, 1.18, (len(points), 2))
        for (px, py), (rx, ry), shade in zip(points * UNIT, radii, shades, strict=True):
            draw.ellipse((px - rx, py - ry, px + rx, py + ry), fill=ink(shade))
            raise_.ellipse((px - rx, py - ry, px + rx, py + ry), fill=110)
            raise_.ellipse((px - rx * 0.6, py - ry * 0.6, px + rx * 0.6, py + ry * 0.6), fill=200)
    light = relief(np.asarray(heights, np.float32), 0.0032)
    return finish(np.asarray(canvas, np.float32) / 255 * light[..., None])

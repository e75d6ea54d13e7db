"""Tesserae laid in rows along the outlines: three fish in a whirl of turquoise water."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree

from styles.canvas import ASPECT, SHAPE, UNIT, at, blend, finish, grid, ink, noise, palette, ramp, relief, smoothstep

# Centre, heading, length and colours (back to belly) of each fish
FISH = (
    (0.57, 0.265, -0.13, 0.56, ("7a1f1a", "b8402a", "e07a3f", "f6c98a")),
    (1.03, 0.56, 1.95, 0.52, ("5a3a12", "a8731f", "e0ad3a", "fbeaa8")),
    (0.42, 0.70, -2.70, 0.50, ("3a2440", "7a3a5a", "c9707a", "f4c8b8")),
)
WATER = palette("0d3b4a", "14606b", "2b8f90", "6fc0b0", "c9e6cf")
BORDER = 0.062
SWEEPS = 10


def fish(x: np.ndarray, y: np.ndarray, cx: float, cy: float, heading: float, length: float, colors: tuple):
    """Signed distance-like outline (negative inside) and colours of a fish that bends a little."""
    c, s = np.cos(heading), np.sin(heading)
    along = ((x - cx) * c + (y - cy) * s) / length  # 0.5 at the nose
    across = (-(x - cx) * s + (y - cy) * c) / length - 0.34 * (along - 0.05) ** 2 + 0.03
    t = (0.5 - along).clip(1e-4, 1)
    half = 0.335 * np.sqrt(t) * (1 - t / 0.88).clip(0) ** 0.75 + 0.026 * smoothstep(0.2, -0.3, along)
    body = np.where((along < 0.5) & (along > -0.36), np.abs(across) - half, 1)
    fan = 0.026 + 0.155 * smoothstep(-0.28, -0.43, along)
    notch = -0.52 + 0.65 * (0.17 - np.abs(across)).clip(0)
    tail = np.where((along < -0.27) & (along > notch), np.abs(across) - fan, 1)
    fin = np.maximum(-across - half - 0.075 * smoothstep(-0.25, 0.05, along) * smoothstep(0.28, 0.12, along), across)
    fin = np.where((along > -0.25) & (along < 0.28), fin, 1)
    belly = np.maximum(across - half - 0.09 * smoothstep(-0.16, -0.10, along) * smoothstep(0.05, -0.10, along), -across)
    belly = np.where((along > -0.16) & (along < 0.05), belly, 1)
    outline = np.minimum(np.minimum(body, tail), np.minimum(fin, belly)) * length
    shades = palette(*colors)
    scales = 0.5 + 0.5 * np.sin(along * 80 + 30 * np.abs(across))
    scales = np.where(along < 0.30, scales, 0.5)
    color = ramp(0.5 + across / 0.24 + 0.50 * (scales - 0.5), shades)
    color = np.where((body > 0)[..., None], ramp(0.5 + 0.5 * np.sin((across - 0.4 * along) * 75), shades[:3]), color)
    gill = np.abs(np.hypot(along - 0.42, across) - 0.175) < 0.013
    color = blend(color, shades[0], gill & (along < 0.40) & (body < 0))
    eye = np.hypot(along - 0.355, across + 0.045)
    color = blend(color, palette("fff6e0")[0], eye < 0.036)
    return outline, blend(color, palette("16141c")[0], eye < 0.019)


def cartoon(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The design: colours, the angle of the rows, and the size of the tesserae."""
    x, y = grid()
    outlines, paints = zip(*(fish(x, y, *each) for each in FISH), strict=True)
    outline = np.min(outlines, axis=0)
    inside = outline < 0
    distance = ndimage.distance_transform_edt(~inside) / UNIT
    depth = ndimage.distance_transform_edt(inside) / UNIT
    whirl = np.hypot(x - 0.68, y - 0.52)
    waves = np.sin(whirl * 44 + 2 * np.arctan2(y - 0.52, x - 0.68) + 1.3 * noise(rng, 0.4, octaves=1))
    color = ramp(0.50 + 0.30 * waves - 0.35 * (whirl - 0.35) + 0.09 * noise(rng, 0.05), WATER)
    color = blend(color, WATER[4], (distance < 0.019) & ~inside)
    foam = smoothstep(0.72, 0.9, waves) * smoothstep(0.4, 1.0, noise(rng, 0.16))
    color = blend(color, palette("f4ead0")[0], foam * (distance > 0.03))
    for each, shades in zip(outlines, paints, strict=True):
        color = np.where((each < 0)[..., None], shades, color)
    color = blend(color, palette("2a1a1c")[0], inside & (depth < 0.0085))
    frame = np.minimum(np.minimum(x, ASPECT - x), np.minimum(y, 1 - y))
    field = np.where(inside, -depth, np.minimum(distance, 0.09) + 0.9 * whirl * smoothstep(0.02, 0.10, distance))
    field = ndimage.gaussian_filter(field, 7)
    border = frame < BORDER
    field = np.where(frame < BORDER + 0.012, frame, field)
    run = np.where(np.minimum(x, ASPECT - x) < np.minimum(y, 1 - y), y, x)
    band = frame / BORDER * 4  # four rows of tesserae: dark, two of blocks, gold
    block = (run * 12).astype(int) % 2 == 0
    trim = np.where(block[..., None], palette("a83a26")[0], palette("f1e4c6")[0])
    trim = blend(blend(trim, palette("1d2f3f")[0], band < 1), palette("dba63c")[0], band > 3)
    down, across = np.gradient(field)
    size = np.where(inside, 0.0150, np.where(border, 0.0150, 0.0180))
    return np.where(border[..., None], trim, color), np.arctan2(down, across), size


def lay(rng: np.random.Generator, angle: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres [n, 2] and angles [n] of the tesserae: Lloyd's sweeps, where the nearest is by a square's norm."""
    step = 4
    rows, columns = np.mgrid[step // 2 : SHAPE[0] : step, step // 2 : SHAPE[1] : step]
    points = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], -1) / UNIT
    weight = 1 / at(size, points) ** 4
    share = at(size, points) ** -2.0
    count = int(share.mean() * ASPECT)
    centres = points[rng.choice(len(points), count, replace=False, p=share / share.sum())]
    for _ in range(SWEEPS):
        turn = at(angle, centres)
        near = cKDTree(centres).query(points, k=7)[1]  # [p, 7]
        offset = points[:, None] - centres[near]
        c, s = np.cos(turn[near]), np.sin(turn[near])
        u, v = offset[..., 0] * c + offset[..., 1] * s, -offset[..., 0] * s + offset[..., 1] * c
        owner = near[np.arange(len(points)), np.maximum(np.abs(u), np.abs(v)).argmin(1)]
        total = np.bincount(owner, weight, count).clip(1e-9)
        moved = np.stack([np.bincount(owner, weight * points[:, i], count) / total for i in (0, 1)], -1)
        centres = np.where((total > 1e-6)[:, None], moved, centres)
    return centres, at(angle, centres)


def paint(seed: int = 0) -> Image.Image:
    """Squares of stone and glass, none quite square or level, in sandy mortar."""
    rng = np.random.default_rng(seed)
    color, angle, size = cartoon(rng)
    centres, turns = lay(rng, angle, size)
    mortar = palette("8d8371")[0] * (1 + 0.08 * noise(rng, 0.006, octaves=2))[..., None]
    tiles = Image.new("RGB", SHAPE[::-1])
    cover, heights = (Image.new("L", SHAPE[::-1], 0) for _ in range(2))
    draws = [ImageDraw.Draw(image) for image in (tiles, cover, heights)]
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2
    widths = at(size, centres) * 0.90
    shades = at(color, centres) * rng.normal(1, 0.085, (len(centres), 1)) + rng.normal(0, 0.018, (len(centres), 3))
    for centre, turn, width, shade in zip(centres, turns, widths, shades, strict=True):
        c, s = np.cos(turn), np.sin(turn)
        shape = (corners + rng.uniform(-0.055, 0.055, (4, 2))) * width @ np.array([[c, s], [-s, c]]) + centre
        for draw, fill in zip(draws, (ink(shade), 255, 200), strict=True):
            draw.polygon((shape * UNIT).ravel().tolist(), fill=fill)
    cover = np.asarray(cover, np.float32) / 255
    bevel = relief(ndimage.gaussian_filter(np.asarray(heights, np.float32), 1.5), 0.007)
    stone = np.asarray(tiles, np.float32) / 255 * (1 + 0.045 * noise(rng, 0.008, octaves=2))[..., None]
    shadow = 1 - 0.45 * np.roll(ndimage.gaussian_filter(cover, 2), (3, 3), (0, 1))
    return finish(blend(mortar * shadow[..., None], stone * bevel[..., None], cover))

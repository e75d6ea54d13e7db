"""A leaded window: a sun with rays of amber and ruby glass over green hills, a river and a tree."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from styles.canvas import ASPECT, UNIT, blend, finish, grid, limb, noise, palette, ramp, smoothstep

SUN = (0.80, 0.40, 0.125)
TRUNK = ((0.20, 1.02), (0.235, 0.80), (0.20, 0.60), (0.255, 0.40), (0.33, 0.26))
LIMBS = (TRUNK, ((0.225, 0.52), (0.12, 0.36), (0.09, 0.24)), ((0.24, 0.45), (0.40, 0.36), (0.48, 0.27)))
CROWN = ((0.10, 0.20, 0.15), (0.30, 0.15, 0.17), (0.47, 0.22, 0.13), (0.20, 0.33, 0.10))
AMBER = palette("fff2b0", "ffd24a", "f79a1e", "e4561b", "b51d2c", "7a1440", "43195c")
FAR = palette("2a1a5e", "4a3a9a", "8a6ac0", "d8a0c0")
GRASS = palette("0d4a3a", "14753f", "4aa53a", "a8c83c")
WATER = palette("0c2a7a", "1250b8", "2a8fd6", "8fd4e8")
LEAVES = palette("0b5a4a", "1c8a4e", "7cb83a", "d9c93a", "c4471f")


def panes(rng: np.random.Generator, across: np.ndarray, down: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """Index of the pane of each point: Voronoi cells of a shaken lattice, `size` in the units of the coordinates."""
    u, v = across / size[0], down / size[1]
    columns, rows = np.meshgrid(np.arange(u.min() - 2, u.max() + 2), np.arange(v.min() - 2, v.max() + 2))
    columns = columns + 0.5 * (np.arange(len(rows)) % 2)[:, None]
    sites = np.stack([columns.ravel(), rows.ravel()], -1)
    sites += rng.uniform(-0.33, 0.33, sites.shape)
    return cKDTree(sites).query(np.stack([u, v], -1))[1]


def design(rng: np.random.Generator, x: np.ndarray, y: np.ndarray):
    """Region by region, from back to front: where, the coordinates that its panes follow, their size, the colours."""
    dx, dy = x - SUN[0], y - SUN[1]
    distance, turn = np.hypot(dx, dy), np.arctan2(-dx, -dy)  # the seam of the angle lies below, behind the hills
    everywhere = np.ones(x.shape, bool)
    yield everywhere, turn, np.log(distance + 0.12), (2 * np.pi / 26, 0.30), AMBER, 0.16 + 0.95 * (distance - 0.12)
    sun = distance < SUN[2]
    yield sun, turn, np.where(distance < 0.055, 0, 9), (2 * np.pi / 9, 1), AMBER, 0.10 * distance / SUN[2]
    for level, swell, wave, start in ((0.56, 0.050, 4.6, 0.6), (0.66, 0.055, 3.4, 3.2), (0.80, 0.06, 3.0, 5.4)):
        top = level + swell * np.sin(wave * x + start) + 0.02 * np.sin(2.1 * wave * x)
        light = 0.95 - 0.25 * level - 3.2 * (y - top) + 0.18 * np.cos(wave * x + start)
        colors = FAR if level < 0.6 else GRASS
        yield y > top, x + 0.3 * y, y - top, (0.115, 0.062), colors, light
    bed = 0.83 - 0.16 * np.sin(9.5 * (y - 0.56)) * (0.4 + y) + 0.15 * (y - 0.56)
    wide = 0.012 + 0.62 * (y - 0.615).clip(0) ** 1.3
    river = (np.abs(x - bed) < wide) & (y > 0.615)
    yield river, (x - bed) / wide + 3 * y, y - 0.3 * (x - bed), (1.0, 0.042), WATER, 0.80 - 0.5 * np.abs(x - bed) / wide
    bark = np.min([limb(x, y, points, 0.034 if points is TRUNK else 0.018, 0.008) for points in LIMBS], axis=0)
    yield bark < 0, x * 2, y, (0.2, 0.11), palette("3a1410", "6e2a17", "a04a1c"), 0.5 + 14 * (x - 0.22)
    edge = np.min([np.hypot(x - cx, (y - cy) * 1.15) / r for cx, cy, r in CROWN], axis=0)
    edge = edge + 0.05 * np.sin(22 * x) * np.sin(19 * y + 1)
    light = 0.40 + 0.75 * (x - 0.25) - 0.6 * (y - 0.2)
    yield (edge < 1) & (bark > 0.004), x + 0.4 * y, y - 0.4 * x, (0.062, 0.043), LEAVES, light


def paint(seed: int = 0) -> Image.Image:
    """Panes with streaks, a slope of light and specks of their own; lead between them; the glow of the sun over all."""
    rng = np.random.default_rng(seed)
    x, y = grid()
    label, color, count = np.zeros(x.shape, int), np.zeros((*x.shape, 3), np.float32), 1
    region = np.zeros(x.shape, int)
    for where, across, down, size, colors, light in design(rng, x, y):
        pane = panes(rng, across[where], down[where], size)
        pane = np.unique(pane, return_inverse=True)[1]
        number = pane.max() + 1
        mean = np.bincount(pane, light[where]) / np.bincount(pane)
        mean = mean + rng.normal(0, 0.13, number)  # the glazier's choice
        color[where] = ramp(mean.clip(0, 1), colors)[pane]
        label[where] = pane + count
        region[where] = region.max() + 1
        count += number

    # Within a pane: streaks in one of four directions, a slope of light, seeds (bubbles).
    grains = ((0.3, 0.02), (0.025, 0.3), (0.10, 0.05), (0.05, 0.05))
    streaks = np.stack([noise(rng, *grain) for grain in grains])
    kind = rng.integers(0, 4, count)[label]
    streak = np.take_along_axis(streaks, kind[None], 0)[0]
    area = np.bincount(label.ravel(), minlength=count).clip(1)
    cx, cy = (np.bincount(label.ravel(), axis.ravel(), minlength=count) / area for axis in (x, y))
    slope = rng.normal(0, 2.6, (2, count))
    tilt = (x - cx[label]) * slope[0][label] + (y - cy[label]) * slope[1][label]
    seeds = smoothstep(2.2, 2.9, noise(rng, 0.011, octaves=1))
    value = 1 + 0.13 * streak + tilt.clip(-0.35, 0.35) + 0.5 * seeds
    color = color * value[..., None] + 0.05 * (streak * (streak > 0))[..., None]

    # Lead: thick between the parts of the design, thin between panes, rounded on top.
    def away(labels: np.ndarray) -> np.ndarray:
        seam = np.zeros(labels.shape, bool)
        seam[:, 1:] |= labels[:, 1:] != labels[:, :-1]
        seam[1:] |= labels[1:] != labels[:-1]
        return ndimage.distance_transform_edt(~seam) / UNIT

    frame = np.minimum(np.minimum(x, ASPECT - x), np.minimum(y, 1 - y)) - 0.012
    uneven = 1 + 0.12 * noise(rng, 0.06)
    lead = np.min([away(label) / 0.0042, away(region) / 0.0072, frame.clip(0) / 0.006], axis=0) / uneven
    color *= (0.62 + 0.38 * smoothstep(1.0, 4.5, lead))[..., None]
    glow = ndimage.gaussian_filter(color * (color.mean(-1, keepdims=True) > 0.45), (22, 22, 0))
    shine = smoothstep(0.75, 0.0, lead) * (0.7 + 0.25 * noise(rng, 0.02)).clip(0, 1) * (frame > 0.004)
    metal = palette("14131a")[0] + 0.20 * shine[..., None]
    halo = np.exp(-((np.hypot(x - SUN[0], y - SUN[1]) / 0.24) ** 2))
    window = blend(metal, color * (1 + 0.18 * halo)[..., None], smoothstep(0.85, 1.15, lead))
    return finish(1 - (1 - window.clip(0, 1)) * (1 - 0.22 * glow.clip(0, 1)))

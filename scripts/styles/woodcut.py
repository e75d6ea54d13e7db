"""A woodcut in three inks: carved lines that follow the form of sky, mountains, sea and a pine on the shore."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from styles.canvas import ASPECT, blend, finish, grid, limb, noise, palette, smoothstep

PAPER, RED, BLUE, BLACK = palette("f1e6cb", "c8402a", "5f8796", "1b1d2b")
SUN = (0.43, 0.335, 0.155)
HORIZON = 0.60
PINE = ((1.335, 0.98), (1.21, 0.80), (1.235, 0.66), (1.15, 0.55), (1.16, 0.44), (1.05, 0.35))
PADS = (  # the pine's cushions of needles: x, y, half width
    (1.17, 0.265, 0.10),
    (1.02, 0.340, 0.135),
    (1.23, 0.375, 0.13),
    (1.02, 0.480, 0.11),
    (1.27, 0.500, 0.12),
    (1.10, 0.590, 0.115),
    (1.31, 0.640, 0.10),
)


def carve(rng: np.random.Generator, phase: np.ndarray, along: np.ndarray, tone: np.ndarray, rough=0.30) -> np.ndarray:
    """Where a block still carries ink: one line for every whole `phase`, covering the share `tone` of its width.

    Each line swells and tapers on its own along `along`, as a gouge leaves it.
    """
    line = np.floor(phase).astype(int)
    line -= line.min()
    table = ndimage.gaussian_filter(rng.standard_normal((line.max() + 1, 400)), (0, 1.2))
    table /= table.std()
    swell = ndimage.map_coordinates(table, [line, np.abs(along) % 399], order=1)
    return np.abs(phase - np.floor(phase) - 0.5) < (tone + rough * swell * np.sqrt((tone * (1 - tone)).clip(0))) / 2


def ridge(x: np.ndarray, peaks: tuple[tuple[float, float, float], ...]) -> tuple[np.ndarray, np.ndarray]:
    """y of the top of mountains with concave flanks, and which of the peaks (x, y, steepness) it belongs to."""
    flanks = np.array([y + (HORIZON + 0.03 - y) * (1 - np.exp(-np.abs(x - cx) * steep)) for cx, y, steep in peaks])
    return flanks.min(0), flanks.argmin(0)


def paint(seed: int = 0) -> Image.Image:
    """Black key block over blue and red ones, printed on paper with the grain of the wood."""
    rng = np.random.default_rng(seed)
    x, y = grid()
    wobble = noise(rng, 0.35, 0.25)
    black, blue, red = np.zeros(x.shape, bool), np.zeros(x.shape, bool), np.zeros(x.shape, bool)

    # Sky: long lines that part around the sun and grow heavier upwards; bands of cloud are left uncut.
    sun_distance = np.hypot(x - SUN[0], y - SUN[1])
    bend = 0.10 * np.exp(-((sun_distance / 0.30) ** 2)) * np.tanh((y - SUN[1]) / 0.06)
    flow = y + bend + 0.010 * wobble + 0.012 * np.sin(6 * x + 5 * y)
    cloud = noise(rng, 0.55, 0.075, octaves=2) - 0.9 * np.exp(-((sun_distance / 0.25) ** 2))
    tone = 0.68 - 0.85 * y - 0.32 * smoothstep(0.35, 0.9, cloud) + 0.10 * noise(rng, 0.6, 0.1)
    black |= carve(rng, flow * 74, x * 30, tone.clip(0.02, 0.9))
    blue |= (y < 0.33 + 0.05 * wobble) & (cloud < 0.45)
    disc = sun_distance < SUN[2]
    black &= ~(sun_distance < SUN[2] + 0.012)
    blue &= ~(sun_distance < SUN[2] + 0.012)
    red |= disc & ~carve(rng, (y + 0.004 * wobble) * 62, x * 30, smoothstep(0.30, 0.52, y) * 0.72)

    # Mountains: ribs run down from the ridge, sparse on the lit side, dense on the dark one.
    for peaks, spacing, base in (
        (((0.10, 0.36, 3.6), (0.98, 0.40, 3.2), (1.30, 0.33, 3.0)), 84, 0.30),
        (((0.70, 0.225, 3.4), (0.27, 0.475, 5.0)), 72, 0.34),
    ):
        top, nearest = ridge(x, peaks)
        top = top + 0.006 * noise(rng, 0.05, 2.0)
        inside = (y > top) & (y < HORIZON)
        cx, cy = (np.take([p[i] for p in peaks], nearest) for i in (0, 1))
        down = ((y - cy) / (HORIZON - cy)).clip(0.02)
        rib = (x - cx) / (0.16 + down**0.8) + 0.010 * noise(rng, 0.10, 0.16, octaves=2)
        dark = smoothstep(-0.05, 0.10, x - cx + 0.03 * noise(rng, 0.10, 0.06))
        snow = smoothstep(0.34, 0.16, down + 0.10 * np.abs(np.sin(rib * 21)))
        mark = carve(rng, rib * spacing, down * 16, ((base + 0.48 * dark) * (1 - 0.75 * snow)).clip(0.04, 0.92))
        outline = np.abs(y - top) < 0.0045 + 0.002 * wobble
        for block, share in ((black, mark), (blue, dark > 0.5 + 0.3 * snow), (red, False)):
            block[inside] = np.broadcast_to(share, x.shape)[inside]
        black |= outline & (y < HORIZON)

    # Sea: swells that widen towards the shore, white crests, and the sun's path.
    near = ((y - HORIZON) / (1 - HORIZON)).clip(1e-3)
    swell = near**0.62 * 27 + (0.45 + 0.5 * near) * np.sin(x * 17 / (0.35 + near) + 1.0 * wobble + near * 14)
    sea = y > HORIZON
    foam = smoothstep(0.5, 1.1, noise(rng, 0.22, 0.035, octaves=2))
    mark = carve(rng, swell, x * 22 / (0.4 + near), (0.66 - 0.10 * near - 0.42 * foam).clip(0.05, 0.9), rough=0.42)
    path = np.abs(x - SUN[0] + 0.02 * wobble) < (0.09 + 0.10 * near) * (1 + 0.30 * np.sin(swell * np.pi))
    black[sea] = (mark & ~(path & (np.sin(swell * np.pi) > -0.3)))[sea]
    blue[sea] = (~path & (foam < 0.5))[sea]
    red[sea] = (path & ~mark)[sea]

    # The shore and the pine: solid ink, out of which light is cut.
    shore = y > 1.02 - 0.20 * smoothstep(0.62, 1.33, x) - 0.06 * smoothstep(0.45, 0.0, x) + 0.008 * noise(rng, 0.06)
    blades = carve(rng, (x + 0.35 * (y - 1) + 0.010 * noise(rng, 0.10)) * 88, y * 26, np.full(x.shape, 0.74), 0.55)
    put(black, blue, red, shore, blades)
    trunk = limb(x, y, PINE, 0.022, 0.006)
    bark = carve(rng, trunk * 150 + noise(rng, 0.05) * 0.3, y * 40, np.full(x.shape, 0.86), 0.6)
    put(black, blue, red, trunk + 0.003 * noise(rng, 0.03) < 0, bark)
    for cx, cy, wide in PADS:
        across, up = (x - cx) / wide, (y - cy) / (wide * 0.46)
        edge = across**2 + np.where(up > 0, up * 1.9, up) ** 2 + 0.10 * np.sin(np.arctan2(up, across) * 15)
        fan = np.arctan2(y - cy - 0.05, x - cx) * 30 + 0.3 * wobble
        light = 0.90 - 0.42 * smoothstep(0.3, -0.9, up)
        put(black, blue, red, edge < 1, carve(rng, fan, np.hypot(x - cx, y - cy - 0.05) * 90, light, 0.6))

    grain = noise(rng, 0.9, 0.006, octaves=2) * 0.6 + noise(rng, 0.010, octaves=2) * 0.5
    tint = noise(rng, 0.25) * 0.012
    picture = PAPER * (1 + tint + 0.012 * noise(rng, 0.006, octaves=1))[..., None]
    shift = (2, -2)  # the blocks never register quite
    for block, color, cover in ((blue, BLUE, 0.80), (red, RED, 0.93), (black, BLACK, 0.97)):
        printed = ndimage.gaussian_filter(np.roll(block, shift, (0, 1)).astype(np.float32), 1.1)
        worn = cover * (1 - 0.55 * smoothstep(1.35, 2.2, grain))
        picture = blend(picture, color * (1 + 0.05 * grain[..., None]), smoothstep(0.3, 0.7, printed) * worn)
        shift = (0, 0)
    margin = np.minimum(np.minimum(x, ASPECT - x), np.minimum(y, 1 - y)) + 0.0012 * noise(rng, 0.05)
    return finish(blend(PAPER * (1 + tint)[..., None], picture, smoothstep(0.010, 0.013, margin)))


def put(black: np.ndarray, blue: np.ndarray, red: np.ndarray, where: np.ndarray, mark: np.ndarray) -> None:
    """Lay a shape over the blocks: its own marks in black, bare blue between them, no red."""
    black[where] = mark[where]
    blue[where] = False
    red[where] = False

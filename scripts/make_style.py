"""Paint a style picture of our own: brush strokes that follow a flow field over a sky, hills and a sun.

python scripts/make_style.py data/styles/strokes.jpg --seed 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, OVERSAMPLE = 512, 384, 2


def scene(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The colours below the strokes, [..., 3] in 0..1, for x and y in 0..1 (y down)."""
    sky = np.stack([0.10 + 0.75 * y, 0.22 + 0.38 * y, 0.50 - 0.05 * y], -1)
    distance = np.hypot((x - 0.70) * 1.33, y - 0.30)[..., None]
    rings = 0.5 + 0.5 * np.cos(distance * 55)
    glow = np.exp(-((distance / 0.22) ** 2)) * (0.55 + 0.45 * rings)
    sky = sky * (1 - glow) + np.array([1.0, 0.83, 0.35]) * glow
    far = 0.62 + 0.06 * np.sin(x * 9 + 1)
    near = 0.78 + 0.07 * np.sin(x * 6 + 4)
    out = np.where((y > far)[..., None], [0.13, 0.33, 0.36], sky)
    return np.where((y > near)[..., None], [0.45, 0.16, 0.14], out)


def direction(x: float, y: float) -> np.ndarray:
    """Unit direction of a stroke: around the sun, in waves elsewhere."""
    across, down = (x - 0.70) * 1.33, y - 0.30
    distance = np.hypot(across, down) + 1e-6
    around = np.array([-down, across]) / distance
    turn = 0.6 * np.sin(5 * x + 7 * y) + 0.4 * np.sin(11 * y - 3 * x)
    near_sun = np.exp(-((distance / 0.30) ** 2))
    mixed = near_sun * around + (1 - near_sun) * np.array([np.cos(turn), np.sin(turn)])
    return mixed / (np.linalg.norm(mixed) + 1e-6)


def paint(seed: int = 0) -> Image.Image:
    """Strokes from broad to fine, each in the colour of the place where it starts, varied a little."""
    rng = np.random.default_rng(seed)
    width, height = WIDTH * OVERSAMPLE, HEIGHT * OVERSAMPLE
    canvas = Image.new("RGB", (width, height), (40, 45, 70))
    draw = ImageDraw.Draw(canvas)
    for thickness, length, count in ((22, 90, 2600), (13, 70, 5200), (7, 46, 7000)):
        starts = rng.random((count, 2)) * 1.16 - 0.08  # some begin outside, so that the edges are covered too
        shades = scene(starts[:, 0], starts[:, 1]) * rng.uniform(0.78, 1.22, (count, 1)) + rng.normal(
            0, 0.04, (count, 3)
        )
        for (x, y), shade in zip(starts, shades.clip(0, 1), strict=True):
            points = [(x * width, y * height)]
            for _ in range(8):
                px, py = points[-1]
                step = direction(px / width, py / height) * length / 8
                points.append((px + step[0], py + step[1]))
            color = tuple(int(255 * c) for c in shade)
            draw.line(points, fill=color, width=thickness, joint="curve")
            edge = tuple(int(190 * c) for c in shade)  # the ridge that a bristle leaves
            draw.line([(px, py + thickness * 0.4) for px, py in points], fill=edge, width=max(1, thickness // 7))
    return canvas.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    paint(options.seed).save(options.out, quality=90)


if __name__ == "__main__":
    main()

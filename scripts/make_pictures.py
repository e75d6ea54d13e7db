"""The README's pictures from finished demos: stills side by side, and a short loop of the film.

arf demo
arf demo --output outputs/all $(printf -- '--style %s ' data/styles/*.jpg)
python scripts/make_pictures.py outputs/demo outputs/all docs/pictures
"""

from __future__ import annotations

import argparse
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

LOOP_FPS = 12
WIDTH = 1600  # of the sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="output of a demo with two styles")
    parser.add_argument("all", type=Path, help="output of a demo with every style")
    parser.add_argument("out", type=Path, help="folder to write")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with Image.open(options.all / "sheet.png") as sheet:
        smaller = sheet.resize((WIDTH, round(sheet.height * WIDTH / sheet.width)), Image.LANCZOS)
    smaller.save(options.out / "styles.jpg", quality=88)
    frames = imageio_ffmpeg.read_frames(str(options.demo / "film.mp4"))
    meta = next(frames)
    width, height = meta["size"]
    every = max(1, round(meta["fps"] / LOOP_FPS))
    kept = [np.frombuffer(f, np.uint8).reshape(height, width, 3) for k, f in enumerate(frames) if k % every == 0]
    first, *others = (Image.fromarray(frame).resize((width * 3 // 4, height * 3 // 4), Image.LANCZOS) for frame in kept)
    timing = {"duration": round(1000 * every / meta["fps"]), "loop": 0}
    first.save(options.out / "film.webp", save_all=True, append_images=others, quality=70, method=6, **timing)


if __name__ == "__main__":
    main()

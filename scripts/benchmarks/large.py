"""A hundred photographs of 12 megapixels fitted at all defaults: the size worked at, time, the whole process's memory.

    python scripts/benchmarks/large.py [--work DIR] [--views 100] [--width 4096]

The photographs are the still life's, rendered at a sixteenth of their size and enlarged, with a sensor's noise. They
are made once, into the work folder; the fit is the command itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from common import ROOT, print_table
from PIL import Image

from arf.jobs.runs import Run

ENLARGED = 16
NOISE = 3.0  # levels of 255


def photographs(folder: Path, width: int, views: int) -> Path:
    """The still life all round, 4:3, with a tenth as many views held out."""
    capture = folder / f"still-life-{width}-{views}"
    if (capture / "transforms.json").exists():
        return capture
    small = folder / f"still-life-{width // ENLARGED}-{views}"
    if not (small / "transforms.json").exists():
        sizes = {"--size": width // ENLARGED, "--height": width // ENLARGED * 3 // 4}
        counts = {"--train": views, "--test": max(1, views // 10)}
        words = [str(word) for pair in (sizes | counts).items() for word in pair]
        subprocess.run([sys.executable, ROOT / "scripts" / "make_scene.py", small, *words], check=True)
    (capture / "images").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda file: _enlarge(file, capture / "images"), sorted((small / "images").iterdir())))
    text = (small / "transforms.json").read_text().replace(".png", ".jpg")
    meta = json.loads(text)
    meta |= {name: ENLARGED * meta[name] for name in ("fl_x", "fl_y", "cx", "cy", "w", "h")}
    (capture / "transforms.json").write_text(json.dumps(meta))
    return capture


def _enlarge(file: Path, folder: Path) -> None:
    picture = Image.open(file)
    picture = picture.resize((ENLARGED * picture.width, ENLARGED * picture.height), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(int(file.stem[-4:])).normal(0, NOISE, (picture.height, picture.width, 1))
    noisy = (np.asarray(picture) + noise.astype(np.float32)).round().clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(folder / f"{file.stem}.jpg", quality=93)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--views", type=int, default=100)
    parser.add_argument("--width", type=int, default=4096, help="of the photographs, a multiple of 64")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    options = parser.parse_args()
    if options.width % 64:
        parser.error("--width is a multiple of 64")
    data = photographs(options.work, options.width, options.views)
    size = sum(file.stat().st_size for file in (data / "images").iterdir())
    before = time.perf_counter()
    command = subprocess.Popen([sys.executable, "-m", "arf", "fit", data, "--output", options.work])
    _, status, used = os.wait4(command.pid, 0)
    whole = time.perf_counter() - before
    if status:
        sys.exit("the fit did not end well")
    run = Run.open(options.work / data.name, "fit")
    m = run.info["metrics"]
    count, peak = len(list((data / "images").iterdir())), used.ru_maxrss / 2**20
    rows = [
        ("photographs", "GB of JPEG", "worked at", "steps", "fit s", "whole command s", "peak GiB", "PSNR dB", "SSIM"),
        (
            str(count), f"{size / 1e9:.2f}", "{1}x{0}".format(*m["size"]), str(run.info["steps"]),
            f"{m['train_seconds']:.0f}", f"{whole:.0f}", f"{peak:.2f}", f"{m['psnr']:.2f}", f"{m['ssim']:.3f}",
        ),
    ]  # fmt: skip
    print_table(f"{options.width}x{options.width * 3 // 4} photographs at all defaults", rows)


if __name__ == "__main__":
    main()

"""Peak memory and speed of a film of 100 frames and one of 1,000, at 256x192, painted and smoothed.

    python scripts/benchmarks/video.py [--work DIR] [--model many --style NAME]

Without --model the frames are inverted, which leaves reading, flow, smoothing and writing. Each film is made in a
process of its own, so that the peak of one is not that of the other.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import torch
from common import DEVICE, ROOT, forget_peak, peak_memory, print_table

from arf.networks.video.film import Stylizer, film
from arf.networks.video.settings import VideoSettings

LENGTHS = (100, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    parser.add_argument("--model", help="of arf fast; frames are inverted when left out")
    parser.add_argument("--style", action="append", default=[], help="where the model has several")
    parser.add_argument("--frames", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.frames:
        print(*measure(options.frames, options.work, stylizer(options.model, options.style)))
        return
    rows = [("frames", "peak memory", "frames per second")]
    for frames in LENGTHS:
        command = [sys.executable, *sys.argv, "--frames", str(frames)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peak, speed = done.stdout.split()[-2:]
        rows.append((str(frames), f"{int(peak) / 2**20:.0f} MiB", f"{float(speed):.1f}"))
    print_table(f"A film at 256x192, smoothed, {options.model or 'inverted'}", rows)


def stylizer(model: str | None, styles: list[str]) -> Stylizer:
    if model is None:
        return lambda x: 1 - x
    from arf.networks.paint import FastPainter
    from arf.networks.settings import FastSettings

    return FastPainter.open(styles, settings=FastSettings(model=model)).stylizer()


def measure(frames: int, work: Path, stylize: Stylizer) -> tuple[int, float]:
    """Peak memory in bytes and frames per second."""
    source = work / f"pattern-{frames}.mp4"
    pattern = ["-f", "lavfi", "-i", f"testsrc2=s=256x192:r=25:d={frames / 25}", "-pix_fmt", "yuv420p"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *pattern, source], check=True)
    with torch.no_grad():
        stylize(torch.rand(4, 3, 192, 256, device=DEVICE))  # what is loaded once is no part of it
    forget_peak(DEVICE)
    begin = time.perf_counter()
    report = film(source, work / "film.mp4", stylize, VideoSettings(smooth=True), device=DEVICE)
    assert report.frames == frames, f"{report.frames} frames of {frames}"
    return peak_memory(DEVICE), frames / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()

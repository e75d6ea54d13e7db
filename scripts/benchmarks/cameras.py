"""Cameras found in bare photographs, against those that their captures come with: placed, how far off, how long.

    python scripts/benchmarks/cameras.py CAPTURE [CAPTURE ...] [--matching auto]

A distance is between centres after the similarity that fits best, in extents of the cameras' places.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pycolmap
from common import print_table

from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.capture.views import Capture


def known(capture: Capture) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Its photographs, where they were taken [n, 3], and their focal lengths in widths of the photograph [n]."""
    views = (capture.train, capture.held_out)
    cameras = [camera for view in views for camera in view.cameras]
    places = np.stack([camera.pose[:, 3].double().numpy() for camera in cameras])
    return [file for view in views for file in view.files], places, np.array([c.fx / c.width for c in cameras])


def distances(ours: np.ndarray, true: np.ndarray) -> np.ndarray:
    """After the similarity that fits best, in extents of the true places."""
    best = pycolmap.estimate_sim3d(ours, true).matrix()  # [3, 4]
    return np.linalg.norm(ours @ best[:, :3].T + best[:, 3] - true, axis=1) / np.ptp(true, axis=0).max()


def found(files: list[Path], folder: Path, options: list[str]) -> tuple[dict, float, float]:
    """What the command says, its seconds, and the GiB that it took at most."""
    photographs = folder / "photographs"
    photographs.mkdir()
    for i, file in enumerate(files):
        (photographs / f"{i:05d}{file.suffix}").symlink_to(file.resolve())
    words = [sys.executable, "-m", "arf", "cameras", photographs, "--output", folder / "capture", "--json", *options]
    start, most = time.perf_counter(), 0
    with open(folder / "said", "w+") as said:
        process = psutil.Popen([*map(str, words)], stdout=said)
        while process.poll() is None:
            most = max(most, process.memory_info().rss)
            time.sleep(0.1)
        taken = time.perf_counter() - start
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words)
        said.seek(0)
        return json.load(said), taken, most / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, nargs="+", help="captures with cameras")
    parser.add_argument("--matching", default="auto")
    asked = parser.parse_args()
    rows = []
    for path in asked.captures:
        files, true, focal = known(load_capture(CaptureConfig(path)))
        with tempfile.TemporaryDirectory() as folder:
            said, seconds, memory = found(files, Path(folder), ["--matching", asked.matching])
            ours_files, ours, ours_focal = known(load_capture(CaptureConfig(Path(said["capture"]))))
            numbers = [int(file.stem) for file in ours_files]
            off = distances(ours, true[numbers])
            change = np.median(ours_focal / focal[numbers]) - 1
            rows.append((
                path.name, f"{said['placed']} of {said['of']}", f"{100 * off.mean():.2f} %", f"{100 * off.max():.2f} %",
                f"{100 * change:+.1f} %", f"{said['error']:.2f}", f"{seconds:.0f}", f"{memory:.2f}",
            ))  # fmt: skip
    head = ("capture", "placed", "centres off, mean", "at most", "focal length", "pixels off", "seconds", "GiB")
    print_table("Cameras of bare photographs", [head, *rows])


if __name__ == "__main__":
    main()

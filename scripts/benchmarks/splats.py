"""Gaussian splats on a CPU: trace, film, the style loop's matrix, files, and the way from a file to a painted file.

    python scripts/benchmarks/splats.py SPLATS [--other SAME_IN_ANOTHER_FORMAT] [--style PICTURE] [--work DIR] [--quick]

SPLATS is a file of splats that `arf` reads; ours were those of a standing motorcyclist, 152,746 of them
(https://github.com/playcanvas/engine, examples/assets/splats/biker.compressed.ply). Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import CPU, ROOT, print_table, reference_seconds, seconds

from arf import bundled
from arf.metrics import psnr
from arf.radiance.brought.frames import in_scene, placement_of, upright
from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.views import Capture
from arf.radiance.fields.field import Trace
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.files.ply import write_ply
from arf.radiance.fields.splats.files.reading import read_splats
from arf.radiance.fields.splats.harmonics import C0
from arf.radiance.opening import open_photoreal, open_run
from arf.radiance.operator.matrix import build

SIZES = ((504, 378), (1920, 1080))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("splats", type=Path)
    parser.add_argument("--other", type=Path, help="the same splats in another format")
    parser.add_argument("--style", type=Path, default=bundled.style("mosaic"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "arf-splats")
    parser.add_argument("--quick", action="store_true", help="nothing that takes longer than seconds")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    reference = reference_seconds()
    field, capture = open_photoreal(open_run(options.splats), CPU)
    rows = [("measure", "value", "÷ VGG-19 forward"), ("splats", f"{field.count:,}", "")]
    rows += kernels(field, capture, reference)
    rows += matrix(field, capture)
    rows += files(field, capture, options)
    print_table("Splats: kernels, matrix, files", rows)
    if not options.quick:
        print_table("Splats: from file to painted file", whole(options, reference))
        print_table("Splats of a voxel grid", of_a_grid(options))


def camera_of(capture: Capture, width: int, height: int) -> Camera:
    """A view of another shape, as high as it was."""
    view = capture.train.cameras[len(capture.train) // 2]
    focal = view.fy * height / view.height
    return replace(view, fx=focal, fy=focal, cx=width / 2, cy=height / 2, width=width, height=height)


def kernels(field: SplatField, capture: Capture, reference: float) -> list[tuple[str, ...]]:
    rows = []
    for width, height in SIZES:
        camera = camera_of(capture, width, height)
        colors = field.own(camera)
        found = seconds(lambda c=camera, k=colors: field.render(c, k, field.background))
        rows.append((f"film frame, {width}x{height}", f"{found:.3f} s", f"{found / reference:.2f}"))
    camera = camera_of(capture, *SIZES[0])
    gradient = torch.rand(*camera.size, 3)
    for name, work in {
        "trace of a view": lambda: field.trace(camera),
        "the same, lightest 1 % left out": lambda: field.trace(camera, 0.01),
        "gradient of colours without a matrix": lambda: field.pull(camera, gradient),
    }.items():
        found = seconds(work)
        rows.append((f"{name}, {SIZES[0][0]}x{SIZES[0][1]}", f"{found:.3f} s", f"{found / reference:.2f}"))
    return rows


def matrix(field: SplatField, capture: Capture) -> list[tuple[str, ...]]:
    """The style loop's matrices of all views, and how near the leanest picture comes to the full one."""
    entries = pixels = covered = size = 0
    nearest, most = np.inf, 0.0
    for camera in capture.train.cameras:
        full, lean = field.trace(camera), field.trace(camera, field.drop)
        operator = build(lean, *camera.size, field.count)
        entries, size = entries + len(operator.values), size + operator.nbytes
        pixels, covered = pixels + camera.pixels, covered + int((full.leftover < 0.5).sum())
        most = max(most, float(moved(full, lean, field.count).max()))
        exact = field.render(camera, field.colors, field.background)
        nearest = min(nearest, psnr(operator.apply(field.colors, field.background), exact))
    return [
        ("entries per pixel, per covered one", f"{entries / pixels:.1f}, {entries / max(covered, 1):.1f}", ""),
        ("bytes per pixel, per covered one", f"{size / pixels:.0f}, {size / max(covered, 1):.0f}", ""),
        ("most that a pixel hands over", f"{100 * most:.2f} %", ""),
        ("least PSNR of a view through it", f"{nearest:.1f} dB", ""),
    ]


def moved(full: Trace, lean: Trace, count: int) -> torch.Tensor:
    """The share of each pixel's weight whose splats were left out."""
    kept = torch.repeat_interleave(lean.starts.diff()) * count + lean.columns
    whole = torch.repeat_interleave(full.starts.diff())
    gone = ~torch.isin(whole * count + full.columns, kept)
    lost = torch.zeros(len(full.leftover)).index_add_(0, whole[gone], full.weights[gone])
    return lost / (1 - full.leftover).clamp_min(1e-6)


def files(field: SplatField, capture: Capture, options: argparse.Namespace) -> list[tuple[str, ...]]:
    """What others read of our file, and what the same splats look like from another."""
    import gsply

    found, again = read_splats(options.splats), options.work / "again.ply"
    write_ply(again, found.splats)
    theirs, ours = gsply.plyread(str(again)), read_splats(again).splats
    pairs = (theirs.means, ours.means), (np.exp(theirs.scales), ours.scales), (theirs.sh0 * C0 + 0.5, ours.colors)
    off = max(float(np.abs(a - b.numpy()).max()) for a, b in pairs)
    rows = [("our .ply as gsply reads it: largest difference", f"{off:.1e}", "")]
    if options.other:
        rows.append(("the same picture from the other format", f"{likeness(field, capture, options):.1f} dB", ""))
    return rows


def likeness(field: SplatField, capture: Capture, options: argparse.Namespace) -> float:
    """Least PSNR between pictures of the two files, their up axes laid on each other, seen by the same cameras."""
    one, two = read_splats(options.splats), read_splats(options.other)
    place = placement_of(capture.transform, capture.scale)
    turn = upright(one, "auto").rotation.T @ upright(two, "auto").rotation
    moved = in_scene(two.splats.moved(turn, torch.zeros(3), 1.0), place)
    other = SplatField(moved, field.background, CPU)
    return min(
        psnr(field.render(c, field.own(c), field.background), other.render(c, other.own(c), other.background))
        for c in capture.train.cameras
    )


def whole(options: argparse.Namespace, reference: float) -> list[tuple[str, ...]]:
    """`arf stylize`, then `arf export`, as anybody calls them."""
    output, file = options.work / "outputs", options.work / "painted.ply"
    painted = called("stylize", options.splats, "--style", options.style, "--steps", 300, "--output", output)
    written = called("export", painted["run"], "--format", "ply", "--output", file, "--overwrite")
    took = painted["took"] + written["took"]
    rows = [("measure", "value", "÷ VGG-19 forward")]
    rows.append(("all in all, 300 steps", f"{took:.0f} s", f"{took / reference:.0f}"))
    rows += [(phase, f"{value:.1f} s", f"{value / reference:.0f}") for phase, value in painted["seconds"].items()]
    rows.append(("peak memory", f"{max(painted['peak'], written['peak']) / 2**20:.0f} MiB", ""))
    return rows


def of_a_grid(options: argparse.Namespace) -> list[tuple[str, ...]]:
    """The bundled still life, fitted as a voxel grid and written as splats."""
    asked = ("--config", ROOT / "configs/object.yaml", "--backbone", "voxel", "--steps", 800)
    fitted = called("fit", bundled.capture(), *asked, "--output", options.work / "grid")
    file = options.work / "grid.ply"
    made = called("export", fitted["run"], "--format", "ply", "--output", file, "--overwrite")
    return [
        ("measure", "value"),
        ("splats", f"{made['splats']:,}"),
        ("export", f"{made['took']:.0f} s"),
        ("PSNR against its own renderings", ", ".join(f"{value:.1f} dB" for value in made["psnr"].values())),
    ]


def called(*arguments: object) -> dict:
    """What a command says as JSON, the seconds that it took, and the most memory that any command took so far."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "arf", *map(str, arguments), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {**json.loads(done.stdout), "took": took, "peak": peak}


if __name__ == "__main__":
    main()

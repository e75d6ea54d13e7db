"""Peak memory of stylization with many views at 504x378: render operators, content features, the whole process.

    python scripts/benchmarks/memory.py [--work DIR] [--views 40]

Takes the fit of the still life (made if the work folder has none), from which it casts views of that size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from common import ROOT, Rendered, analytic_capture, fitted_run, peak_memory, print_table

from arf.media import image
from arf.radiance.opening import open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.paint.painter import Painter
from arf.radiance.paths import shapes as paths
from arf.radiance.settings import StylizeSettings
from arf.style import encoder as encoders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    parser.add_argument("--views", type=int, default=40)
    parser.add_argument("--cache-memory", type=float, default=0.0, help="gigabytes; 0 keeps everything in memory")
    options = parser.parse_args()
    run = fitted_run(analytic_capture(options.work), options.work, "object", steps=1000)
    field, capture = open_photoreal(run, torch.device("cpu"))
    path = paths.orbit(capture.train, options.views, width=504, height=378)
    views = Rendered(field, path.cameras)
    before = peak_memory()
    style = image.read_style(ROOT / "data/styles/strokes.jpg")
    painter = Painter(field, views, [style], encoders.load("vgg19"), StylizeSettings(steps=5))
    painter.cache = ViewCache(int((options.cache_memory or 64) * 2**30), options.work / "cache", torch.device("cpu"))
    painter.prepare(lambda phase, i, n, figures: None)
    while painter.step < 5:
        painter.advance()
    pixels, operators = painter.operators.pixels, painter.operators.nbytes
    content = painter.cache.in_memory + painter.cache.on_disk - operators
    rows = [
        ("measure", "bytes", "per pixel"),
        ("render operators", f"{operators / 2**20:.0f} MiB", f"{operators / pixels:.0f} B"),
        ("content features", f"{content / 2**20:.0f} MiB", f"{content / pixels:.0f} B"),
        ("of these on disk", f"{painter.cache.on_disk / 2**20:.0f} MiB", ""),
        ("peak of the process before", f"{before / 2**20:.0f} MiB", ""),
        ("peak of the process", f"{peak_memory() / 2**20:.0f} MiB", f"{peak_memory() / pixels:.0f} B"),
    ]
    painter.cache.close()
    print_table(
        f"Memory, {options.views} views at 504x378, {painter.operators.entries / pixels:.0f} entries per pixel", rows
    )


if __name__ == "__main__":
    main()

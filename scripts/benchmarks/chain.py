"""The whole chain on a forward-facing capture, part by part: fit, trace, re-fit, steps, rendering, memory.

    python scripts/benchmarks/chain.py [--backbone voxel|nerfacto] [--width 1008] [--views 30] [--steps 300]

The capture is our own still life, seen by a fan of cameras before the table; scripts/make_scene.py renders it once into
the work folder, the same everywhere. With a GPU it is 1008x756 with 30 views, otherwise smaller. A fit that the work
folder already holds is used again, with the time that it took then.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
from pathlib import Path

import torch
from common import DEVICE, ROOT, fitted_run, forget_peak, now, peak_memory, print_table, seconds

from arf.jobs.device import free_memory
from arf.media import image
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.paint.painter import Painter
from arf.radiance.paths.choice import camera_path
from arf.radiance.settings import StylizeSettings
from arf.style import encoder as encoders

GPU = DEVICE.type == "cuda"
FIT_STEPS = {"voxel": 1500, "nerfacto": 15_000} if GPU else {"voxel": 300, "nerfacto": 60}
FIT_EXTRA = {"voxel": {}, "nerfacto": {} if GPU else {"rays": 64, "hash_size": 12}}


def fan_capture(folder: Path, width: int, views: int) -> Path:
    """The still life, 4:3, with so many training views and a tenth as many held out, rendered once."""
    capture = folder / f"fan-{width}-{views}"
    if not (capture / "transforms.json").exists():
        sizes = {"--size": width, "--height": width * 3 // 4, "--train": views, "--test": max(1, views // 10)}
        words = [str(word) for pair in sizes.items() for word in pair]
        command = [sys.executable, ROOT / "scripts" / "make_scene.py", capture, "--cameras", "fan", *words]
        subprocess.run(command, check=True)
    return capture


def parts_of_a_step(painter: Painter) -> dict[str, float]:
    """Median seconds of each part, forward and back: operator, encoder, style loss of the features."""
    steps = itertools.count()
    picture = painter.render(0).detach().requires_grad_()
    encoded = painter.objective.features(painter.shrunk(picture))
    features = [f.detach().requires_grad_() for f in encoded]
    pull, pulls = torch.randn_like(picture), [torch.randn_like(f) for f in features]

    def operator() -> None:
        step = next(steps)
        rendered = painter.render(painter.view_of(step))
        painter.prefetch(painter.view_of(step + 1))
        torch.autograd.grad(rendered, painter.theta, pull)

    def encoder() -> None:
        torch.autograd.grad(painter.objective.features(painter.shrunk(picture)), picture, pulls)

    def style() -> None:
        torch.autograd.grad(painter.objective(features), features)

    return {work.__name__: seconds(work, 30 if GPU else 8) for work in (operator, encoder, style)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", choices=FIT_STEPS, default="nerfacto" if GPU else "voxel")
    parser.add_argument("--width", type=int, default=1008 if GPU else 252, help="of the views; they are 4:3")
    parser.add_argument("--views", type=int, default=30 if GPU else 8)
    parser.add_argument("--steps", type=int, default=300 if GPU else 30, help="of stage 2")
    parser.add_argument("--fit-steps", type=int, help="of stage 1")
    parser.add_argument("--encoder", choices=("compact", "vgg19"), default="compact")
    parser.add_argument("--style", type=Path, default=ROOT / "data/styles/strokes.jpg")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    options = parser.parse_args()

    data = fan_capture(options.work, options.width, options.views)
    steps = options.fit_steps or FIT_STEPS[options.backbone]
    forget_peak(DEVICE)
    run = fitted_run(data, options.work, "object", options.backbone, steps=steps, **FIT_EXTRA[options.backbone])
    fit_peak, metrics = peak_memory(DEVICE), run.info["metrics"]

    field, capture = open_photoreal(run, DEVICE)
    forget_peak(DEVICE)
    network = encoders.load(options.encoder).to(DEVICE)
    settings = StylizeSettings(steps=options.steps + 3)
    painter = Painter(field, capture.train, [image.read_style(options.style)], network, settings)
    painter.cache = ViewCache(free_memory(DEVICE) // 2, options.work / "cache", DEVICE)
    painter.prepare(lambda *_: None)
    prepared_peak = peak_memory(DEVICE)
    parts = parts_of_a_step(painter)
    for _ in range(3):  # for practice
        painter.advance()
    forget_peak(DEVICE)
    start = now()
    while painter.step < painter.steps:
        painter.advance()
    loop = now() - start
    step_peak = peak_memory(DEVICE)

    look = painter.finish()
    path = camera_path(capture, "spiral", 8 if GPU else 2, 30)
    frames = {
        name: seconds(lambda shown=shown: [picture(field, shown, camera) for camera in path.cameras], 1) / len(path)
        for name, shown in (("photoreal", None), ("stylized", look))
    }
    o, cache, spent = painter.operators, painter.cache, painter.timings
    giga = 2**30
    rows = [
        ("part", "value", ""),
        ("fit", f"{metrics['train_seconds']:.1f} s", f"{run.info['steps']} steps; {metrics['psnr']:.2f} dB held out"),
        ("trace", f"{spent.trace:.2f} s", f"{spent.trace / len(painter.views):.3f} s per view"),
        ("re-fit", f"{spent.refit:.2f} s", f"{o.count} columns"),
        ("content features", f"{spent.content:.2f} s", ""),
        ("step", f"{loop / options.steps * 1e3:.1f} ms", f"mean of {options.steps}"),
        ("- operator", f"{parts['operator'] * 1e3:.2f} ms", f"{o.entries / o.pixels:.0f} entries per pixel"),
        ("- encoder", f"{parts['encoder'] * 1e3:.1f} ms", f"{options.encoder}, long side at most {settings.long_side}"),
        ("- NNFM", f"{parts['style'] * 1e3:.1f} ms", ", ".join(settings.layers)),
        ("rendering, photoreal", f"{1 / frames['photoreal']:.2f} frames per second", ""),
        ("rendering, photoreal and stylized", f"{1 / frames['stylized']:.2f} frames per second", ""),
        ("operators", f"{o.nbytes / giga:.2f} GiB", f"{o.nbytes / o.pixels:.0f} bytes per pixel"),
        (
            "cache", f"{cache.in_memory / giga:.2f} GiB in memory",
            f"{cache.on_host / giga:.2f} pinned on the host, {cache.on_disk / giga:.2f} on disk",
        ),
        ("peak memory, fit", f"{fit_peak / giga:.2f} GiB", "of this sitting"),
        ("peak memory, trace and re-fit", f"{prepared_peak / giga:.2f} GiB", ""),
        ("peak memory, steps", f"{step_peak / giga:.2f} GiB", ""),
    ]  # fmt: skip
    cache.close()
    height, width = capture.train.size(0)
    print_table(f"Forward-facing, {width}x{height}, {len(capture.train)} views, {options.backbone}", rows)


if __name__ == "__main__":
    main()

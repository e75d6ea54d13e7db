"""What the benchmarks share: a reference to put times in proportion to, captures, fits, painters, and a table."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from arf import encoder as encoders
from arf import image
from arf.allocator import keep_freed_memory
from arf.errors import UserError
from arf.presets import apply_preset
from arf.radiance.cache import ViewCache
from arf.radiance.fit import fit
from arf.radiance.scene import open_photoreal
from arf.radiance.stylize import Painter
from arf.runs import Run
from arf.settings import FitSettings, StylizeSettings

keep_freed_memory()  # as the command line does
ROOT = Path(__file__).resolve().parents[2]


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time of `work`, after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def reference_seconds() -> float:
    """A forward pass through all of VGG-19's convolutions at 256x256: torchvision's stack, weights as they come."""
    from torchvision.models import vgg19

    stack = vgg19(weights=None).features.eval()
    picture = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        return seconds(lambda: stack(picture))


def analytic_capture(folder: Path) -> Path:
    """The still life at 128x128 with 42 training views, rendered once."""
    capture = folder / "still-life-128"
    if not (capture / "transforms.json").exists():
        subprocess.run([sys.executable, ROOT / "scripts" / "make_scene.py", capture, "--size", "128"], check=True)
    return capture


def fitted_run(data: Path, work: Path, preset: str, **changes) -> Run:
    """The newest fit of a capture in the work folder, or a new one."""
    try:
        return Run.open(work / data.name, "fit")
    except UserError:
        settings = apply_preset(FitSettings(**changes), ROOT / f"configs/{preset}.yaml", "fit")
        return fit(data, settings, work)


def prepared(run: Run, style: Path, work: Path, steps: int, encoder: str = "vgg19") -> Painter:
    """A painter that is ready to step."""
    model, capture = open_photoreal(run, torch.device("cpu"))
    painter = Painter(model, capture, [image.read_style(style)], encoders.load(encoder), StylizeSettings(steps=steps))
    painter.cache = ViewCache(8 << 30, work / "cache", torch.device("cpu"))
    painter.prepare(lambda *_: None)
    return painter


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def print_table(title: str, rows: list[tuple[str, ...]]) -> None:
    """A Markdown table; the first row is its head."""
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"\n## {title}\n\n{machine}\n")
    for i, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if i == 0:
            print("|" + "---|" * len(row))
    print(flush=True)

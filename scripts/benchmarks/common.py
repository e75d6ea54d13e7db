"""What the benchmarks share: a reference to put times in proportion to, captures, fits, painters, and a table."""

from __future__ import annotations

import ctypes
import gc
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from arf.errors import UserError
from arf.jobs.device import pick_device
from arf.jobs.machine import keep_freed_memory
from arf.jobs.presets import apply_preset
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.fit.loop import fit
from arf.radiance.opening import open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.subject import Subject, budget
from arf.radiance.settings import FitSettings, StylizeSettings
from arf.style import encoder as encoders

keep_freed_memory()  # as the command line does
ROOT = Path(__file__).resolve().parents[2]
CPU, DEVICE = torch.device("cpu"), pick_device("auto")


def now() -> float:
    """Time in seconds, once the device has done what it was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time of `work`, after one warm-up."""
    work()
    times = []
    for _ in range(repeats):
        start = now()
        work()
        times.append(now() - start)
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


def fitted_run(data: Path, work: Path, preset: str, backbone: str = "voxel", **changes) -> Run:
    """The newest fit of a capture with a backbone in the work folder, or a new one."""
    try:
        return Run.open(work / data.name / f"arf-{backbone}", "fit")
    except UserError:
        settings = apply_preset(FitSettings(backbone=backbone, **changes), ROOT / f"configs/{preset}.yaml", "fit")
        return fit(data, settings, work)


def prepared(run: Run, style: Path, work: Path, steps: int, encoder: str = "vgg19", **changes) -> Painter:
    """A painter that is ready to step."""
    field, capture = open_photoreal(run, DEVICE)
    settings = StylizeSettings(steps=steps, **changes)
    subject = Subject(field, capture.train, settings)
    painter = Painter(subject, [image.read_style(style)], encoders.load(encoder).to(DEVICE), settings)
    subject.open(ViewCache(budget(settings, field), work / "cache", DEVICE))
    subject.refit()
    painter.begin()
    return painter


def forget_peak(device: torch.device = CPU) -> None:
    """Let `peak_memory` begin anew. What was freed is given back to the system first, so that it does not count."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def memory_now(device: torch.device = CPU) -> int:
    """Resident size of this process in bytes, or what tensors take on a GPU."""
    return torch.cuda.memory_allocated() if device.type == "cuda" else _resident("VmRSS")


def peak_memory(device: torch.device = CPU) -> int:
    """The largest `memory_now` so far, or since `forget_peak`."""
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else _resident("VmHWM")


def _resident(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def print_table(title: str, rows: list[tuple[str, ...]]) -> None:
    """A Markdown table; the first row is its head."""
    place = torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.machine()
    machine = f"{place}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"\n## {title}\n\n{machine}\n")
    for i, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if i == 0:
            print("|" + "---|" * len(row))
    print(flush=True)

"""How long the commands for places take to begin: from the start of the process to the first progress that is told.

    python scripts/benchmarks/startup.py [--work DIR] [--repeats 3]

On the bundled still life, with runs that the work folder has or that are made first. The first progress comes with work
done: photographs read and a view traced or measured, or ten steps; torch's own import is in the last row. The best of
the repeats. The modules are those that are slow to import.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from common import ROOT, fitted_run, print_table

from arf import bundled
from arf.jobs.machine import yield_cores

SLOW = (
    "torch",
    "numba",
    "torchvision",
    "torchmetrics",
    "torch._dynamo",
    "torch.utils.tensorboard",
    "cv2",
    "matplotlib",
)
SLOW += ("scipy.sparse", "scipy.spatial", "nerfstudio")
BEGUN = f"""
import os, sys, time
def told(*_):
    names = [name for name in {SLOW} if name in sys.modules]
    print(time.time(), time.process_time(), *names, flush=True)
    os._exit(0)
"""
ARF = """
import arf.cli.common
arf.cli.common._now_and_then = lambda: told
sys.exit(arf.cli.main(sys.argv[1:]))
"""
CALLS = {
    "fit, voxel grid": "fit {data} --backbone voxel --steps 20 --resolutions 12 --stages --samples 2000 --output {out}",
    "fit, splats": "fit {data} --output {out}",
    "evaluate, voxel grid": "evaluate {voxel}",
    "evaluate, splats": "evaluate {splat}",
    "stylize, voxel grid": "stylize {voxel} --style {style} --output {out}",
    "stylize, splats": "stylize {splat} --style {style} --output {out}",
    "render": "render {voxel} --overwrite --output {out}.mp4",
    "export": "export {voxel} --format points --overwrite --output {out}.ply",
}


def begun(lines: str, *arguments: str) -> tuple[float, float, str]:
    """Seconds, and seconds of processor, until `told` is called, and what is imported by then."""
    call = [sys.executable, "-c", BEGUN + lines, *arguments]
    start = time.time()
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    end, used, *names = done.stdout.split()
    return float(end) - start, float(used), ", ".join(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    names = {"data": bundled.capture(), "style": bundled.style("strokes"), "out": options.work / "begun"}
    for kind in ("voxel", "splat"):
        names[kind] = fitted_run(bundled.capture(), options.work, "quick", kind).path
    yield_cores()
    rows = [("command", "seconds", "of processor", "slow modules by then")]
    for name, call in CALLS.items():
        best = min(begun(ARF, *call.format(**names).split()) for _ in range(options.repeats + 1))  # one to compile
        rows.append((name, f"{best[0]:.2f}", f"{best[1]:.2f}", best[2]))
    best = min(begun("import torch\ntold()") for _ in range(options.repeats))
    rows.append(("import torch", f"{best[0]:.2f}", f"{best[1]:.2f}", best[2]))
    print_table("Start-up", rows)


if __name__ == "__main__":
    main()

"""What a 160x160 frame of the bundled still life costs, photoreal and with repainted looks, and what is saved by
skipping empty bricks and by making no trace.

python scripts/benchmarks/render.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from common import ROOT, fitted_run, print_table, reference_seconds, seconds

from arf import bundled
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import picture, shade
from arf.radiance.opening import open_photoreal
from arf.radiance.paths.choice import camera_path
from arf.style.color import Affine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    parser.add_argument("--frames", type=int, default=8)
    options = parser.parse_args()
    reference = reference_seconds()
    run = fitted_run(bundled.capture(), options.work, "object", steps=800)
    field, capture = open_photoreal(run, torch.device("cpu"))
    path = camera_path(capture, "orbit", options.frames, 30)
    look = Look(torch.rand(field.count, 3), torch.zeros(3), Affine.identity())

    def per_frame(look: Look | None) -> float:
        return seconds(lambda: [picture(field, look, camera) for camera in path.cameras], 3) / len(path)

    def traced() -> None:
        for camera in path.cameras:
            for band in camera.bands(field.band):
                shade(field.trace(band), look)

    named = [("photoreal", None), ("and one look", look), ("and two looks", Look.beside([look, look]))]
    rows = [("frame", "seconds", "÷ VGG-19 forward")]
    for name, shown in named:
        cost = per_frame(shown)
        rows.append((name, f"{cost:.3f}", f"{cost / reference:.2f}"))
    near = field.voxels.grid.near
    skipping = per_frame(None)
    kept = near.clone()
    near.fill_(True)  # every brick is looked into
    plain = per_frame(None)
    near.copy_(kept)
    rows.append(("photoreal without skipping empty bricks", f"{plain:.3f}", f"{plain / reference:.2f}"))
    rows.append(("ratio", f"{plain / skipping:.1f}×", ""))
    whole, direct = seconds(traced, 3) / len(path), per_frame(look)
    rows.append(("photoreal and one look, by a trace", f"{whole:.3f}", f"{whole / reference:.2f}"))
    rows.append(("ratio", f"{whole / direct:.1f}×", ""))
    print_table(f"160x160 frames (a VGG-19 forward pass at 256x256: {reference * 1e3:.0f} ms)", rows)


if __name__ == "__main__":
    main()

"""How well and how fast a capture is fitted by each field in turn: held-out PSNR and SSIM, time, samples per ray.

python scripts/benchmarks/fit.py [--assets ../shared/assets] [--work DIR] [--only still-life fern] [--fields splat]
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from common import ROOT, analytic_capture, print_table, reference_seconds

from arf.jobs.presets import apply_preset
from arf.radiance.fit.loop import fit
from arf.radiance.settings import FitSettings

# capture, downscale (of the original photographs; None: as arf chooses), preset, steps of each field
CAPTURES = {
    "still-life": (None, 1, "object", {"voxel": 800}),
    "fox": ("captures/fox", 4, "unbounded", {}),
    "lego": ("captures/lego", 2, "object", {}),
    "fern": ("captures/fern", 16, "forward", {}),
    "fern-large": ("captures/fern", None, "forward", {}),
    "fox-large": ("captures/fox", None, "unbounded", {}),
}
FIELDS = ("voxel", "splat")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=os.environ.get("ARF_ASSETS", ROOT / "../shared/assets"))
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    parser.add_argument("--only", nargs="+", choices=CAPTURES, default=list(CAPTURES))
    parser.add_argument("--fields", nargs="+", choices=FIELDS, default=list(FIELDS))
    options = parser.parse_args()
    reference = reference_seconds()
    rows = [("capture", "size", "views", "field", "steps", "train s", "÷ VGG-19", "PSNR dB", "SSIM", "samples per ray")]
    for name in options.only:
        folder, downscale, preset, steps = CAPTURES[name]
        data = options.assets / folder if folder else analytic_capture(options.work)
        for field in options.fields:
            asked = FitSettings(downscale=downscale, backbone=field, device="cpu")
            settings = apply_preset(asked, ROOT / f"configs/{preset}.yaml", "fit")
            run = fit(data, replace(settings, steps=steps.get(field)), options.work)
            m = run.info["metrics"]
            rows.append(
                (
                    name, "{1}x{0}".format(*m["size"]), str(m["views"]), field, str(run.info["steps"]),
                    f"{m['train_seconds']:.0f}", f"{m['train_seconds'] / reference:.0f}", f"{m['psnr']:.2f}",
                    f"{m['ssim']:.3f}", f"{m['samples_per_ray']:.1f}",
                )
            )  # fmt: skip
    print_table(f"Fit (a VGG-19 forward pass at 256x256: {reference * 1e3:.0f} ms)", rows)


if __name__ == "__main__":
    main()

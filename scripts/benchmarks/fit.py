"""How well and how fast a capture is fitted: held-out PSNR, training time, samples per ray.

python scripts/benchmarks/fit.py [--assets ../shared/assets] [--work DIR] [--only still-life fox lego fern]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from common import ROOT, analytic_capture, print_table, reference_seconds

from arf.jobs.presets import apply_preset
from arf.radiance.fit.loop import fit
from arf.radiance.settings import FitSettings

# capture, downscale (of the original photographs), preset, steps
CAPTURES = {
    "still-life": (None, 1, "object", 800),
    "fox": ("captures/fox", 4, "unbounded", 1500),
    "lego": ("captures/lego", 2, "object", 1500),
    "fern": ("captures/fern", 16, "forward", 1500),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=os.environ.get("ARF_ASSETS", ROOT / "../shared/assets"))
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    parser.add_argument("--only", nargs="+", choices=CAPTURES, default=list(CAPTURES))
    options = parser.parse_args()
    reference = reference_seconds()
    rows = [("capture", "size", "views", "steps", "train s", "÷ VGG-19 forward", "PSNR dB", "SSIM", "samples per ray")]
    for name in options.only:
        folder, downscale, preset, steps = CAPTURES[name]
        data = options.assets / folder if folder else analytic_capture(options.work)
        settings = apply_preset(FitSettings(downscale=downscale, steps=steps), ROOT / f"configs/{preset}.yaml", "fit")
        run = fit(data, settings, options.work)
        m = run.info["metrics"]
        rows.append(
            (
                name, "{1}x{0}".format(*m["size"]), str(m["views"]), str(steps), f"{m['train_seconds']:.0f}",
                f"{m['train_seconds'] / reference:.0f}", f"{m['psnr']:.2f}", f"{m['ssim']:.3f}",
                f"{m['samples_per_ray']:.1f}",
            )
        )  # fmt: skip
    print_table(f"Fit (a VGG-19 forward pass at 256x256: {reference * 1e3:.0f} ms)", rows)


if __name__ == "__main__":
    main()

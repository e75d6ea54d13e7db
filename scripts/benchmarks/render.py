"""What a 160x160 frame of the bundled still life costs, photoreal and with repainted looks, and what skipping saves.

python scripts/benchmarks/render.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from arf.radiance.fields.trace import trace
from arf.radiance.paint.colors import VertexColors
from arf.radiance.scene import open_photoreal
from common import ROOT, fitted_run, print_table, reference_seconds, seconds

from arf import bundled
from arf.radiance.film.render import camera_path, looks
from arf.radiance.settings import RenderSettings
from arf.style.color import Affine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    parser.add_argument("--frames", type=int, default=8)
    options = parser.parse_args()
    reference = reference_seconds()
    run = fitted_run(bundled.capture(), options.work, "object", steps=800)
    model, capture = open_photoreal(run, torch.device("cpu"))
    path = camera_path(capture, RenderSettings(path="orbit", frames=options.frames))
    keys = [trace(model, *capture.train.rays(i)).vertices(model.field.grid.shape)[0].unique() for i in range(0, 48, 4)]
    keys = torch.cat(keys).unique()
    look = VertexColors(model.field.grid.shape, keys, torch.rand(len(keys), 3), Affine.identity(), torch.zeros(3))

    def per_frame(colors: VertexColors | None) -> float:
        return seconds(lambda: [looks(model, colors, path.cameras, k) for k in range(len(path))], 3) / len(path)

    named = [("photoreal", None), ("and one look", look), ("and two looks", VertexColors.beside([look, look]))]
    rows = [("frame", "seconds", "÷ VGG-19 forward")]
    for name, colors in named:
        cost = per_frame(colors)
        rows.append((name, f"{cost:.3f}", f"{cost / reference:.2f}"))
    near = model.field.grid.near
    skipping = per_frame(None)
    kept = near.clone()
    near.fill_(True)  # every brick is looked into
    plain = per_frame(None)
    near.copy_(kept)
    rows.append(("photoreal without skipping empty bricks", f"{plain:.3f}", f"{plain / reference:.2f}"))
    rows.append(("ratio", f"{plain / skipping:.1f}×", ""))
    print_table(f"160x160 frames (a VGG-19 forward pass at 256x256: {reference * 1e3:.0f} ms)", rows)


if __name__ == "__main__":
    main()

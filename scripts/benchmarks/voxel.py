"""The voxel grid's compiled kernels beside the same in torch, as a step of a fit calls them: times and ratios.

    python scripts/benchmarks/voxel.py [--work DIR] [--rays 6000]

Takes the fit of the still life (made if the work folder has none).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from common import CPU, ROOT, analytic_capture, fitted_run, print_table, seconds

from arf.radiance.fields.rays import volume
from arf.radiance.fields.voxel import march, regularize
from arf.radiance.fields.voxel.field import VoxelField
from arf.radiance.opening import open_photoreal

MODULES = (volume, march, regularize)


def measured(field: VoxelField, origins: torch.Tensor, directions: torch.Tensor) -> dict[str, float]:
    space, grid, step = field.voxels.space, field.voxels.grid, field.config.step

    def walk() -> march.Samples:
        return march.march(space, grid, origins, directions, step)

    samples = walk()
    tau = field.voxels.at(samples)[0].detach().requires_grad_()
    weights, leftover = volume.render_weights(tau, samples.starts, samples.ray)
    ones = torch.ones_like(weights), torch.ones_like(leftover)
    works: dict[str, Callable[[], object]] = {
        "march": walk,
        "weights": lambda: volume.render_weights(tau, samples.starts, samples.ray),
        "their gradient": lambda: torch.autograd.grad((weights, leftover), tau, ones, retain_graph=True),
        "distortion": lambda: regularize.distortion(weights, samples.arc, 0.01, samples.starts, samples.ray),
    }
    return {name: seconds(work, 9) for name, work in works.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rays", type=int, default=6000)
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    options = parser.parse_args()
    field, capture = open_photoreal(fitted_run(analytic_capture(options.work), options.work, "object"), CPU)
    lines = [torch.cat(parts) for parts in zip(*(camera.rays() for camera in capture.train.cameras), strict=True)]
    chosen = torch.randperm(len(lines[0]), generator=torch.Generator().manual_seed(0))[: options.rays]
    rays = [line[chosen].contiguous() for line in lines]
    compiled = measured(field, *rays)
    for module in MODULES:
        module.suits = lambda *_: False  # as on a GPU
    slow = measured(field, *rays)
    rows = [("part", "torch ms", "compiled ms", "ratio")]
    rows += [
        (name, f"{slow[name] * 1e3:.2f}", f"{compiled[name] * 1e3:.2f}", f"{slow[name] / compiled[name]:.1f}")
        for name in compiled
    ]
    print_table(f"Kernels of the voxel grid, {options.rays} rays", rows)


if __name__ == "__main__":
    main()

"""What a step costs through render operators and by deferred back-propagation, and what memory the latter takes.

    python scripts/benchmarks/deferred.py [--only voxel nerfacto] [--work DIR]

Both step on the same views of the same field, in turn. Memory is that of one step on one view, in a process of its own
for each size, above what the process held before the step and after a step for practice; the style loss looks at the
same number of pixels whatever the picture's size. The fits are made if the work folder has none.

On a CPU nerfacto's fit is short (its geometry a fog, so that its operators are larger than they should be), it is timed
on small views, and it takes fewer samples per ray where memory is measured: a step at 1008x756 would take half an hour.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from common import (
    DEVICE,
    ROOT,
    Rendered,
    analytic_capture,
    fitted_run,
    forget_peak,
    memory_now,
    now,
    peak_memory,
    print_table,
)
from torch import Tensor

from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.capture.views import Views
from arf.radiance.extras import nerfstudio_is_installed
from arf.radiance.fields.field import Field
from arf.radiance.opening import open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.deferred import DeferredSet, DeferredView
from arf.radiance.operator.matrix import ROWS
from arf.radiance.operator.views import OperatorSet
from arf.radiance.paint.painter import Painter
from arf.radiance.paths import shapes as paths
from arf.radiance.settings import StylizeSettings
from arf.style import encoder as encoders

GPU = DEVICE.type == "cuda"
SMALL, LARGE = (252, 189), (1008, 756)
FITS = {
    "voxel": {"steps": 1000},
    "nerfacto": {"steps": 5000} if GPU else {"steps": 200, "rays": 64, "hash_size": 12, "downscale": 2},
}
TIMED = {"voxel": (SMALL, 3), "nerfacto": (SMALL, 3) if GPU else ((96, 72), 1)}  # size, steps by deferred
FEWER = None if GPU else (24, 16, 12)  # nerfacto's samples per ray where memory is measured: two proposals, the field


def views_of(field: Field, train: Views, size: tuple[int, int], count: int) -> Rendered:
    """Views of the scene from an orbit, at any size (width, height)."""
    return Rendered(field, paths.orbit(train, count, width=size[0], height=size[1]).cameras)


def painter_of(run: Run, size: tuple[int, int], count: int, work: Path) -> tuple[Painter, Views]:
    """A painter of so many views of one size, without operators and colours so far; and the capture's own views."""
    field, capture = open_photoreal(run, DEVICE)
    views = views_of(field, capture.train, size, count)
    style = image.read_style(ROOT / "data/styles/strokes.jpg")
    settings = StylizeSettings(steps=1000, long_side=max(SMALL))
    painter = Painter(field, views, [style], encoders.load("compact").to(DEVICE), settings)
    painter.cache = ViewCache(8 << 30, work / "cache", DEVICE)
    return painter, capture.train


def give_colors(painter: Painter) -> None:
    """What `Painter.prepare` does once views are traced, less the re-fit."""
    painter.background = painter.recolor.apply(painter.field.background)
    painter.theta = painter.field.colors.requires_grad_()
    painter.optimizer = torch.optim.Adam([painter.theta], lr=painter.settings.learning_rate, fused=True)
    painter.encode(lambda *_: None)


def step_row(run: Run, backbone: str, work: Path) -> tuple[str, ...]:
    """Seconds of a step either way, and how far apart the two gradients are."""
    size, rounds = TIMED[backbone]
    painter, _ = painter_of(run, size, 2, work)
    drop = painter.settings.drop_weight
    field, views = painter.field, painter.views
    operators = OperatorSet(field, views, painter.cache, drop)
    band, field.band = field.band, ROWS  # nerfacto numbers its columns as it meets them: now in the same order
    deferred = DeferredSet(field, views, drop)
    field.band = band
    kinds = [(operators, 10), (deferred, 1)]  # and steps of a round
    painter.operators = operators
    give_colors(painter)
    gradients, times = [], [0.0, 0.0]
    pull = torch.randn(size[1], size[0], 3, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    for painter.operators, _ in kinds:  # for practice, too
        painter.advance()
        gradients.append(torch.autograd.grad((painter.render(0) * pull).sum(), painter.theta)[0])
    for _ in range(rounds):
        for k, (painter.operators, steps) in enumerate(kinds):
            start = now()
            for _ in range(steps):
                painter.advance()
            times[k] += (now() - start) / steps / rounds
    painter.cache.close()
    apart = float((gradients[1] - gradients[0]).norm() / gradients[0].norm())
    entries = operators.entries / operators.pixels
    return (
        backbone, f"{size[0]}x{size[1]}", f"{entries:.0f}", f"{times[0] * 1e3:.1f} ms", f"{times[1] * 1e3:.0f} ms",
        f"{times[1] / times[0]:.1f}×", f"{apart:.1e}",
    )  # fmt: skip


def in_one_graph(view: DeferredView, theta: Tensor, background: Tensor) -> Tensor:
    """What `DeferredView.apply` returns, by plain autograd."""
    return torch.cat([band.apply(theta, background) for band in view.bands()])


def measure(run: Run, size: tuple[int, int], plain: bool, work: Path) -> dict[str, int]:
    """Peak of a step in this process, above the level before it and in total, in bytes.

    Args:
        plain: by plain autograd through the same rendering.
    """
    painter, train = painter_of(run, SMALL, 1, work)
    if FEWER and (sampler := getattr(painter.field, "proposal_sampler", None)):
        sampler.num_proposal_samples_per_ray, sampler.num_nerf_samples_per_ray = FEWER[:2], FEWER[2]
    if plain:
        DeferredView.apply = in_one_graph
    painter.operators = DeferredSet(painter.field, painter.views, painter.settings.drop_weight)
    give_colors(painter)
    painter.advance()  # what is imported and set up once is no part of the measure
    painter.views = painter.operators.views = views_of(painter.field, train, size, 1)
    forget_peak(DEVICE)
    before = memory_now(DEVICE)
    painter.advance()
    peak = peak_memory(DEVICE)
    painter.cache.close()
    return {"above": peak - before, "total": peak}


def measured(run: Run, size: tuple[int, int], plain: bool, work: Path) -> dict[str, int]:
    """The same in a process of its own."""
    order = json.dumps({"run": str(run.path), "size": size, "plain": plain})
    command = [sys.executable, __file__, "--work", work, "--measure", order]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def memory_rows(run: Run, backbone: str, work: Path) -> list[tuple[str, ...]]:
    """Peaks at both sizes, and, for contrast, that of plain autograd at the small one."""
    kinds = [("deferred", SMALL, False), ("deferred", LARGE, False), ("plain autograd", SMALL, True)]
    found = [measured(run, size, plain, work) for _, size, plain in kinds]
    return [
        (
            backbone, kind, f"{size[0]}x{size[1]}", f"{peak['above'] / 2**20:.0f} MiB",
            f"{peak['above'] / found[0]['above']:.2f}×", f"{peak['total'] / 2**20:.0f} MiB",
        )
        for (kind, size, _), peak in zip(kinds, found, strict=True)
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    parser.add_argument(
        "--only", nargs="+", choices=FITS, default=list(FITS) if nerfstudio_is_installed() else ["voxel"]
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # what a process of its own is to do
    options = parser.parse_args()
    if options.measure:
        order = json.loads(options.measure)
        print(json.dumps(measure(Run.open(order["run"], "fit"), order["size"], order["plain"], options.work)))
        return

    data = analytic_capture(options.work)
    runs = {name: fitted_run(data, options.work, "object", name, **FITS[name]) for name in options.only}
    rows = [("backbone", "views", "entries per pixel", "operator", "deferred", "ratio", "gradients apart")]
    rows += [step_row(run, name, options.work) for name, run in runs.items()]
    print_table("A step of stage 2, compact encoder", rows)

    rows = [("backbone", "gradient", "picture", "peak above the level before", "÷ first", "peak of the process")]
    for name, run in runs.items():
        rows += memory_rows(run, name, options.work)
    fewer = f"; nerfacto with {FEWER[0]} + {FEWER[1]} + {FEWER[2]} samples per ray" if FEWER else ""
    print_table(f"Memory of one step; the style loss looks at {SMALL[0]}x{SMALL[1]} pixels throughout{fewer}", rows)


if __name__ == "__main__":
    main()

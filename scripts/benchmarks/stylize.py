"""What a stylization step costs and what the render operator saves, on the still life.

    python scripts/benchmarks/stylize.py [--style PICTURE] [--work DIR]

Needs VGG-19 weights (see the README). Fits the still life first if the work folder has no fit of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import ROOT, analytic_capture, fitted_run, prepared, print_table, reference_seconds, seconds

from arf.radiance.paint.painter import Painter


@torch.no_grad()
def differences(painter: Painter) -> tuple[float, float]:
    """Largest and mean pixel difference of operator and uncached rendering, over all views, in 255ths."""
    largest, total = 0.0, 0.0
    theta, background = painter.photoreal, painter.field.background
    for i in range(len(painter.views)):
        cached = painter.operators[i].apply(theta, background).clamp(0, 1)
        dense = uncached(painter, i).view(cached.shape).clamp(0, 1)
        largest = max(largest, float((cached - dense).abs().max()))
        total += float((cached - dense).abs().mean())
    return 255 * largest, 255 * total / len(painter.views)


@torch.no_grad()
def uncached(painter: Painter, i: int) -> torch.Tensor:
    """View i rendered afresh from the field: marching, densities, every sample."""
    return torch.cat([painter.field.shoot(band).color for band in painter.views.cameras[i].bands(painter.field.band)])


def gradient_error(painter: Painter, i: int) -> float:
    """Relative error of the operator's gradient against autograd through a dense sum over the entries of the trace."""
    traced = painter.field.trace(painter.views.cameras[i], painter.settings.drop_weight)
    pixel = torch.repeat_interleave(traced.starts.diff())  # [e]
    size = (*painter.views.size(i), 3)
    pull = torch.randn(size, generator=torch.Generator().manual_seed(0))

    def gradient(render: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        theta = painter.photoreal.clone().requires_grad_()
        return torch.autograd.grad((render(theta).view(size) * pull).sum(), theta)[0].double()

    def dense(theta: torch.Tensor) -> torch.Tensor:
        entries = traced.weights[:, None].double() * theta[traced.columns]
        return entries.new_zeros(len(traced.leftover), 3).index_add(0, pixel, entries)

    exact = gradient(dense)
    ours = gradient(lambda theta: painter.operators[i].apply(theta, painter.background))
    return float((ours - exact).norm() / exact.norm())


def step_costs(painter: Painter, rounds: int = 40) -> tuple[float, float]:
    """Seconds of whole steps, and of encoder and losses alone on the same views, measured in turn."""
    whole = bare = 0.0
    for k in range(rounds):
        i = painter.view_of(painter.step)
        picture = painter.render(i).detach().requires_grad_()
        start = time.perf_counter()
        sum(painter.losses(picture, i).values()).backward()
        middle = time.perf_counter()
        painter.advance()
        if k >= 3:
            bare += middle - start
            whole += time.perf_counter() - middle
    return whole / (rounds - 3), bare / (rounds - 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--style", type=Path, default=ROOT / "data/styles/strokes.jpg")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    options = parser.parse_args()
    reference = reference_seconds()

    painter = prepared(
        fitted_run(analytic_capture(options.work), options.work, "object", steps=1000), options.style, options.work, 300
    )
    operator = painter.operators[0]
    with torch.no_grad():
        fast = seconds(lambda: operator.apply(painter.theta, painter.background), 20)
    slow = seconds(lambda: uncached(painter, 0))
    largest, mean = differences(painter)
    error = gradient_error(painter, 0)
    whole, bare = step_costs(painter)
    start = time.perf_counter()
    painter.step = 0
    while painter.step < 300:
        painter.advance()
    loop = time.perf_counter() - start
    painter.cache.close()
    o = painter.operators
    rows = [
        ("measure", "value", "÷ VGG-19 forward"),
        ("render operator, one view", f"{fast * 1e3:.2f} ms", f"{fast / reference:.3f}"),
        ("uncached rendering of the same view", f"{slow * 1e3:.0f} ms", f"{slow / reference:.1f}"),
        ("ratio", f"{slow / fast:.0f}×", ""),
        ("largest / mean pixel difference", f"{largest:.3f} / {mean:.4f} of 255", ""),
        ("gradient against dense autograd, relative error", f"{error:.1e}", ""),
        ("whole step", f"{whole * 1e3:.1f} ms", f"{whole / reference:.2f}"),
        ("encoder and losses alone", f"{bare * 1e3:.1f} ms", f"{bare / reference:.2f}"),
        ("ratio", f"{whole / bare:.3f}", ""),
        ("300 steps", f"{loop:.1f} s", f"{loop / reference:.0f}"),
        (
            "entries / bytes per pixel",
            f"{o.entries / o.pixels:.0f} / {o.nbytes / o.pixels:.0f}",
            "",
        ),
    ]
    print_table(
        f"Stylize, still life 128x128, 42 views (a VGG-19 forward pass at 256x256: {reference * 1e3:.0f} ms)", rows
    )


if __name__ == "__main__":
    main()

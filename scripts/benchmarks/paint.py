"""What painting a capture costs: the whole command by phases, its memory, a step by parts, and what the search misses.

    python scripts/benchmarks/paint.py RUN ... [--style PICTURE] [--size N] [--work DIR]

Each RUN is of `arf fit`; without one, the bundled still life is fitted. `arf stylize` paints it at all defaults (but
for --size), twice: with inverted lists and with --exact-matches. Both paintings are judged by the exact loss over a
third of the views. A step's parts are measured after a first epoch, beside the encoder's forward and backward pass.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import DEVICE, ROOT, fitted_run, now, prepared, print_table, seconds

from arf import bundled
from arf.jobs.runs import Run
from arf.radiance.opening import open_painted
from arf.radiance.paint.painter import Painter
from arf.style.losses import knn_loss
from arf.style.neighbours import FeatureBank


@dataclass
class Command:
    """One call of `arf stylize`: seconds in all and until the first preview, GiB of memory, and the run."""

    seconds: float
    preview: float
    peak: float
    run: Run


def called(run: Path, style: Path, output: Path, *flags: str) -> Command:
    shutil.rmtree(output, ignore_errors=True)
    call = [sys.executable, "-m", "arf", "stylize", run, "--style", style, "--output", output, "--json", *flags]
    start, preview = time.time(), None
    process = subprocess.Popen([str(part) for part in call], stdout=subprocess.DEVNULL)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if preview is None and (found := list(output.glob("*/*/*/preview.png"))):
            preview = found[0].stat().st_mtime - start
        if pid:
            break
        time.sleep(0.05)
    if status:
        raise SystemExit(f"{' '.join(map(str, call))} failed")
    return Command(time.time() - start, preview, usage.ru_maxrss / 2**20, Run.open(output, "stylize"))


@torch.no_grad()
def judged(painter: Painter, theta: torch.Tensor, background: torch.Tensor) -> float:
    """The exact nearest-neighbour loss of colours, over every third view."""
    subject, total, chosen = painter.subject, 0.0, range(0, len(painter.subject), 3)
    for i in chosen:
        features = painter.objective.features(subject.operators[i].apply(theta, background).clamp(0, 1))
        total += sum(float(knn_loss(f, bank, 1)) for f, bank in zip(features, exact_banks(painter), strict=True))
    return total / len(chosen) / len(painter.objective.blocks)


def exact_banks(painter: Painter) -> list[FeatureBank]:
    return [FeatureBank(bank.vectors.t(), exact=True) for bank in painter.objective.banks[0]]


def share_of_drop(painter: Painter, runs: list[Run]) -> list[float]:
    """How far each painting brought the exact loss down."""
    start = judged(painter, painter.recolor.apply(painter.subject.photoreal), painter.background)
    found = []
    for run in runs:
        look = open_painted(run, DEVICE)[0].look
        found.append(start - judged(painter, look.theta, look.background))
    return found


def parts_of_step(painter: Painter, rounds: int = 20) -> dict[str, float]:
    """Milliseconds of a step's parts."""
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = now()
        made = work()
        spent[name] = spent.get(name, 0.0) + 1e3 * (now() - start) / rounds
        return made

    objective = painter.objective
    for i in range(len(painter.subject)):
        painter.content(i)
        painter.render(i)
    for _ in range(3):
        painter.advance()
    for k in range(rounds):
        i = painter.view_of(k)
        picture = timed("rendering", lambda i=i: painter.render(i))
        leaf = picture.detach().requires_grad_()
        features = timed("encoder forward", lambda leaf=leaf: objective.features(leaf))
        leaves = [f.detach().requires_grad_() for f in features]
        loss = timed("search and loss", lambda leaves=leaves: objective(leaves))
        timed("search and loss", loss.backward)
        pulls = [f.grad for f in leaves]
        timed("encoder backward", lambda f=features, p=pulls: torch.autograd.backward(f, p))
        timed("gradient of the colours", lambda p=picture, g=leaf.grad: p.backward(g))
        timed("update", painter.optimizer.step)
        painter.optimizer.zero_grad()
    whole = seconds(painter.advance, rounds)
    return {**spent, "whole step, content and variation included": 1e3 * whole}


def minutes(value: float) -> str:
    return f"{int(value) // 60}:{int(value) % 60:02d} min" if value >= 60 else f"{value:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--style", type=Path, default=bundled.style("strokes"))
    parser.add_argument("--size", type=int)
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    options = parser.parse_args()
    flags = ["--size", str(options.size)] if options.size else []
    paths = options.runs or [fitted_run(bundled.capture(), options.work, "quick", "splat").path]
    whole = [("scene", "views", "size", "whole command", "first preview", "photographs", "re-fit", "steps")]
    whole[0] += ("peak", "matrices", "with exact search", "share of its drop")
    steps = [("part of a step",)]
    for path in paths:
        run = Run.open(path, "fit")
        ours, exact = (
            called(run.path, options.style, options.work / name, *flags, *more)
            for name, more in (("lists", []), ("exact", ["--exact-matches"]))
        )
        m = ours.run.info["metrics"]
        painter = prepared(run, options.style, options.work, 1000, "compact", size=options.size)
        drops = share_of_drop(painter, [ours.run, exact.run])
        phases = [f"{m['seconds'][phase]:.1f} s" for phase in ("photographs", "re-fit", "steps")]
        whole.append((
            run.info["scene"], str(len(painter.subject)), str(m["size"]), minutes(ours.seconds),
            f"{ours.preview:.1f} s", *phases,
            f"{ours.peak:.2f} GiB", f"{m['operator_bytes'] / 2**30:.2f} GiB", minutes(exact.seconds),
            f"{100 * drops[0] / drops[1]:.1f} %",
        ))  # fmt: skip
        parts = parts_of_step(painter)
        bare = parts["encoder forward"] + parts["encoder backward"]
        steps[0] += (f"{run.info['scene']}, ms", "÷ encoder")
        for k, (name, spent) in enumerate(parts.items(), start=1):
            if len(steps) == k:
                steps.append((name,))
            steps[k] += (f"{spent:.0f}", f"{spent / bare:.2f}")
        painter.subject.cache.close()
        print(json.dumps({"scene": run.info["scene"], "drops": drops, "step": parts}), file=sys.stderr, flush=True)
    print_table(f"Painting in {options.style.stem}", whole)
    print_table("A step", steps)


if __name__ == "__main__":
    main()

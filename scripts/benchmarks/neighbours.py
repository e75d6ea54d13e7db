"""How two jobs on one machine get on: steps per second alone, beside a busy process, and of two at once.

    python scripts/benchmarks/neighbours.py [--seconds 3] [--only style splats]

A style step is the gradient of the style loss of a picture of 384x384, in torch; a splat step is one of a fit's, of
20,000 splats at 252x189, in numba. Each job is a process of its own. Threads wait for each other as torch lets them
where nobody says anything, or as arf does, or there is one (`--threads 1`). Two minutes in all, on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from common import CPU, print_table, seconds
from torch.nn.functional import normalize

from arf.jobs.machine import yield_cores
from arf.media import image
from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.poses import look_at
from arf.radiance.fields.splats.descent.engines import engine_on
from arf.radiance.fields.splats.descent.tuning import Tuning
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.settings import StylizeSettings
from arf.style import encoder as encoders
from arf.style.objective import StyleObjective

OWN = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
BUSY = "while True: pass"


def style_step() -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    style, picture = (torch.rand(384, 384, 3, generator=generator) for _ in range(2))
    objective = StyleObjective(encoders.load("compact"), StylizeSettings().layers, [image.resize(style, 384, 384)])
    theta = picture.requires_grad_()

    def step() -> None:
        theta.grad = None
        objective(objective.features(theta)).backward()

    return step


def splat_step() -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    count, (width, height) = 20_000, (252, 189)
    scales, quats = 0.02 * (0.5 * normal(count, 3)).exp(), normalize(normal(count, 4), dim=1)
    opacities, colors = (torch.rand(count, *more, generator=generator) for more in ((), (3,)))
    splats = Splats(0.5 * normal(count, 3), scales, quats, opacities, colors, torch.zeros(count, 0, 3))
    pose = look_at(torch.tensor([0.0, -2.5, 0.5]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    camera = Camera(pose, 200.0, 200.0, width / 2, height / 2, width, height)
    tuning = Tuning.of(splats, engine_on(CPU, False), 1_000_000)
    target, background = torch.rand(height, width, 3, generator=generator), torch.full((3,), 0.5)
    return lambda: tuning.advance(camera, target, background)


WORKS = {"style": style_step, "splats": splat_step}


def work(name: str) -> None:
    """A job: at each line that comes in, for so many seconds, and how many steps a second it made."""
    step = WORKS[name]()
    seconds(step, 20)
    print("ready", flush=True)
    for line in sys.stdin:
        start, end, steps = time.perf_counter(), time.perf_counter() + float(line), 0
        while time.perf_counter() < end:
            step()
            steps += 1
        print(json.dumps(steps / (time.perf_counter() - start)), flush=True)


@contextmanager
def jobs(name: str, env: dict[str, str]) -> Iterator[list[subprocess.Popen]]:
    """Two of them, ready."""
    call = [sys.executable, __file__, "--work", name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": env}
    both = [subprocess.Popen(call, **pipes) for _ in range(2)]
    try:
        for job in both:
            if job.stdout.readline() != "ready\n":
                raise SystemExit(f"the job {name} did not begin")
        yield both
    finally:
        for job in both:
            job.kill()
            job.wait()


def rates(at_once: list[subprocess.Popen], length: float) -> list[float]:
    for job in at_once:
        job.stdin.write(f"{length}\n")
        job.stdin.flush()
    return [json.loads(job.stdout.readline()) for job in at_once]


def measured(name: str, env: dict[str, str], length: float) -> tuple[float, float, list[float]]:
    """Steps per second alone, beside a busy process, and of two at once."""
    with jobs(name, env) as both:
        alone = rates(both[:1], length)[0]
        busy = subprocess.Popen([sys.executable, "-c", BUSY])
        try:
            beside = rates(both[:1], length)[0]
        finally:
            busy.kill()
            busy.wait()
        return alone, beside, rates(both, length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    os.environ.clear()
    os.environ.update(OWN)
    yield_cores()
    ours = dict(os.environ)
    ways = {"torch's": OWN, "arf's": ours, "one thread": {**ours, "OMP_NUM_THREADS": "1"}}
    rows = [("step", "waiting", "alone, per second", "÷ torch's", "beside a busy process", "two at once, each")]
    for name in options.only:
        usual = None
        for way, env in ways.items():
            alone, beside, both = measured(name, env, options.seconds)
            usual = usual or alone
            pair = ", ".join(f"{rate / alone:.2f}" for rate in both)
            rows.append((name, way, f"{alone:.1f}", f"{alone / usual:.2f}", f"{beside / alone:.2f}", pair))
    print_table("Neighbours: shares of the speed alone", rows)


if __name__ == "__main__":
    main()

"""The compact encoder beside VGG-19: what a pass costs, what 300 steps cost, and how much of the style it brings.

    python scripts/benchmarks/encoders.py [--captures FOLDER[:DOWNSCALE] ...] [--styles PICTURE ...] [--sheets FOLDER]

Every capture is repainted in every style twice, once by each encoder, from the same start. Both results, and the start,
are judged by VGG-19 on the held-out views: nearest-neighbour loss over relu3_1 to relu3_3, and Gram loss over relu1_1,
relu2_1 and relu3_1. Reported is the compact encoder's share of the drop that VGG-19 itself achieves. Needs VGG-19's
weights (see the README).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from common import ROOT, fitted_run, prepared, print_table, seconds

from arf import bundled
from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_photoreal
from arf.style import encoder as encoders
from arf.style.objective import StyleObjective

TAPS = ("relu3_1", "relu3_2", "relu3_3")
GRAM_TAPS = ("relu1_1", "relu2_1", "relu3_1")
STEPS = 300


def pass_costs(size: int, rounds: int = 30) -> tuple[float, float]:
    """Seconds of a forward and backward pass to TAPS, VGG-19 and compact, measured in turn."""
    picture = torch.rand(1, 3, size, size, requires_grad=True)
    networks = [encoders.load(name) for name in ("vgg19", "compact")]

    pulls = [[torch.randn_like(f) for f in network(picture.detach(), TAPS).values()] for network in networks]

    def both_ways(network: encoders.Encoder) -> None:
        torch.autograd.grad(list(network(picture, TAPS).values()), picture, pulls[networks.index(network)])

    times = [[seconds(lambda n=n: both_ways(n), 1) for n in networks] for _ in range(rounds)]
    vgg, ours = torch.tensor(times).median(0).values.tolist()
    return vgg, ours


def paint(run: Run, style: Path, work: Path, encoder: str) -> tuple[Look, Look, float]:
    """Looks before and after STEPS steps, and the seconds of the steps."""
    painter = prepared(run, style, work, STEPS, encoder)
    before = painter.finish()
    start = time.perf_counter()
    while painter.step < STEPS:
        painter.advance()
    elapsed = time.perf_counter() - start
    after = painter.finish()
    painter.subject.cache.close()
    return before, after, elapsed


@torch.no_grad()
def judge(run: Run, style: Path, looks: list[Look]) -> tuple[list[tuple[float, float]], list[list[torch.Tensor]]]:
    """VGG-19's nearest-neighbour and Gram loss of each look over the held-out views; and two views in every look."""
    field, capture = open_photoreal(run, torch.device("cpu"))
    views, vgg = capture.held_out, encoders.load("vgg19")
    painting = image.fit_long_side(image.read_style(style), max(views.size(0)))
    beside = Look.beside(looks)
    objectives = (
        StyleObjective(vgg, TAPS, [painting], loss="nnfm"),
        StyleObjective(vgg, GRAM_TAPS, [painting], loss="gram"),
    )
    losses = torch.zeros(len(looks), 2, dtype=torch.float64)
    rows = []
    for i in range(len(views)):
        pictures = picture(field, beside, views.cameras[i]).split(3, dim=2)[1:]
        losses += torch.tensor([[float(o(o.features(p))) for o in objectives] for p in pictures]) / len(views)
        rows.append([views.image(i), painting, *pictures[1:]])
    return [tuple(pair) for pair in losses.tolist()], [rows[0], rows[len(rows) // 2]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captures", nargs="+", default=[str(bundled.capture())], help="folders, :2 for downscale 2")
    parser.add_argument("--styles", nargs="+", type=Path, default=[bundled.style(name) for name in bundled.styles()])
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "benchmarks")
    parser.add_argument("--sheets", type=Path, help="folder for photograph | style | VGG-19 | compact")
    options = parser.parse_args()

    rows = [("size", "VGG-19", "compact", "ratio")]
    for size in (128, 256):
        vgg, ours = pass_costs(size)
        rows.append((f"{size}x{size}", f"{vgg * 1e3:.1f} ms", f"{ours * 1e3:.1f} ms", f"{vgg / ours:.1f}×"))
    print_table("Encoder forward + backward, relu3_1 to relu3_3", rows)

    rows = [("capture", "style", "VGG-19 s", "compact s", "NNFM before → VGG-19 / compact", "share", "Gram", "share")]
    shares = []
    for capture in options.captures:
        folder, _, downscale = capture.partition(":")
        preset = "object" if "arf_scene_box" in (Path(folder) / "transforms.json").read_text() else "unbounded"
        run = fitted_run(Path(folder), options.work, preset, steps=800, downscale=float(downscale or 1))
        for style in options.styles:
            before, vgg, vgg_seconds = paint(run, style, options.work, "vgg19")
            _, ours, our_seconds = paint(run, style, options.work, "compact")
            losses, pictures = judge(run, style, [before, vgg, ours])
            share = [(a - c) / (a - b) for a, b, c in zip(*losses, strict=True)]
            shares.append(share)
            figures = [f"{a:.4g} → {b:.4g} / {c:.4g}" for a, b, c in zip(*losses, strict=True)]
            rows.append(
                (
                    Path(folder).name, style.stem, f"{vgg_seconds:.1f}", f"{our_seconds:.1f}",
                    figures[0], f"{share[0]:.0%}", figures[1], f"{share[1]:.0%}",
                )
            )  # fmt: skip
            print(" | ".join(rows[-1]), flush=True)
            if options.sheets:
                name = f"{Path(folder).name}-{style.stem}.png"
                image.write(options.sheets / name, image.contact_sheet(pictures, height=256))
    mean = torch.tensor(shares).mean(0).tolist()
    rows.append(("mean", "", "", "", "", f"{mean[0]:.0%}", "", f"{mean[1]:.0%}"))
    print_table(f"{STEPS} steps; share of VGG-19's own drop that the compact encoder achieves", rows)


if __name__ == "__main__":
    main()

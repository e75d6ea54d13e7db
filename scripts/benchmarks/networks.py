"""The networks: how fast AdaIN is, what a norm does to learning, and how much of a style AdaIN or CAST brings.

    python scripts/benchmarks/networks.py [--only speed norms quality] [--photos FOLDER] [--paintings FOLDER]

Speed: AdaIN's frames per second at 512x512 with the compact encoder and with VGG-19, measured in turn. Norms: a fast
network's loss under instance and under batch norm at equal steps, everything else alike (Ulyanov et al., 2016);
training pictures from --train, or made ones. Quality: the style loss of the results of --method, which is the moments
of VGG-19 at relu1_1 to relu4_1, in proportion to that of the photograph itself. VGG-19's weights are needed for speed
(any weights take as long) and quality; see the README.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from common import ROOT, print_table, seconds

from arf import bundled
from arf.media import image
from arf.networks.adain import AdainNetwork, Decoder
from arf.networks.paint import AdainPainter, to_planes
from arf.networks.settings import ANY_STYLE, AdainSettings
from arf.style import encoder as encoders
from arf.style import natural
from arf.style.losses import moment_loss
from arf.training.adain import STYLE_TAPS
from arf.training.settings import TrainSettings
from arf.training.train import train

SIZE = 512


@torch.no_grad()
def speed(rounds: int = 10) -> None:
    """Frames per second of encoder, AdaIN and decoder together."""
    frame, times = torch.rand(1, 3, SIZE, SIZE), {}
    networks = {}
    for name in ("compact", "vgg19"):
        encoder = encoders.load(name, padding="reflect")
        network = AdainNetwork(encoder, Decoder.mirroring(encoder)).eval()
        networks[name] = network, [network.style(torch.rand(1, 3, 256, 256))]
        times[name] = []
    for _ in range(rounds):
        for name, (network, styles) in networks.items():
            times[name].append(seconds(lambda n=network, s=styles: n(frame, s), 1))
    middle = {name: sorted(values)[rounds // 2] for name, values in times.items()}
    rows = [("encoder", "frames per second", "times VGG-19")]
    for name, value in middle.items():
        rows.append((name, f"{1 / value:.2f}", f"{middle['vgg19'] / value:.1f}"))
    print_table(f"AdaIN at {SIZE}x{SIZE}", rows)


def norms(photos: Path | None, work: Path, steps: int) -> None:
    """Loss of a fast network under each norm, mean over windows of a tenth of the steps."""
    if photos is None:
        photos = work / "made"
        for i, picture in enumerate(natural.pictures(64, 192, seed=9).permute(0, 2, 3, 1)):
            image.write(photos / f"{i:02d}.png", picture)
    style, curves = bundled.style("stained_glass"), {}
    for norm in ("instance", "batch"):
        settings = TrainSettings(
            norm=norm, steps=steps, crop=128, load=192, width=16, style_strength=8.0, batch=4, sample_every=steps
        )
        run = train("fast", photos, (style,), settings, work / norm)
        curves[norm] = [row["content"] + row["style"] for row in run.curves()]
    rows = [("steps", "instance", "batch", "instance / batch")]
    width = max(1, len(curves["batch"]) // 10)
    for first in range(0, len(curves["batch"]), width):
        means = {norm: sum(c[first : first + width]) / len(c[first : first + width]) for norm, c in curves.items()}
        ratio = means["instance"] / means["batch"]
        last = min(steps, (first + width) * 10)
        rows.append((f"to {last}", f"{means['instance']:.2f}", f"{means['batch']:.2f}", f"{ratio:.2f}"))
    print_table("A fast network's loss by norm (stained_glass, width 16)", rows)
    draw(curves, work / "norms.png")


def draw(curves: dict[str, list[float]], path: Path) -> None:
    """The curves: each point is the mean of the hundred steps before it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for norm, values in curves.items():
        width = min(10, len(values))
        smooth = torch.tensor(values).unfold(0, width, 1).mean(1)
        axes.plot([10 * (i + width) for i in range(len(smooth))], smooth, label=f"{norm} norm")
    axes.set(xlabel="step", ylabel="loss", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=110)
    print(path)


@torch.no_grad()
def quality(photos: Path, paintings: Path, settings: AdainSettings, sheet: Path) -> None:
    """Style loss by VGG-19 for every pair of a photograph and a painting."""
    judge, device = encoders.load("vgg19"), torch.device("cpu")

    def features(picture: torch.Tensor) -> dict[str, torch.Tensor]:
        return judge(to_planes(picture, device), STYLE_TAPS)

    contents = {p.stem: image.fit_long_side(image.read(p), SIZE) for p in image.pictures_in(photos)}
    plain = {name: features(picture) for name, picture in contents.items()}
    rows = [("painting", *contents, "mean")]
    grid, every = [[torch.ones(64, 64, 3), *contents.values()]], []
    for path in image.pictures_in(paintings):
        style = image.fit_long_side(image.read(path), SIZE)
        wanted = features(style)
        painter = AdainPainter.open([style], settings=settings)
        shares, row = [], [style]
        for name, content in contents.items():
            painted = painter(content)
            row.append(painted)
            found = features(painted)
            loss, before = (sum(float(moment_loss(f[t], wanted[t])) for t in STYLE_TAPS) for f in (found, plain[name]))
            shares.append(loss / before)
        every += shares
        rows.append((path.stem, *(f"{share:.2f}" for share in shares), f"{sum(shares) / len(shares):.2f}"))
        grid.append(row)
    rows.append(("mean of all", *[""] * len(contents), f"{sum(every) / len(every):.2f}"))
    print_table("Style loss in proportion to the photograph's own (moments of VGG-19)", rows)
    image.write(sheet, image.contact_sheet(grid, 200))
    print(sheet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=("speed", "norms", "quality"), default=["speed", "norms"])
    parser.add_argument("--train", type=Path, help="folder of photographs to train on")
    parser.add_argument("--steps", type=int, default=600, help="of training, for each norm")
    parser.add_argument("--photos", type=Path, help="folder of photographs to paint, for quality")
    parser.add_argument("--paintings", type=Path, default=ROOT / "data/styles")
    parser.add_argument("--method", choices=ANY_STYLE, default="adain", help="whose quality")
    parser.add_argument("--model", default="compact", help="its decoder")
    parser.add_argument("--work", type=Path, default=Path("outputs/benchmarks/networks"))
    asked = parser.parse_args()
    if "speed" in asked.only:
        speed()
    if "norms" in asked.only:
        norms(asked.train, asked.work, asked.steps)
    if "quality" in asked.only:
        quality(
            asked.photos or parser.error("quality needs --photos"),
            asked.paintings,
            ANY_STYLE[asked.method](model=asked.model),
            asked.work / f"{asked.method}.png",
        )


if __name__ == "__main__":
    main()

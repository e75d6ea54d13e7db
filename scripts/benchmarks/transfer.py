"""The 2D methods by optimisation: what a step costs, how far 300 of them come, and how near texture and inversion get.

    python scripts/benchmarks/transfer.py [--photo PICTURE] [--style PICTURE] [--textures PICTURE ...] [--only PART ...]

* cost: an L-BFGS step of `arf gatys` (evaluation and bookkeeping) beside the bare encoder, forward and backward at the
  deepest layer that it uses, measured in turn.
* loss: the paper's loss after 300 evaluations, ours beside `plain_gatys` below, a plain reference with torch's L-BFGS.
* memory: peak of one evaluation, whole and in tiles of 512 pixels.
* texture: relative error ‖G - Ĝ‖ / ‖Ĝ‖ of the result's Gram matrices after a default run of `arf texture`.
* inversion: PSNR of default runs of `arf invert`.

VGG-19 needs its weights (see the README); without them only the compact encoder is measured.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from common import DEVICE, forget_peak, memory_now, now, peak_memory, print_table
from torch.nn import functional

from arf import bundled
from arf.errors import UserError
from arf.jobs.device import free_memory
from arf.media import image
from arf.metrics import psnr
from arf.style import encoder as encoders
from arf.style.encoder import Encoder
from arf.transfer.engine.lbfgs import LBFGS
from arf.transfer.engine.network import bytes_per_pixel
from arf.transfer.engine.objective import Objective
from arf.transfer.engine.optimize import to_picture, to_planes
from arf.transfer.engine.terms import ContentTerm, GramTerm, gram_targets
from arf.transfer.invert import invert
from arf.transfer.settings import InvertSettings, TextureSettings
from arf.transfer.texture import texture

STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT = "relu4_2"
CHANNELS = (64, 128, 256, 512, 512)  # of VGG-19, for the paper's weights 1e3 / C²
CHECKED = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1")
EVALUATIONS = 300


def paper_weights(encoder: Encoder) -> tuple[list[float], float]:
    """The weights of Gatys' code, for features divided by their mean activations."""
    scale = dict(zip(encoder.taps, encoder.scales.tolist(), strict=True))
    style = [1e3 / c**2 * scale[tap] ** 4 for tap, c in zip(STYLE, CHANNELS, strict=True)]
    return style, scale[CONTENT] ** 2


def our_objective(encoder: Encoder, photo: torch.Tensor, style: torch.Tensor) -> Objective:
    """The paper's loss, in our terms."""
    weights, content_weight = paper_weights(encoder)
    with torch.no_grad():
        content = encoder(photo, [CONTENT])
    style_term = GramTerm(gram_targets(encoder, style, STYLE), weights, sum(weights))
    return Objective(encoder, [style_term, ContentTerm(content, content_weight)])


def plain_gatys(encoder: Encoder, photo: torch.Tensor, style: torch.Tensor) -> tuple[float, float]:
    """The paper's formula as one writes it down: raw activations, Gram matrices over H·W, torch's L-BFGS with 100 steps
    remembered; without its line search it diverges on VGG-19.

    Returns:
        The smallest loss that was seen, and that of the last picture clamped to [0, 1], which is what one can look at.
    """

    def gram(f: torch.Tensor) -> torch.Tensor:
        rows = f.flatten(2)[0]
        return rows @ rows.T / rows.shape[1]

    with torch.no_grad():
        grams = {tap: gram(f) for tap, f in encoder(style, STYLE, scaled=False).items()}
        target = encoder(photo, [CONTENT], scaled=False)[CONTENT]

    def loss(picture: torch.Tensor) -> torch.Tensor:
        features = encoder(picture, [*STYLE, CONTENT], scaled=False)
        total = functional.mse_loss(features[CONTENT], target)
        for tap, channels in zip(STYLE, CHANNELS, strict=True):
            total = total + 1e3 / channels**2 * functional.mse_loss(gram(features[tap]), grams[tap])
        return total

    picture = photo.clone().requires_grad_()
    limits = {"max_iter": EVALUATIONS, "max_eval": EVALUATIONS, "tolerance_grad": 0, "tolerance_change": 0}
    optimizer = torch.optim.LBFGS([picture], **limits, history_size=100, line_search_fn="strong_wolfe")
    seen = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(picture)
        value.backward()
        seen.append(float(value.detach()))
        return value

    optimizer.step(closure)
    with torch.no_grad():
        return min(seen), float(loss(picture.clamp(0, 1)))


def ours(objective: Objective, photo: torch.Tensor, low: float, high: float, history: int) -> float:
    """The loss of our optimiser's best picture within bounds."""
    search = LBFGS(photo, low, high, history)
    for _ in range(EVALUATIONS):
        found = objective(search.point)
        search.tell(found.total, found.gradient)
    return search.value


def step_costs(encoder: Encoder, photo: torch.Tensor, style: torch.Tensor, history: int, rounds: int) -> list[float]:
    """Seconds of a bare pass, and of a step with full history: evaluation and bookkeeping. All measured in turn."""
    objective = our_objective(encoder, photo, style)
    deepest = max(objective.taps, key=encoder.reach)
    leaf = photo.clone().requires_grad_()
    with torch.no_grad():
        pull = torch.randn_like(encoder(photo, [deepest])[deepest])
    search = LBFGS(photo, 0.0, 1.0, history)
    times = []
    for _ in range(history + 5 + rounds):
        start = now()
        torch.autograd.grad(encoder(leaf, [deepest])[deepest], leaf, pull)
        passed = now()
        found = objective(search.point)
        evaluated = now()
        search.tell(found.total, found.gradient)
        times.append((passed - start, evaluated - passed, now() - evaluated))
    return torch.tensor(times[-rounds:]).median(0).values.tolist()


def evaluation_peak(encoder: Encoder, size: int, tile: int) -> tuple[int, float]:
    """Bytes above the level before, and seconds, of one evaluation of a square picture."""
    style, picture = torch.rand(1, 3, 256, 256, device=DEVICE), torch.rand(1, 3, size, size, device=DEVICE)
    term = GramTerm(gram_targets(encoder, style, STYLE), [1.0] * len(STYLE), 1.0)
    objective = Objective(encoder, [term], tile=tile)
    objective(picture[:, :, :64, :64])
    forget_peak(DEVICE)
    before, start = memory_now(DEVICE), now()
    objective(picture)
    return peak_memory(DEVICE) - before, now() - start


def gram_errors(encoder: Encoder, picture: torch.Tensor, sample: torch.Tensor) -> list[float]:
    found, wanted = (gram_targets(encoder, to_planes(p).to(DEVICE), CHECKED) for p in (picture, sample))
    return [float((found[tap] - wanted[tap]).norm() / wanted[tap].norm()) for tap in CHECKED]


def main() -> None:
    still = sorted((bundled.capture() / "images").glob("*.png"))[0]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photo", type=Path, default=still)
    parser.add_argument("--style", type=Path, default=bundled.style("strokes"))
    parser.add_argument("--textures", nargs="+", type=Path, default=[bundled.style(n) for n in bundled.styles()[:3]])
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512], help="long sides for the cost of a step")
    parser.add_argument("--history", type=int, default=20, help="steps that L-BFGS remembers")
    parser.add_argument("--only", nargs="+", default=["cost", "loss", "memory", "texture", "inversion"])
    parser.add_argument("--encoders", nargs="+", default=["compact", "vgg19"])
    options = parser.parse_args()

    networks = {}
    for name in options.encoders:
        try:
            networks[name] = encoders.load(name).to(DEVICE)
        except UserError as error:
            print(f"{name} is left out: {error}")

    def planes(path: Path, size: int) -> torch.Tensor:
        return to_planes(image.fit_long_side(image.read(path), size)).to(DEVICE)

    if "cost" in options.only:
        rows = [("encoder", "size", "bare forward + backward", "loss and gradient", "L-BFGS", "ratio")]
        for name, network in networks.items():
            for size in options.sizes:
                photo = planes(options.photo, size)
                style = planes(options.style, size)
                costs = step_costs(network, photo, style, options.history, 12 if size > 256 else 30)
                ratio = (costs[1] + costs[2]) / costs[0]
                shape = f"{photo.shape[3]}x{photo.shape[2]}"
                rows.append((name, shape, *(f"{cost * 1e3:.1f} ms" for cost in costs), f"{ratio:.3f}"))
        print_table("A step of Gatys' method beside the bare encoder at relu5_1", rows)

    if "loss" in options.only:
        rows = [("encoder", "bounds", "steps remembered", "ours", "plain reference", "ours / plain")]
        for name, network in networks.items():
            photo, style = planes(options.photo, 192), planes(options.style, 192)
            objective = our_objective(network, photo, style)
            plain, clamped = plain_gatys(network, photo, style)
            within = "[0, 1]; the reference's picture is clamped"
            for bounds, low, high, reference in (("none", -math.inf, math.inf, plain), (within, 0.0, 1.0, clamped)):
                for history in (options.history, 100):
                    mine = ours(objective, photo, low, high, history)
                    figures = (f"{mine:.5g}", f"{reference:.5g}", f"{mine / reference:.3f}")
                    rows.append((name, bounds, str(history), *figures))
        print_table(f"The paper's loss after {EVALUATIONS} evaluations at 192 pixels", rows)

    if "memory" in options.only:
        rows = [("encoder", "size", "whole", "seconds", "tiles of 512", "seconds")]
        for name, network in networks.items():
            for size in (1024, 2048):
                fits = size**2 * bytes_per_pixel(network, STYLE) < 0.5 * free_memory(DEVICE)
                measured = [evaluation_peak(network, size, tile) for tile in ((0, 512) if fits else (512,))]
                cells = [cell for peak, s in measured for cell in (f"{peak / 2**30:.2f} GiB", f"{s:.1f}")]
                rows.append((name, f"{size}x{size}", *(["does not fit", ""] * (not fits)), *cells))
        print_table("Peak memory of one evaluation, relu1_1 to relu5_1", rows)

    if "texture" in options.only:
        rows = [("encoder", "sample", *CHECKED)]
        for name in networks:
            judge = encoders.load(name, pooling="average").to(DEVICE)
            for path in options.textures:
                sample = image.fit_long_side(image.read(path), 256)
                made = image.to_bytes(texture(sample, TextureSettings(encoder=name))).float() / 255  # as in the file
                rows.append((name, path.stem, *(f"{e:.2%}" for e in gram_errors(judge, made, sample))))
        print_table("Texture synthesis: error of the Gram matrices after a default run", rows)

    if "inversion" in options.only:
        layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
        rows = [("encoder", *layers)]
        for name in networks:
            photo = to_picture(planes(options.photo, 256))
            figures = [psnr(invert(photo, layer, InvertSettings(encoder=name)), photo) for layer in layers]
            rows.append((name, *(f"{figure:.1f} dB" if math.isfinite(figure) else "exact" for figure in figures)))
        print_table("Inversion: PSNR after a default run", rows)


if __name__ == "__main__":
    main()

"""Texture synthesis: a new picture with a sample's Gram matrices (Gatys, Ecker & Bethge, NIPS 2015).

Where we deviate: coarse to fine, since a structure larger than the layers see has to be laid out at a coarser scale;
layers relu1_1 to relu4_1, before the pooling; and a term that keeps the histogram near the sample's, since matching it
only at the end spoils the Gram matrices by 1 to 20 %.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arf.errors import UserError
from arf.media import image
from arf.style import color
from arf.style.encoder import Encoder
from arf.transfer.engine.network import check_pixels, open_encoder, tile_side
from arf.transfer.engine.objective import Objective, Planes
from arf.transfer.engine.optimize import (
    Picture,
    Size,
    State,
    Watch,
    coarse_to_fine,
    noise_like,
    pyramid,
    resize,
    searcher,
    to_picture,
    to_planes,
)
from arf.transfer.engine.terms import GramTerm, gram_targets
from arf.transfer.settings import TextureSettings

WEIGHT = 1e3  # of the whole loss: it only keeps numbers readable


def texture(
    sample: Picture, settings: TextureSettings | None = None, watch: Watch | None = None, go_on: State | None = None
) -> Picture:
    """A picture of any size that looks like a sample's texture.

    Args:
        sample: [H, W, 3] in [0, 1].
        settings: size, layers, optimiser; by default those of `TextureSettings`.
        watch, go_on: see `coarse_to_fine`.

    Returns:
        The picture, its values within the sample's.

    Raises:
        UserError: a setting that makes no sense, or a size that does not fit into memory.
        Interrupted: Ctrl-C.
    """
    settings = settings or TextureSettings()
    settings.check()
    image.check_picture(sample, "sample")
    encoder = open_encoder(settings, settings.layers, "circular" if settings.tileable else "zeros")
    sample = sample.to(encoder.mean.device)
    check_pixels(encoder, settings.layers, sample.shape[:2])
    size = output_size(sample, settings, encoder)
    tile = tile_side(encoder, settings.layers, size, settings)
    planes = to_planes(sample)
    bounds = planes.amin((2, 3), keepdim=True), planes.amax((2, 3), keepdim=True)
    sizes = pyramid(size, settings.scales)
    if settings.tileable:
        sizes = [tuple(_multiple(side, encoder, settings) for side in s) for s in sizes]
    least = max(encoder.stride(layer) for layer in settings.layers)  # that the sample needs at every scale
    sizes = [s for s in sizes if round(min(sample.shape[:2]) * s[0] / size[0]) >= least]

    def problem(size_now: Size) -> Objective:
        scale = size_now[0] / size[0]
        seen = resize(planes, tuple(max(1, round(side * scale)) for side in sample.shape[:2]))
        targets = gram_targets(encoder, seen, settings.layers, settings.tileable, tile)
        style = GramTerm(targets, settings.layer_weights or [1.0] * len(settings.layers), WEIGHT)
        priors = {"histogram": lambda x: histogram_loss(x, sample)} if settings.match_histogram else {}
        return Objective(encoder, [style], priors, tile)

    def finish(best: Planes) -> Picture:
        picture = to_picture(resize(best, size))
        return color.match_histogram(picture, sample) if settings.match_histogram else picture

    return coarse_to_fine(
        sizes,
        lambda s, coarser: noise_like(planes, s, settings.seed) if coarser is None else resize(coarser, s),
        problem,
        lambda start: searcher(settings, start.to(planes), bounds),
        settings.steps,
        finish,
        watch,
        go_on,
    )


def histogram_loss(picture: Planes, sample: Picture) -> Tensor:
    """Mean squared change of the values that matching the sample's histogram would make, times WEIGHT."""
    with torch.no_grad():
        target = to_planes(color.match_histogram(to_picture(picture), sample))
    return WEIGHT * torch.nn.functional.mse_loss(picture, target)


def output_size(sample: Picture, settings: TextureSettings, encoder: Encoder) -> Size:
    """Height and width that were asked for; by default the sample's.

    Raises:
        UserError: with --tileable, a side that is no multiple of the deepest layer's stride.
    """
    height, width = settings.height or sample.shape[0], settings.width or sample.shape[1]
    if not settings.tileable:
        return height, width
    rounded = _multiple(height, encoder, settings), _multiple(width, encoder, settings)
    if (settings.height not in (None, rounded[0])) or (settings.width not in (None, rounded[1])):
        stride = max(encoder.stride(layer) for layer in settings.layers)
        raise UserError(
            f"with --tileable, width and height are multiples of {stride}, the stride of the deepest layer; "
            f"take --width {rounded[1]} --height {rounded[0]}"
        )
    return rounded


def _multiple(side: int, encoder: Encoder, settings: TextureSettings) -> int:
    stride = max(encoder.stride(layer) for layer in settings.layers)
    return max(1, round(side / stride)) * stride

"""Feature inversion: what a layer still knows of a photograph (Mahendran & Vedaldi, CVPR 2015).

    x* = argmin ‖Φ(x) - Φ₀‖² / ‖Φ₀‖² + λ_β TV_β(x) + λ_α ‖x‖_α^α

Where we deviate: L-BFGS within [0, 1] in place of gradient descent with momentum; both penalties are means over values,
so that their weights do not depend on the picture's size; x in the α-norm is RGB shifted and scaled to [-1, 1].
"""

from __future__ import annotations

import torch

from arf.media import image
from arf.style.encoder import block_of
from arf.style.losses import total_variation
from arf.transfer.engine.network import open_encoder, tile_side
from arf.transfer.engine.objective import Objective
from arf.transfer.engine.optimize import (
    Picture,
    State,
    Watch,
    coarse_to_fine,
    noise_like,
    searcher,
    to_picture,
    to_planes,
)
from arf.transfer.engine.terms import ContentTerm
from arf.transfer.engine.tiles import encode
from arf.transfer.settings import InvertSettings

TV_WEIGHTS = {1: 0.1, 2: 0.3, 3: 1.0, 4: 5.0, 5: 20.0}  # λ_β by block: deeper layers leave more open


def invert(
    photo: Picture,
    layer: str,
    settings: InvertSettings | None = None,
    watch: Watch | None = None,
    go_on: State | None = None,
) -> Picture:
    """A picture that a layer takes for the photograph, from noise.

    Args:
        photo: [H, W, 3] in [0, 1].
        layer: such as "relu3_1".
        settings: weights and optimiser; by default those of `InvertSettings`, whose `size` is for the command line.
        watch, go_on: see `coarse_to_fine`.

    Raises:
        UserError: an unknown layer, a setting that makes no sense, or a photograph that does not fit into memory.
        Interrupted: Ctrl-C.
    """
    settings = settings or InvertSettings()
    settings.check()
    image.check_picture(photo, "photo")
    encoder = open_encoder(settings, [layer])
    planes = to_planes(photo.to(encoder.mean.device))
    size = tuple(photo.shape[:2])
    tile = tile_side(encoder, [layer], size, settings)
    target = encode(encoder, planes, [layer], tile)
    block = block_of(encoder.pools.get(layer, layer))
    smooth = TV_WEIGHTS.get(block, TV_WEIGHTS[5]) if settings.tv_weight is None else settings.tv_weight
    priors = {
        "tv": lambda x: smooth * total_variation(x, settings.beta),
        "range": lambda x: settings.alpha_weight * (2 * x - 1).abs().pow(settings.alpha).mean(),
    }
    objective = Objective(encoder, [ContentTerm(target, 1.0, relative=True, name="features")], priors, tile)
    grey = torch.full_like(planes, 0.5)
    return coarse_to_fine(
        [size],
        lambda s, _: noise_like(grey, s, settings.seed, deviation=0.1),
        lambda _: objective,
        lambda start: searcher(settings, start.to(planes), (0.0, 1.0)),
        settings.steps,
        to_picture,
        watch,
        go_on,
    )

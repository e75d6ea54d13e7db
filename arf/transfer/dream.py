"""DeepDream: a photograph changed so that a layer's channels respond more strongly (Mordvintsev, Olah & Tyka, 2015).

Gradient ascent over octaves, coarse to fine. Each octave begins with the photograph at its size plus what the coarser
ones have added. The picture is shifted at random before each step, so that nothing sticks to the pooling's grid.
"""

from __future__ import annotations

from itertools import count

import numpy as np
import torch

from arf.errors import UserError
from arf.media import image
from arf.transfer.engine.network import open_encoder, tile_side
from arf.transfer.engine.objective import Evaluation, Objective, Planes
from arf.transfer.engine.optimize import (
    FirstOrder,
    Picture,
    Size,
    State,
    Watch,
    coarse_to_fine,
    pyramid,
    resize,
    to_picture,
    to_planes,
)
from arf.transfer.engine.terms import ActivationTerm
from arf.transfer.settings import DreamSettings


def dream(
    photo: Picture, settings: DreamSettings | None = None, watch: Watch | None = None, go_on: State | None = None
) -> Picture:
    """The photograph as some layers dream it.

    Args:
        photo: [H, W, 3] in [0, 1]; the result has its size.
        settings: by default those of `DreamSettings`, whose `size` is for the command line.
        watch, go_on: see `coarse_to_fine`.

    Raises:
        UserError: an unknown layer or channel, a setting that makes no sense, or a photograph that does not fit into
            memory.
        Interrupted: Ctrl-C.
    """
    settings = settings or DreamSettings()
    settings.check()
    image.check_picture(photo, "photo")
    encoder = open_encoder(settings, settings.layer)
    for layer in settings.layer:
        if settings.channel and max(settings.channel) >= encoder.width(layer):
            raise UserError(f"no channel {max(settings.channel)} in {layer}; it has 0 to {encoder.width(layer) - 1}")
    planes = to_planes(photo.to(encoder.mean.device))
    size = tuple(photo.shape[:2])
    tile = tile_side(encoder, settings.layer, size, settings)
    terms = [ActivationTerm(layer, settings.channel, name=layer) for layer in settings.layer]
    objective = Objective(encoder, terms, tile=tile)
    evaluations = count(go_on.scale * settings.steps + go_on.step if go_on else 0)

    def start(size_now: Size, coarser: Planes | None) -> Planes:
        base = resize(planes, size_now)
        if coarser is None:
            return base
        added = coarser - resize(planes, tuple(coarser.shape[2:]))  # in [-1, 1]
        return base + 2 * resize((added + 1) / 2, size_now) - 1

    def jittered(picture: Planes) -> Evaluation:
        draws = np.random.default_rng([settings.seed, next(evaluations)])  # by number, for jobs that go on
        by = draws.integers(-settings.jitter, settings.jitter + 1, 2).tolist()
        found = objective(picture.roll(by, (2, 3)))
        gradient = found.gradient.roll([-s for s in by], (2, 3))
        return Evaluation(found.total, found.parts, gradient / gradient.abs().mean().clamp_min(1e-12))

    return coarse_to_fine(
        pyramid(size, settings.octaves, settings.octave_scale),
        start,
        lambda _: jittered,
        lambda first: FirstOrder(first.to(planes), (0.0, 1.0), lambda p: torch.optim.SGD(p, settings.learning_rate)),
        settings.steps,
        lambda best: to_picture(resize(best, size)),
        watch,
        go_on,
    )

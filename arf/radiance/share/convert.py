"""A field of another kind as splats: placed on the surfaces that its views see, moved until they render alike, and
coloured by least squares, for each of its looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from arf.metrics import psnr
from arf.radiance.brought.views import Renderings
from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.views import Capture
from arf.radiance.fields.field import Field
from arf.radiance.fields.splats.descent.by_numba import Numba
from arf.radiance.fields.splats.descent.likeness import squared
from arf.radiance.fields.splats.descent.tuning import Tuning
from arf.radiance.fields.splats.field import SplatField
from arf.radiance.fields.splats.placing import on_surfaces
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import picture
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.refit import refit
from arf.radiance.operator.views import OperatorSet
from arf.radiance.paths.shapes import interpolate
from arf.style.color import Affine

PIXELS = 60_000  # of a picture that is compared, at most
BETWEEN = 0.5  # pictures from between the training views, to one of theirs
STEPS = 450
POINTS = 24  # pixels of all pictures together that see a surface, to one splat
OPACITY = 0.7  # to begin with
CPU = torch.device("cpu")

Progress = Callable[[str, int, int], None]  # what, step, steps
Pictures = list[Float[Tensor, "h w c"]]


@dataclass
class Converted:
    """
    Attributes:
        splats: in the scene's frame; their colours are the photoreal ones.
        looks: the photoreal one, then those that were asked for.
        psnr: of their pictures of the held-out views (of the training views, where there are none) against the field's
            own, by look, in dB.
    """

    splats: Splats
    looks: list[Look]
    psnr: list[float]


@torch.no_grad()
def as_splats(field: Field, capture: Capture, looks: list[Look], most: int, progress: Progress) -> Converted:
    """
    Raises:
        UserError: the views see no surface.
    """
    cameras = _small(_joined(capture.train.cameras, _between(capture)))
    pictures = _pictures(field, looks, cameras, progress)
    splats = on_surfaces(field, list(cameras), pictures, POINTS, most, OPACITY)
    background = field.background.cpu()
    tuning = Tuning.of(splats, Numba(squared), STEPS)
    order = np.random.default_rng(0)
    for step in range(STEPS):
        i = int(order.integers(len(cameras)))
        tuning.advance(cameras[i], pictures[i][..., :3].float(), background)
        progress("splats", step + 1, STEPS)
    splats = tuning.splats()
    made = _coloured(SplatField(splats, background, CPU), cameras, pictures, [Look.photoreal(field), *looks])
    seen = _small(capture.held_out.cameras if len(capture.held_out) else capture.train.cameras)
    found = _likeness(SplatField(splats, background, CPU), made, seen, _pictures(field, looks, seen, progress))
    return Converted(splats.flat(made[0].theta), made, found)


def _coloured(field: SplatField, cameras: Cameras, pictures: Pictures, looks: list[Look]) -> list[Look]:
    """The looks on splats: the colours that render nearest to the pictures of each."""
    with TemporaryDirectory() as folder:
        cache = ViewCache(1 << 31, Path(folder) / "cache", CPU)
        operators = OperatorSet(field, Renderings.of(cameras, False), cache, field.drop)
        made = []
        for k, look in enumerate(looks):
            channels = slice(3 * k, 3 * k + 3)
            start = field.splats.colors if not k else made[0].theta

            def target(i: int, channels: slice = channels) -> tuple[Tensor, None]:
                return pictures[i][..., channels].float(), None

            theta = refit(operators, start, look.background.cpu(), target)
            made.append(Look(theta, look.background.cpu(), Affine.identity()))
        cache.close()
    return made


def _pictures(field: Field, looks: list[Look], cameras: Cameras, progress: Progress) -> Pictures:
    """What the field shows, photoreal and in every look, in half precision."""
    beside, found = Look.beside(looks) if looks else None, []
    for i, camera in enumerate(cameras):
        found.append(picture(field, beside, camera).half())
        progress("pictures", i + 1, len(cameras))
    return found


def _likeness(field: SplatField, looks: list[Look], cameras: Cameras, pictures: Pictures) -> list[float]:
    found = []
    for k, look in enumerate(looks):
        pairs = (
            (field.render(camera, look.theta, look.background).clamp(0, 1), pictures[i][..., 3 * k : 3 * k + 3].float())
            for i, camera in enumerate(cameras)
        )
        found.append(sum(psnr(*pair) for pair in pairs) / len(cameras))
    return found


def _between(capture: Capture) -> Cameras:
    """Cameras on a smooth way through the training views: what films see."""
    return interpolate(capture.train, max(2, round(BETWEEN * len(capture.train)))).cameras


def _joined(one: Cameras, other: Cameras) -> Cameras:
    parts = ("poses", "fx", "fy", "cx", "cy", "width", "height")
    return Cameras(*(torch.cat([getattr(one, part), getattr(other, part)]) for part in parts))


def _small(cameras: Cameras) -> Cameras:
    """The same views in pictures of at most `PIXELS`."""
    sizes = torch.stack([cameras.width, cameras.height], 1).double()
    factor = (PIXELS / sizes.prod(1)).sqrt().clamp_max(1)
    return cameras.resized((sizes * factor[:, None]).round().long().clamp_min(2))

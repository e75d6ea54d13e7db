"""Where splats begin: on surfaces between the points of a capture, or on those of a voxel grid fitted for seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.formats.points import Points
from arf.radiance.fields import kinds
from arf.radiance.fields.field import Field
from arf.radiance.fields.place import Place
from arf.radiance.fields.splats.placing import Surfaces, on_surfaces
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.fit.bank import RayBank
from arf.radiance.fit.splats.between import Between
from arf.radiance.fit.splats.pictures import Picture, Pictures
from arf.radiance.fit.state import FitState, Told
from arf.radiance.settings import FitSettings

STEPS = 300
THREADS = 2  # the bits of torch's sums depend on how many there are, and a fit's must not
SPARE = 2  # rays that are shot, to one splat
OPACITY = 0.5  # to begin with
COARSE = {"backbone": "voxel", "samples": 100_000, "learning_rate": 0.06, "final_learning_rate": 0.006}


def start(
    cameras: Cameras,
    pictures: Pictures,
    place: Place,
    settings: FitSettings,
    most: int,
    points: Points | None,
    device: torch.device,
    stopped: Callable[[], bool],
    told: Told,
) -> Splats:
    """At most so many splats, in the colours that the photographs have there.

    Args:
        pictures: what these cameras see.
        points: on what they see, if any are known.
        device: that the grid is fitted on.

    Raises:
        UserError: no surface was found.
        KeyboardInterrupt: `stopped` has become true.
    """
    seen = [pictures.at(0, i) for i in range(len(pictures))]
    share = min(1.0, (SPARE * most / sum(picture.camera.pixels for picture in seen)) ** 0.5)
    seen = [picture.resized(share) for picture in seen]
    if points is not None:
        surfaces = Between(points)
        if 2 * surfaces.views([picture.camera for picture in seen]) > len(seen):
            return _laid(surfaces, seen, most, settings.seed)
    with _threads(THREADS):
        return _laid(_coarse(cameras, pictures, place, settings, device, stopped, told), seen, most, settings.seed)


def _coarse(
    cameras: Cameras,
    pictures: Pictures,
    place: Place,
    settings: FitSettings,
    device: torch.device,
    stopped: Callable[[], bool],
    told: Told,
) -> Field:
    """The voxel grid."""
    levels = {"resolutions": settings.resolutions[:2], "stages": (0.5,) * (len(settings.resolutions[:2]) - 1)}
    behind = kinds.plan(settings, place)["background"]  # not each ray's last sample, which is no surface so early
    coarse = replace(settings, steps=STEPS, background=behind, **COARSE, **levels)
    torch.manual_seed(settings.seed)
    field = kinds.build(kinds.plan(coarse, place), place, device)
    whole = (pictures.at(-1, i) for i in range(len(pictures)))
    bank = RayBank.made_of(cameras, ((picture.colors, picture.mask) for picture in whole), device)
    state = FitState(field, coarse, bank)
    state.begin(stopped, told)
    while state.step < STEPS:
        if stopped():
            raise KeyboardInterrupt
        losses = state.advance()
        if state.step % 10 == 0:
            told(state.step, STEPS, {"rgb": float(losses["rgb"].detach())})
    field.eval()
    return field


def _laid(surfaces: Surfaces, pictures: list[Picture], most: int, seed: int) -> Splats:
    colors = [picture.colors.float() / 255 for picture in pictures]
    masks = [picture.solid for picture in pictures]
    return on_surfaces(surfaces, [p.camera for p in pictures], colors, 1, most, OPACITY, seed, masks)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

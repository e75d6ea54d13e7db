"""What every reader makes of its files: shots, and their frame; and how shots become photographs of a working size."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from PIL import ExifTags
from torch import Tensor

from arf.errors import UserError
from arf.media.decode import has_alpha, open_picture
from arf.radiance.capture.formats.points import PointFile
from arf.radiance.capture.lens import Lens, Pinhole, check_lens
from arf.radiance.capture.photographs import Source
from arf.radiance.capture.poses import Placement
from arf.radiance.capture.views import Kind

log = logging.getLogger(__name__)
LONG_SIDE = 1024  # pixels that no photograph exceeds where no downscale is asked for
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height

Size = tuple[int, int]  # (width, height)


@dataclass(frozen=True)
class Shot:
    """A photograph that a capture lists.

    Attributes:
        name: as the capture's files say.
        pose: float64 [3, 4] camera-to-world in the frame of those files, OpenGL's axes.
        lens: the calibrated lens, given the original photograph's size, for what the files do not say.
        files: the photograph's pictures by factor: 1 in `images`, N in `images_N`; empty where it is missing.
        mask: a picture that is black where the photograph is not to be used.
        held_out: whether it is for evaluation; None where the capture has no split of its own.
    """

    name: str
    pose: Float64[np.ndarray, "3 4"]
    lens: Callable[[Size], Lens]
    files: dict[int, Path]
    mask: Path | None = None
    held_out: bool | None = None


@dataclass(frozen=True)
class Reading:
    """What a capture lists, before missing pictures are dropped and a split is made.

    Attributes:
        placement: from the frame of the files to the scene's.
        kind: how space is mapped, unless it is asked for.
        scene_box: in the scene's frame.
        bounds: nearest and farthest depth of a forward-facing capture, in scene units.
        applied: float64 [3, 4], the rigid motion from the capture's world into the frame of its files, and
        applied_scale: how much larger that frame is.
        points: what structure from motion has left, in the frame of the files.
    """

    shots: list[Shot]
    placement: Placement
    kind: Kind
    scene_box: Float[Tensor, "2 3"]
    bounds: tuple[float, float] | None = None
    applied: Float[Tensor, "3 4"] | None = None
    applied_scale: float = 1.0
    points: PointFile | None = None

    @property
    def world(self) -> tuple[Float[Tensor, "3 4"], float]:
        """Transform and scale with x_scene = scale · (transform[:, :3] x_world + transform[:, 3])."""
        transform, k = self.placement.transform, self.applied_scale
        if self.applied is not None:  # the files hold x = k (A x_world + a)
            turned = self.placement.rotation @ self.applied  # [3, 4]
            moved = turned[:, 3:] + transform[:, 3:] / k
            transform = torch.cat([turned[:, :3], moved], dim=1)
        elif k != 1:
            transform = torch.cat([transform[:, :3], transform[:, 3:] / k], dim=1)
        return transform, self.placement.scale * k


def cube(half: float = 1.0) -> Float[Tensor, "2 3"]:
    """The box of this half side around the origin."""
    return torch.tensor([[-half] * 3, [half] * 3])


def plain_name(name: str) -> PurePosixPath:
    """A name as two parts of a capture can be compared by."""
    return PurePosixPath(name.replace("\\", "/"))


def listed_names(
    listed: Iterable[str], known: Iterable[PurePosixPath], where: str, needed: bool = False
) -> set[PurePosixPath]:
    """The names of a split's list that are known; one warning counts the others.

    Raises:
        UserError: some are `needed`, and none is known.
    """
    names, known = [plain_name(name) for name in listed], set(known)
    if needed and known.isdisjoint(names):
        raise UserError(f"{where} names none of the capture's photographs; correct it")
    if unknown := [name for name in names if name not in known]:
        message = "%s: skipping %d of %d names without a frame, first %s"
        log.warning(message, where, len(unknown), len(names), unknown[0])
    return {name for name in names if name in known}


def choose_factor(factors: Iterable[int], downscale: float) -> int:
    """The N of images_N to read for a downscale: the smallest pictures that are still large enough."""
    factors = list(factors)
    return max((n for n in factors if n <= downscale), default=min(factors))


def settle(shots: list[Shot], downscale: float | None, data: Path) -> list[tuple[Shot, Source, Pinhole]]:
    """The shots whose pictures exist, with where their pixels come from and their cameras at the working size.

    Args:
        downscale: how many times smaller than the original photographs; None: the least at which none of them exceeds
            LONG_SIDE. Nothing is enlarged, and pictures of images_N are at least N times smaller.
        data: the capture, for messages.

    Raises:
        UserError: no picture exists, one is damaged, or is not of its camera's size.
    """
    present, first = _present(shots, data)
    headers = _Headers()
    lenses = []
    for shot in present:
        width, height = headers[shot.files[first]].size
        lenses.append(shot.lens((width * first, height * first)))
        check_lens(lenses[-1], f"{data}: {shot.name}")
    factors = [n for n in present[0].files if all(n in shot.files for shot in present)]
    factor = choose_factor(factors, downscale or max(1.0, _longest(lens.pinhole for lens in lenses) / LONG_SIDE))
    try:
        pictures = _match(present, lenses, factor, headers)
    except UserError as misfit:
        if factor == 1 or 1 not in factors:
            raise
        log.warning("%s; reading images instead", misfit)
        factor, pictures = 1, _match(present, lenses, 1, headers)
    if capped := sum(lens.is_capped for lens in lenses):
        log.warning("%s: field of view capped at 120° in %d of %d photographs", data, capped, len(lenses))

    pinholes = [picture.pinhole(lens) for picture, lens in zip(pictures, lenses, strict=True)]
    shrink = max(1.0, _longest(pinholes) / LONG_SIDE if downscale is None else downscale / factor)
    settled = []
    for shot, lens, picture, pinhole in zip(present, lenses, pictures, pinholes, strict=True):
        width, height = round(pinhole.width / shrink), round(pinhole.height / shrink)
        if min(width, height) < 1:
            raise UserError(f"downscale {shrink:g} leaves nothing of {picture.file}; choose a smaller one")
        if shot.mask and not _alike(headers[shot.mask].size, picture.size):
            raise UserError(f"{shot.mask} is not of the shape of its photograph {picture.file}; export the masks again")
        distorted, transparent = None if lens.is_pinhole else lens, headers[picture.file].transparent
        source = Source(picture.file, shot.mask, distorted, picture.upright, transparent)
        settled.append((shot, source, pinhole.resized(width, height)))
    return settled


def _present(shots: list[Shot], data: Path) -> tuple[list[Shot], int]:
    """The shots whose pictures exist, and the factor of the most complete folder, of several that of the largest
    pictures; one warning counts the others."""
    if not shots:
        raise UserError(f"{data}: its split lists name none of its photographs; correct them")
    counts = Counter(n for shot in shots for n in shot.files)
    if not counts:
        raise UserError(f"{data}: none of its {len(shots)} photographs exists (first {shots[0].name}); restore them")
    first = max(sorted(counts), key=counts.__getitem__)
    if missing := [shot.name for shot in shots if first not in shot.files]:
        message = "%s: skipping %d of %d frames without a picture, first %s"
        log.warning(message, data, len(missing), len(shots), missing[0])
    return [shot for shot in shots if first in shot.files], first


class _Picture(NamedTuple):
    """A picture that fits its camera."""

    file: Path
    size: Size  # upright, where that is what fits
    upright: bool = False

    def pinhole(self, lens: Lens) -> Pinhole:
        """Its undistorted camera, smaller or larger than the lens's as this picture is."""
        whole, (width, height) = lens.pinhole, self.size
        return whole.resized(round(whole.width * width / lens.width), round(whole.height * height / lens.height))


def _match(shots: list[Shot], lenses: list[Lens], factor: int, headers: _Headers) -> list[_Picture]:
    """Every picture of images_N, as it fits its camera.

    In `images` all of them may be larger or smaller than their cameras by one factor.

    Raises:
        UserError: one does not fit.
    """
    files = [shot.files[factor] for shot in shots]
    scales = [1 / factor]
    if factor == 1:
        scales += [side / lenses[0].width for side in headers[files[0]].size]  # as it is, or turned
    for scale in scales:
        pictures = [_fit(path, lens, scale, headers) for path, lens in zip(files, lenses, strict=True)]
        if None not in pictures:
            if scale != 1 / factor:
                log.warning("%s: the photographs are %.4g times as large as their cameras say", files[0].parent, scale)
            return pictures
    path, lens = next((p, lens) for p, lens in zip(files, lenses, strict=True) if not _fit(p, lens, scales[0], headers))
    (width, height), (w, h) = headers[path].size, (lens.width / factor, lens.height / factor)
    raise UserError(
        f"{path} is {width}×{height} pixels but its camera {w:g}×{h:g}; use the pictures that were calibrated"
    )


def _fit(path: Path, lens: Lens, scale: float, headers: _Headers) -> _Picture | None:
    """A picture that is `scale` times as large as its camera, to the pixel, or else to a rounding; as it is stored, or
    else turned as its EXIF says."""
    size, tolerance = headers[path].size, 0 if scale == 1 else 1

    def fits(size: Size) -> bool:
        return max(abs(size[0] - lens.width * scale), abs(size[1] - lens.height * scale)) <= tolerance

    if fits(size):
        return _Picture(path, size)
    if fits(size[::-1]) and headers.is_sideways(path):
        return _Picture(path, size[::-1], upright=True)
    return None


class _Header(NamedTuple):
    size: Size
    transparent: bool


class _Headers(dict[Path, _Header]):
    """What the pictures' headers say, each read once."""

    def __missing__(self, path: Path) -> _Header:
        with open_picture(path) as file:
            self[path] = _Header(file.size, has_alpha(file))
        return self[path]

    @staticmethod
    def is_sideways(path: Path) -> bool:
        """Whether EXIF asks for a quarter turn. It may need all of the file, so only a wrong size asks for it."""
        with open_picture(path) as file:
            try:
                return file.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
            except Exception:  # damaged: then it does not say so
                return False


def _alike(mask: Size, photograph: Size) -> bool:
    """Whether two pictures have the same shape, to a pixel on each side of the first."""
    return abs(mask[0] * photograph[1] - mask[1] * photograph[0]) <= sum(photograph)


def _longest(cameras: Iterable[Pinhole]) -> int:
    return max(max(camera.width, camera.height) for camera in cameras)

"""Photographs into a capture's folder: upright pictures under plain names, each looked at once.

What is an upright JPEG or PNG already is copied as it is. Everything else becomes one: turned as EXIF says, in sRGB.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import ExifTags, Image, ImageOps

from arf.errors import UserError
from arf.jobs.files import atomic_path, check_writable
from arf.jobs.machine import Starved
from arf.media.decode import decoding, has_alpha, open_picture, to_srgb
from arf.media.exif import read_exif
from arf.radiance.capture.intake.pile import Pile
from arf.radiance.capture.intake.taken import IMAGES, MASKS, USED, Skipped, Taken, Told, free_name, mark_of

SMALL = 640  # pixels of the long side at which sharpness is measured
KEPT = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}  # formats that are copied
QUALITY = {".jpg": {"quality": 95, "subsampling": 0}, ".png": {"compress_level": 1}}
Used = Bool[np.ndarray, "h w"]


def take_photographs(
    pile: Pile, folder: Path, before: Sequence[Taken], names: set[str], threads: int, told: Told
) -> tuple[list[Taken], list[Skipped]]:
    """Write photographs, and their masks, into `folder`.

    Args:
        before: what lies there from an earlier time; what has not changed since is not made again.
        names: that are taken, without suffixes.

    Returns:
        Those that are there now, and those that are damaged.

    Raises:
        UserError: a file cannot be written, or needs a package that is not installed; every photograph is damaged.
    """
    known = {(taken.source, taken.mark): taken for taken in before if taken.frame is None}
    jobs = []
    for path in pile.photographs:
        name = free_name(os.path.splitext(pile.shown[path])[0], names)
        found = known.get((str(path.resolve()), mark_of(path, pile.masks.get(path))))
        if found and found.name.rsplit(".", 1)[0] == name and (folder / IMAGES / found.name).is_file():
            jobs.append(partial(lambda taken: taken, found))
        else:
            jobs.append(partial(_take, path, pile.shown[path], pile.masks.get(path), folder, name))
    check_writable(folder / IMAGES / "photograph")
    taken, skipped = [], []
    with ThreadPoolExecutor(threads) as pool:
        for i, made in enumerate(_in_turn((pool.submit(job) for job in jobs), 2 * threads)):
            (taken if isinstance(made, Taken) else skipped).append(made)
            told("photos", i + 1, len(jobs))
    if skipped and not taken and not pile.clips:
        raise UserError(f"none of {len(skipped)} photographs can be read; {skipped[0].shown}: {skipped[0].why}")
    return taken, skipped


def _in_turn(futures: Iterator[Future], ahead: int) -> Iterator[Taken | Skipped]:
    """Results in order, so many jobs under way at most."""
    waiting = []
    for future in futures:
        waiting.append(future)
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    yield from (future.result() for future in waiting)


def _take(path: Path, shown: str, mask: Path | None, folder: Path, name: str) -> Taken | Skipped:
    """One photograph; a damaged one is skipped, but one that needs another package is not."""
    try:
        return _taken(path, shown, mask, folder, name)
    except Starved:
        raise
    except UserError as error:
        if "pip install" in str(error) or str(error).startswith("cannot write"):
            raise
        return Skipped(shown, str(error).removeprefix(f"{path} ").removeprefix("is "))


def _taken(path: Path, shown: str, mask: Path | None, folder: Path, name: str) -> Taken:
    with open_picture(path) as file, decoding(path):
        if file.mode == "F" or file.mode.startswith("I"):
            raise UserError(f"{path} has {file.mode} pixels; convert it to 8 bits")
        exif, transparent = read_exif(file), has_alpha(file)
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
        copied = file.format in KEPT and file.mode in ("RGB", "RGBA", "L") and orientation == 1
        size, picture = file.size, file
        if not copied:
            picture = to_srgb(ImageOps.exif_transpose(file)).convert("RGBA" if transparent else "RGB")
            size = picture.size
        elif not transparent:
            file.draft("L", (SMALL, SMALL))  # a JPEG is decoded small at once
        sharp = _sharpness(picture)
        used = _used(path, mask, size, orientation)
        opaque = np.asarray(picture.getchannel("A")) > 127 if picture.mode == "RGBA" else None
    suffix = KEPT[file.format] if copied else ".png" if transparent else ".jpg"
    target = folder / IMAGES / f"{name}{suffix}"
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary) if copied else picture.save(temporary, **QUALITY[suffix])
    for place in (folder / MASKS, folder / USED):  # it may have had one
        (place / f"{target.name}.png").unlink(missing_ok=True)
    if used is not None:
        _write_mask(folder / MASKS / f"{target.name}.png", used)
    if used is not None or opaque is not None:
        _write_mask(
            folder / USED / f"{target.name}.png", opaque if used is None else used if opaque is None else used & opaque
        )
    return Taken(
        name=target.name,
        source=str(path.resolve()),
        shown=shown,
        mark=mark_of(path, mask),
        device=f"{exif.device} {size[0]}x{size[1]}",
        size=size,
        sharp=sharp,
        focal=exif.focal,
        up=exif.up,
        mask=mask is not None,
    )


def _used(path: Path, mask: Path | None, size: tuple[int, int], orientation: int) -> Used | None:
    """Where a photograph's mask lets it be used, at its size (width, height); the mask is turned along with it where
    only that fits.

    Raises:
        UserError: it is damaged, or of another shape.
    """
    if mask is None:
        return None
    with open_picture(mask) as file, decoding(mask):
        grey = file.convert("L")
    if orientation > 4 and (grey.width > grey.height) != (size[0] > size[1]):
        grey.getexif()[ExifTags.Base.Orientation] = orientation
        grey = ImageOps.exif_transpose(grey)
    if abs(grey.width * size[1] - grey.height * size[0]) > sum(size):
        raise UserError(f"{mask} is not of the shape of its photograph {path}; export the masks again")
    values = np.asarray(grey.resize(size, Image.Resampling.NEAREST))
    return values > (0 if values.max() <= 1 else 127)  # a mask of zeros and ones is one, too


def fill_masks(folder: Path, taken: Sequence[Taken]) -> None:
    """Where some pictures have a mask in a folder, all others get one that lets everything be used."""
    if folder.is_dir():
        for picture in taken:
            if not (path := folder / f"{picture.name}.png").exists():
                _write_mask(path, np.ones(picture.size[::-1], bool))


def _write_mask(path: Path, used: Used) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(used.astype(np.uint8) * 255).save(temporary)


def _sharpness(picture: Image.Image) -> float:
    """Variance of the Laplacian of a small one, in squared levels of 255."""
    import cv2  # imports slowly

    grey, scale = picture.convert("L"), SMALL / max(picture.size)
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    small = grey.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
    return float(cv2.Laplacian(np.asarray(small), cv2.CV_32F).var())

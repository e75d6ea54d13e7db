"""Photographs and clips into a capture's folder: upright pictures under plain names, each looked at once.

What is an upright JPEG or PNG already is copied as it is. Everything else becomes one: turned as EXIF says, in sRGB.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from arf.errors import UserError
from arf.jobs.files import atomic_path, check_writable
from arf.jobs.machine import Starved
from arf.media.decode import decoding, has_alpha, open_picture, to_srgb
from arf.media.exif import read_exif
from arf.media.footage import probe
from arf.media.stills import choose, look, write_stills
from arf.radiance.capture.sfm.pile import Pile

log = logging.getLogger(__name__)
IMAGES, MASKS, USED = "images", "masks", Path("colmap", "masks")  # USED: where COLMAP is to look for features
SMALL = 640  # pixels of the long side at which sharpness is measured
Told = Callable[[str, int, int], None]  # what, how many, of how many


@dataclass(frozen=True)
class Taken:
    """A picture of a capture.

    Attributes:
        name: of its file in `images`.
        source: the file that it comes from, `shown` as the user calls it, and `mark`: that file's size and time.
        device: what tells cameras apart: two pictures of one device have one lens.
        size: (width, height).
        focal: focal length in diagonals of the picture, where EXIF says one.
        up: see `arf.media.exif.Exif`.
        sharp: variance of the Laplacian of a small one.
        frame: number of the frame, of a clip.
    """

    name: str
    source: str
    shown: str
    mark: str
    device: str
    size: tuple[int, int]
    sharp: float
    focal: float | None = None
    up: tuple[float, float, float] | None = None
    frame: int | None = None
    mask: bool = False


@dataclass(frozen=True)
class Skipped:
    """A photograph that cannot be used, and why."""

    shown: str
    why: str


def take_in(
    pile: Pile,
    folder: Path,
    before: Sequence[Taken],
    frames: int,
    threads: int,
    told: Told,
    stopped: Callable[[], bool],
) -> tuple[list[Taken], list[Skipped]]:
    """Write what was given into `folder`.

    Args:
        before: what lies there from an earlier time; what has not changed since is not made again.
        frames: how many of all clips together.

    Raises:
        UserError: a file cannot be written, or needs a package that is not installed; every photograph is damaged.
        KeyboardInterrupt: `stopped` says so.
    """
    names: set[str] = set()
    known = {(taken.source, taken.mark, taken.frame): taken for taken in before}
    jobs = []
    for path in pile.photographs:
        name = _free_name(pile.shown[path], names)
        found = known.get((str(path.resolve()), _mark(path, pile.masks.get(path)), None))
        if found and found.name.rsplit(".", 1)[0] == name and (folder / IMAGES / found.name).is_file():
            jobs.append(partial(_same, found))
        else:
            jobs.append(partial(_photograph, path, pile, folder, name))
    check_writable(folder / IMAGES / "x")
    taken, skipped = [], []
    with ThreadPoolExecutor(threads) as pool:
        done = (pool.submit(job) for job in jobs)
        for i, made in enumerate(_in_turn(done, 2 * threads)):
            (taken if isinstance(made, Taken) else skipped).append(made)
            told("photos", i + 1, len(jobs))
            if stopped():
                raise KeyboardInterrupt
    if skipped and not taken and not pile.clips:
        raise UserError(f"{skipped[0].shown}: {skipped[0].why}; none of {len(skipped)} photographs can be read")
    if pile.clips:
        taken += _frames(pile, folder, known, frames, names, told, stopped)
    return taken, skipped


def _in_turn(futures: Iterator, ahead: int) -> Iterator:
    """Results in order, so many jobs under way at most."""
    waiting = []
    for future in futures:
        waiting.append(future)
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    yield from (future.result() for future in waiting)


def _same(taken: Taken) -> Taken:
    return taken


def _photograph(path: Path, pile: Pile, folder: Path, name: str) -> Taken | Skipped:
    """One photograph into the folder; a damaged one is skipped, but one that needs another package is no such."""
    try:
        with open_picture(path) as file:
            exif, sideways = read_exif(file), file.getexif().get(ExifTags.Base.Orientation, 1) != 1
            transparent, is_plain = (
                has_alpha(file),
                file.format in ("JPEG", "MPO", "PNG") and file.mode in ("RGB", "RGBA", "L"),
            )
            if file.mode == "F" or file.mode.startswith("I"):
                raise UserError(f"{path} has {file.mode} pixels; convert it to 8 bits")
            kept = is_plain and not sideways
            suffix = ".png" if transparent or (kept and file.format == "PNG") else ".jpg"
            target = folder / IMAGES / f"{name}{suffix}"
            with decoding(path):
                stored = file.size
                if kept:
                    file.draft("L", (SMALL, SMALL))  # a JPEG is decoded small at once
                    file.load()
                    picture = file
                else:
                    picture = to_srgb(ImageOps.exif_transpose(file)).convert("RGBA" if transparent else "RGB")
                    stored = picture.size
                sharp = _sharpness(picture)
            with atomic_path(target) as temporary:
                if kept:
                    shutil.copyfile(path, temporary)
                else:
                    picture.save(
                        temporary, **({"compress_level": 1} if transparent else {"quality": 95, "subsampling": 0})
                    )
            masked = _masks(
                path, pile.masks.get(path), picture if transparent else None, stored, sideways, folder, target.name
            )
    except Starved:
        raise
    except UserError as error:
        if "pip install" in str(error):
            raise
        return Skipped(pile.shown[path], str(error).removeprefix(f"{path} ").removeprefix("is "))
    mark = _mark(path, pile.masks.get(path))
    device = f"{exif.device} {stored[0]}x{stored[1]}"
    return Taken(
        target.name,
        str(path.resolve()),
        pile.shown[path],
        mark,
        device,
        stored,
        sharp,
        exif.focal,
        exif.up,
        None,
        masked,
    )


def _masks(
    path: Path,
    mask: Path | None,
    transparent: Image.Image | None,
    size: tuple[int, int],
    sideways: bool,
    folder: Path,
    name: str,
) -> bool:
    """Write a photograph's mask, and where COLMAP is to look: not where it is masked out, nor where it is transparent.

    Returns:
        Whether it has a mask.
    """
    used = None
    if mask is not None:
        with open_picture(mask) as file, decoding(mask):
            grey = file.convert("L")
        values = np.asarray(grey)
        if sideways and grey.size != size:  # as stored, like its photograph
            with open_picture(path) as file:
                grey.getexif()[ExifTags.Base.Orientation] = file.getexif().get(ExifTags.Base.Orientation, 1)
            values = np.asarray(ImageOps.exif_transpose(grey))
        used = values > (0 if values.max() <= 1 else 127)
        if abs(used.shape[1] * size[1] - used.shape[0] * size[0]) > sum(size):
            raise UserError(f"{mask} is not of the shape of its photograph {path}; export the masks again")
        _write_mask(folder / MASKS / f"{name}.png", used, size)
    if transparent is not None:
        opaque = np.asarray(transparent.convert("RGBA").getchannel("A").resize(size)) > 127
        used = opaque if used is None else opaque & np.asarray(Image.fromarray(used).resize(size))
    if used is not None:
        _write_mask(folder / USED / f"{name}.png", used, size)
    return mask is not None


def _write_mask(path: Path, used: np.ndarray, size: tuple[int, int]) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(used.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST).save(temporary)


def _frames(
    pile: Pile, folder: Path, known: dict, frames: int, names: set[str], told: Told, stopped: Callable[[], bool]
) -> list[Taken]:
    """Frames of all clips, shared out by how far the camera comes in each."""
    looks, ways = {}, {}
    for clip in pile.clips:
        asked = f"{_mark(clip, None)} {frames} {len(pile.clips)}"
        before = [taken for (source, mark, _), taken in known.items() if (source, mark) == (str(clip.resolve()), asked)]
        if before and all((folder / IMAGES / taken.name).is_file() for taken in before):
            looks[clip] = before
            continue
        looks[clip] = probe(clip)

        def seen(i: int, n: int) -> None:
            if stopped():
                raise KeyboardInterrupt
            told("video", i + 1, n)

        ways[clip] = look(looks[clip], seen)
    whole = sum(float(way[-1]) for way, _ in ways.values()) or 1.0
    taken = []
    for clip, found in looks.items():
        stem = _free_name(pile.shown[clip], names)
        if isinstance(found, list):
            taken += found
            continue
        way, sharp = ways[clip]
        chosen = choose(way, sharp, max(3, round(frames * float(way[-1]) / whole)))
        paths = [folder / IMAGES / f"{stem}_{i:06d}.jpg" for i in chosen]
        mark = f"{_mark(clip, None)} {frames} {len(pile.clips)}"
        one = Taken("", str(clip.resolve()), "", mark, f"{clip.resolve()}", (found.width, found.height), 0.0)
        for n, (i, path) in enumerate(zip(chosen, write_stills(found, chosen, paths), strict=False)):
            said = f"{pile.shown[clip]} at {i / float(found.fps):.1f} s"
            taken.append(replace(one, name=path.name, shown=said, sharp=float(sharp[i]), frame=i))
            told("frames", n + 1, len(chosen))
            if stopped():
                raise KeyboardInterrupt
    return taken


def _sharpness(picture: Image.Image) -> float:
    """Variance of the Laplacian of a small one, in squared levels of 255."""
    import cv2  # imports slowly

    scale = SMALL / max(picture.size)
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    grey = np.asarray(
        picture.convert("L").resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
    )
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def _free_name(shown: str, names: set[str]) -> str:
    """A plain name of letters, digits and - _ . that no other picture has."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", os.path.splitext(shown)[0]).lstrip(".") or "photo"
    name, number = stem[-100:], 1
    while name.lower() in names:
        number += 1
        name = f"{stem[-100:]}-{number}"
    names.add(name.lower())
    return name


def _mark(path: Path, mask: Path | None) -> str:
    """Whether a file, and its mask, are as they were."""
    found = [file.stat() for file in (path, mask) if file]
    return " ".join(f"{stat.st_size}-{stat.st_mtime_ns}" for stat in found)

"""The pictures of a capture that we make, and what is known of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

IMAGES, MASKS = "images", "masks"  # folders of a capture
USED = Path("colmap", "masks")  # where COLMAP is to look for features, and not where it is black
LONGEST = 100  # letters of a name
Told = Callable[[str, int, int], None]  # what, how many are done, of how many; raises KeyboardInterrupt to stop it


@dataclass(frozen=True)
class Taken:
    """A picture of a capture.

    Attributes:
        name: of its file in `images`.
        source: the file that it comes from; `shown`, as the user calls it; `mark`, by which it is told from another one
            of that name.
        device: what tells cameras apart: two pictures of one device have one lens.
        size: (width, height).
        sharp: variance of the Laplacian of a small one.
        focal: focal length in diagonals of the picture, where EXIF says one.
        up: as in `arf.media.exif.Exif`.
        frame: number of the frame, of a clip.
        mask: whether it has one in `masks`.
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
    """A photograph that cannot be used, or has no camera, and why."""

    shown: str
    why: str


def mark_of(*files: Path | None) -> str:
    """Sizes and times of files: whether they are as they were."""
    found = [file.stat() for file in files if file]
    return " ".join(f"{stat.st_size}-{stat.st_mtime_ns}" for stat in found)


def is_plain(name: str) -> bool:
    """Whether `free_name` could have made it, and a suffix: a stranger's notes may name what lies elsewhere."""
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) is not None


def free_name(shown: str, names: set[str]) -> str:
    """A plain name of letters, digits and - _ . that is not among the names yet, and then is."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", shown)[-LONGEST:].lstrip(".") or "photo"
    name, number = stem, 1
    while name.lower() in names:
        number += 1
        name = f"{stem}-{number}"
    names.add(name.lower())
    return name

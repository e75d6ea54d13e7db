"""SIFT features of a capture's pictures, in COLMAP's database; one camera per device.

Its pixels are taken to be square, and its lens to be centred: an orbit at one height cannot tell the two focal lengths
of OPENCV apart (a synthetic one gave 287 and 242 pixels for 300), and phones need neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from arf.radiance.capture.intake.taken import IMAGES, USED, Taken
from arf.radiance.capture.library import pycolmap
from arf.radiance.capture.sfm.native import Colmap

LONG_SIDE = 1600  # pixels; larger pictures are shrunk for it
DOUBLED = 1024  # pixels of the long side up to which a picture is also looked at enlarged twice
MOST = 8192  # features of a picture, about
USUAL, FAINT = (0.0067, 10.0), (0.0003, 40.0)  # thresholds of contrast and of edges: COLMAP's, and such as give more
OCTAVES = 4  # of a picture, each of half the size; one more for faint features
MARKER = "faint"  # a file beside the database: its features are those of FAINT
PLAIN = 600  # features that are few
MANY = 8  # pictures of one device from which a second coefficient of its lens can be told


def extract(
    colmap: Colmap, database: Path, folder: Path, taken: Sequence[Taken], threads: int, told: Callable[[int], None]
) -> bool:
    """Features of those pictures that have none yet.

    Where that gives few, as of smooth walls and plain things, all are looked at again for fainter ones.

    Returns:
        Whether there were few, so that more must be made of them.

    Raises:
        KeyboardInterrupt: `told` does; those that are done are in the database.
    """
    colmap.do("cameras", database=database, images=folder / IMAGES, groups=_groups(taken))
    longest = max(max(picture.size) for picture in taken)
    marker = database.with_name(MARKER)

    def look(faint: bool, afresh: bool = False) -> None:
        contrast, edge = FAINT if faint else USUAL
        colmap.do(
            "extract",
            told,
            database=database,
            images=folder / IMAGES,
            names=[picture.name for picture in taken],
            masks=folder / USED if (folder / USED).is_dir() else None,
            afresh=marker if afresh else "",
            threads=threads,
            long_side=LONG_SIDE,
            most=MOST,
            first_octave=-1 if longest <= DOUBLED else 0,
            octaves=OCTAVES + faint,
            contrast=contrast,
            edge=edge,
        )

    if None in _counts(database):
        look(faint=marker.exists())
    if not marker.exists() and _are_few(database):
        look(faint=True, afresh=True)
    return marker.exists()


def _are_few(database: Path) -> bool:
    return median(count or 0 for count in _counts(database)) < PLAIN


def _counts(database: Path) -> list[int | None]:
    """How many features each picture has, None before they were looked for."""
    with closing(pycolmap().Database.open(database)) as opened:
        numbers = [image.image_id for image in opened.read_all_images()]
        return [opened.num_keypoints_for_image(i) if opened.exists_descriptors(i) else None for i in numbers]


def _groups(taken: Sequence[Taken]) -> list[dict[str, Any]]:
    """Pictures of one device, and its camera: a focal length of EXIF is a first guess that is improved later."""
    groups = []
    for _, pictures in groupby(sorted(taken, key=lambda picture: picture.device), key=lambda picture: picture.device):
        group = list(pictures)
        coefficients = 2 if len(group) >= MANY else 1
        focal = next((picture.focal for picture in group if picture.focal), None)
        width, height = group[0].size
        params = [focal * math.hypot(width, height), width / 2, height / 2, *[0.0] * coefficients] if focal else None
        model = "RADIAL" if coefficients == 2 else "SIMPLE_RADIAL"
        groups.append({"names": [picture.name for picture in group], "model": model, "params": params})
    return groups

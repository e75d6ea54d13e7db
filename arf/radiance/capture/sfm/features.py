"""SIFT features of a capture's pictures, in COLMAP's database; one camera per device.

Its pixels are taken to be square, and its lens to be centred: an orbit at one height cannot tell the two focal lengths
of OPENCV apart (a synthetic one gave 287 and 242 pixels for 300), and phones need neither.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from arf.radiance.capture.intake.taken import IMAGES, USED, Taken
from arf.radiance.capture.library import pycolmap
from arf.radiance.capture.sfm.native import watched

LONG_SIDE = 1600  # pixels; larger pictures are shrunk for it
DOUBLED = 1024  # pixels of the long side up to which a picture is also looked at enlarged twice
MOST = 8192  # features of a picture, about
PLAIN, FAINT = 600, (0.001, 20.0)  # features that are few; thresholds of contrast and of edges that give more
MANY = 8  # pictures of one device from which a second coefficient of its lens can be told


def extract(database: Path, folder: Path, taken: Sequence[Taken], threads: int, told: Callable[[int], None]) -> bool:
    """Features of those pictures that have none yet.

    Where that gives few, as of smooth walls and plain things, all are looked at again for fainter ones.

    Returns:
        Whether there are few nevertheless, so that more must be made of them.

    Raises:
        KeyboardInterrupt: `told` does; those that are done are in the database.
    """
    _cameras(database, folder, taken)
    with closing(pycolmap().Database.open(database)) as opened:  # SQLite's own locks hold within one library alone
        numbers = [image.image_id for image in opened.read_all_images()]

        def done() -> int:
            return sum(map(opened.exists_descriptors, numbers))

        def few() -> bool:
            return median(map(opened.num_keypoints_for_image, numbers)) < PLAIN

        if done() < len(numbers):
            watched(_work(database, folder, taken, threads, faint=False), done, told)
            if few():
                opened.clear_keypoints()
                opened.clear_descriptors()
                watched(_work(database, folder, taken, threads, faint=True), done, told)
        return few()


def _work(database: Path, folder: Path, taken: Sequence[Taken], threads: int, faint: bool) -> Callable[[Any], None]:
    colmap = pycolmap()
    options, reader = colmap.FeatureExtractionOptions(), colmap.ImageReaderOptions()
    options.num_threads, options.max_image_size, options.use_gpu = threads, LONG_SIDE, False
    options.sift.max_num_features = MOST
    options.sift.first_octave = -1 if max(max(picture.size) for picture in taken) <= DOUBLED else 0
    if faint:
        options.sift.peak_threshold, options.sift.edge_threshold = FAINT
    if (folder / USED).is_dir():
        reader.mask_path = folder / USED
    names = [picture.name for picture in taken]

    def work(token: Any) -> None:
        colmap.extract_features(
            database,
            folder / IMAGES,
            image_names=names,
            reader_options=reader,
            extraction_options=options,
            device=colmap.Device.cpu,
            cancellation_token=token,
        )

    return work


def _cameras(database: Path, folder: Path, taken: Sequence[Taken]) -> None:
    """Cameras and pictures into the database; a focal length of EXIF is a first guess that is improved later."""
    colmap = pycolmap()
    with closing(colmap.Database.open(database)) as opened:
        cameras = {image.name: image.camera_id for image in opened.read_all_images()}
    for _, group in groupby(sorted(taken, key=lambda picture: picture.device), key=lambda picture: picture.device):
        pictures = list(group)
        fresh = [picture.name for picture in pictures if picture.name not in cameras]
        if not fresh:
            continue
        options = colmap.ImageReaderOptions()
        coefficients = 2 if len(pictures) >= MANY else 1
        options.camera_model = "RADIAL" if coefficients == 2 else "SIMPLE_RADIAL"
        known = next((cameras[picture.name] for picture in pictures if picture.name in cameras), None)
        focal = next((picture.focal for picture in pictures if picture.focal), None)
        if known is not None:
            options.existing_camera_id = known
        elif focal:
            width, height = pictures[0].size
            first = (focal * math.hypot(width, height), width / 2, height / 2, *[0.0] * coefficients)
            options.camera_params = ",".join(map(str, first))
        colmap.import_images(database, folder / IMAGES, colmap.CameraMode.SINGLE, fresh, options)


def threads_of(asked: int | None) -> int:
    """As many threads as asked for, or as this process has cores."""
    return asked or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

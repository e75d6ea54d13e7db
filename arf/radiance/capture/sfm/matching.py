"""Features of pairs of pictures matched and verified, in COLMAP's database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from arf.jobs.files import atomic_path
from arf.radiance.capture.library import pycolmap
from arf.radiance.capture.sfm.native import watched

SEED = 0  # of every random draw
BLOCK = 50  # pairs that are written together: what is lost where the process is killed
CLEAR, LESS_CLEAR = 0.8, 0.9  # nearest to second nearest distance; of photographs that found no place with the first
Pairs = Sequence[tuple[str, str]]


def match(
    database: Path,
    pairs: Pairs,
    threads: int,
    plain: bool,
    pixels: float,
    told: Callable[[int], None],
    clear: float = CLEAR,
) -> None:
    """Match those pairs that have not been matched yet.

    Args:
        plain: whether features are few: then they are looked for once more, where the first matches let expect them.
        pixels: that a match may be off.
        clear: how much nearer than the second nearest feature a match must be.

    Raises:
        KeyboardInterrupt: `told` does; those that are done are in the database.
    """
    colmap = pycolmap()
    matching, pairing, verifying = (
        colmap.FeatureMatchingOptions(),
        colmap.ImportedPairingOptions(),
        colmap.TwoViewGeometryOptions(),
    )
    matching.num_threads, matching.use_gpu = threads, False
    matching.guided_matching, matching.sift.max_ratio = plain, clear
    verifying.ransac.random_seed, verifying.ransac.max_error = SEED, pixels
    listed = database.with_name("pairs.txt")
    with atomic_path(listed) as temporary:
        temporary.write_text("".join(f"{a} {b}\n" for a, b in pairs), encoding="utf-8")
    pairing.match_list_path, pairing.block_size = listed, BLOCK

    def work(token: Any) -> None:
        colmap.match_image_pairs(
            database, matching, pairing, verifying, device=colmap.Device.cpu, cancellation_token=token
        )

    with closing(colmap.Database.open(database)) as opened:
        watched(work, opened.num_matched_image_pairs, told)


def forget(database: Path, pairs: Pairs) -> int:
    """Drop what is known of these pairs; returns how many others are left."""
    with closing(pycolmap().Database.open(database)) as opened:
        numbers = {image.name: image.image_id for image in opened.read_all_images()}
        for pair in pairs:
            a, b = (numbers[name] for name in pair)
            if opened.exists_matches(a, b):
                opened.delete_matches(a, b)
            if opened.exists_two_view_geometry(a, b):
                opened.delete_two_view_geometry(a, b)
        return opened.num_matched_image_pairs()

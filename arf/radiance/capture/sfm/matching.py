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


def match(
    database: Path,
    pairs: Sequence[tuple[str, str]],
    threads: int,
    plain: bool,
    pixels: float,
    told: Callable[[int], None],
) -> None:
    """Match those pairs that have not been matched yet.

    Args:
        plain: whether features are few: then they are looked for once more, where the first matches let expect them.
        pixels: that a match may be off.

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
    matching.guided_matching = plain
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

"""Features of pairs of pictures matched and verified, in COLMAP's database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from arf.jobs.files import atomic_path
from arf.radiance.capture.sfm.native import Colmap

CLEAR, LESS_CLEAR = 0.8, 0.9  # nearest to second nearest distance; of photographs that found no place with the first


def match(
    colmap: Colmap,
    database: Path,
    pairs: Sequence[tuple[str, str]],
    threads: int,
    guided: bool,
    pixels: float,
    told: Callable[[int], None],
    again: bool = False,
) -> None:
    """Match those pairs that have not been matched yet.

    Args:
        guided: whether features are looked for once more, where the first matches let expect them.
        pixels: that a match may be off.
        again: match all of them, less strictly.

    Raises:
        KeyboardInterrupt: `told` does; those that are done are in the database.
    """
    listed = database.with_name("pairs.txt")
    with atomic_path(listed) as temporary:
        temporary.write_text("".join(f"{a} {b}\n" for a, b in pairs), encoding="utf-8")
    clear = LESS_CLEAR if again else CLEAR
    values = {"threads": threads, "guided": guided, "pixels": pixels, "clear": clear}
    colmap.do("match", told, database=database, listed=listed, afresh=again, **values)

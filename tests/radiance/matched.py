"""Whether pairs of pictures that were matched before are matched again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from arf.radiance.capture.library import pycolmap


def blanked(database: Path) -> Callable[[], bool]:
    """Take the matches of one pair away, as if there were none; what is returned tells whether it is still so."""
    with closing(pycolmap().Database.open(database)) as opened:
        numbers = [image.image_id for image in opened.read_all_images()]
        pairs = [(a, b) for a in numbers for b in numbers if a < b and opened.exists_matches(a, b)]
        pair = min(pairs, key=lambda pair: len(opened.read_matches(*pair)) or np.inf)  # the one that matters least
        assert len(opened.read_matches(*pair))
        opened.delete_matches(*pair)
        opened.write_matches(*pair, np.zeros((0, 2), np.uint32))

    def still() -> bool:
        with closing(pycolmap().Database.open(database)) as opened:
            return len(opened.read_matches(*pair)) == 0

    assert still()
    return still

"""Paint the bundled style pictures, all by code of our own (scripts/styles/, one module each).

python scripts/make_styles.py data/styles [--only strokes mosaic ...] [--seed 0]
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from arf.jobs.files import atomic_path

NAMES = ("strokes", "stained_glass", "woodcut", "pointillism", "geometric", "mosaic")
QUALITY = 90


def make_style(name: str, folder: Path, seed: int = 0) -> Path:
    """Paint one picture into `folder` as NAME.jpg; the same seed gives the same bytes."""
    picture = importlib.import_module(f"styles.{name}").paint(seed)
    path = folder / f"{name}.jpg"
    with atomic_path(path) as temporary:
        picture.save(temporary, format="JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        path = make_style(name, options.folder, options.seed)
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

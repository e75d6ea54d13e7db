"""Which files are a capture's photographs: one finder for every format.

Names in a capture's files come from other machines: separators, case, suffix and encoding may differ. Only regular
files are ever opened, and only such as lie below the capture's folder by name; a link there may lead elsewhere.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from arf.errors import UserError
from arf.media.decode import PICTURE_SUFFIXES


class Finder:
    """Finds what a capture's files name.

    Args:
        root: the capture's folder.
        allow_outside: whether names may lead out of it.
    """

    def __init__(self, root: Path, allow_outside: bool = False) -> None:
        self.root = root
        self.allow_outside = allow_outside
        self._listings: dict[Path, dict[str, list[str]]] = {}
        self._factors: dict[str, list[int]] = {}

    def find(self, name: str, folder: str = "", where: object = "the capture") -> Path | None:
        """The picture of this name in a folder below the root, or None.

        The name itself wins; then one that differs in case, in lacking its suffix, or in its suffix.

        Raises:
            UserError: the name leads out of the root, which is not allowed.
        """
        for spelled in dict.fromkeys((name, name.replace("\\", "/"))):
            path = self._below_root(os.path.join(folder, spelled), where)
            if os.path.isfile(path):
                return path
            start = self.root if path.is_relative_to(self.root) else Path(path.anchor)
            if found := self._match(start, path.relative_to(start).parts):
                return found
        return None

    def factors(self, folder: str = "") -> list[int]:
        """The N of the folders images_N that lie there with pictures in them; 1 is `images`."""
        if folder not in self._factors:
            self._factors[folder] = list(picture_folders(self.root / folder))
        return self._factors[folder]

    def _below_root(self, name: str, where: object) -> Path:
        """The path that a name means, `..` resolved by name alone."""
        name = os.path.normpath(name)
        if os.path.isabs(name):
            for root in (os.path.abspath(self.root), os.path.realpath(self.root)):
                if Path(name).is_relative_to(root):
                    return self.root / os.path.relpath(name, root)
        outside = os.path.isabs(name) or Path(name).parts[:1] == ("..",)
        if outside and not self.allow_outside:
            raise UserError(f"{where} names {name}, outside of {self.root}; if you trust it, give --allow-outside")
        return self.root / name

    def _match(self, folder: Path, parts: tuple[str, ...]) -> Path | None:
        """The picture that nearly has this path below a folder."""
        for part in parts[:-1]:
            if not os.path.isdir(folder / part):
                part = next(iter(self._alike(folder, part)), part)
            folder = folder / part
        if not parts:
            return None
        stem, suffix = os.path.splitext(parts[-1])
        stems = [parts[-1], stem] if suffix.lower() in PICTURE_SUFFIXES else [parts[-1]]
        names = [parts[-1], *(stem + other for stem in stems for other in PICTURE_SUFFIXES)]
        paths = (folder / actual for name in names for actual in self._alike(folder, name))
        return next((path for path in paths if os.path.isfile(path)), None)

    def _alike(self, folder: Path, name: str) -> list[str]:
        """The names in a folder that differ from this one in case or in Unicode's form only."""
        if folder not in self._listings:
            listing: dict[str, list[str]] = {}
            for actual in _names(folder):
                listing.setdefault(_key(actual), []).append(actual)
            self._listings[folder] = listing
        return self._listings[folder].get(_key(name), [])


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name."""
    return [folder / name for name in _names(folder) if _is_picture(folder / name)]


def picture_folders(root: Path, stem: str = "images") -> dict[int, Path]:
    """`images` (factor 1) and `images_N` (factor N) of a folder, those that hold pictures, by factor."""
    numbers = {name: name.removeprefix(f"{stem}_") for name in _names(root) if name.startswith(f"{stem}_")}
    named = {1: root / stem} | {int(n): root / name for name, n in numbers.items() if n.isdecimal() and int(n) > 1}
    return {n: path for n, path in sorted(named.items()) if any(map(_is_picture, _below(path)))}


def _below(folder: Path) -> Iterator[Path]:
    return (Path(parent, name) for parent, _, names in os.walk(folder, followlinks=False) for name in names)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and os.path.isfile(path)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):  # none, no folder, not ours to read, a name that no file can have
        return []


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()

"""What was given: which photographs and clips lie in the folders and files that somebody names."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from arf.errors import UserError
from arf.jobs.files import fingerprint
from arf.jobs.runs import INFO
from arf.media.decode import PICTURE_SUFFIXES
from arf.media.signature import VIDEO_SUFFIXES, is_video
from arf.radiance.capture.files import picture_folders

log = logging.getLogger(__name__)
NOTES = "arf_cameras.json"  # of a capture that was made of photographs
OURS = {NOTES, INFO}  # who holds one of these is no folder of photographs
MASKS = "masks"  # a folder of pictures that are black where the photograph of that name is not to be used


@dataclass(frozen=True)
class Pile:
    """Photographs and clips in the order of their names.

    Attributes:
        shown: how each file is called before the user: by its path below the folder that was given.
        masks: of photographs that have one.
    """

    photographs: list[Path] = field(default_factory=list)
    clips: list[Path] = field(default_factory=list)
    shown: dict[Path, str] = field(default_factory=dict)
    masks: dict[Path, Path] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.photographs) + len(self.clips)


def gather(paths: Sequence[Path], without: Sequence[Path] = ()) -> Pile:
    """The photographs and clips of folders, all that lies below them, and of files.

    Left out, each kind with a word: copies of one file, and the short clips of live photos, which have a photograph's
    name. `images_2` and its like are left out beside `images`.

    Args:
        without: folders that are passed over, where they lie in one of those; so are runs and captures of ours.

    Raises:
        UserError: there is no such file, or no photograph and no clip.
    """
    pile = Pile()
    for path in paths:
        if not os.path.exists(path):
            raise UserError(f"no photographs at {path}: there is no such file or folder")
        if path.is_dir():
            for file in _below(path, without):
                _sort(pile, file, path, _is_clip(file))
        else:
            _sort(pile, path, path.parent, is_video(path))
    if not len(pile):
        named = ", ".join(map(str, paths[:3]))
        raise UserError(f"{named} holds no photograph and no video; name a folder of photographs, or a clip")
    lively = {photograph.with_suffix("") for photograph in pile.photographs}
    _leave_out(
        pile.clips, [clip for clip in pile.clips if clip.with_suffix("") in lively], "clips of live photos", pile
    )
    _leave_out(pile.photographs, _copies(pile.photographs), "copies of other photographs", pile)
    return pile


def holds_pictures(path: Path) -> bool:
    """Whether a file is a picture or a clip, or a folder holds some."""
    if path.is_dir():
        return any(_is_picture(file) or _is_clip(file) for file in _below(path))
    return os.path.isfile(path) and (_is_picture(path) or is_video(path))


def _below(folder: Path, without: Sequence[Path] = ()) -> Iterator[Path]:
    """Files, folder by folder, those of MASKS and hidden ones left out."""
    skipped = [os.path.realpath(path) for path in without]
    for here, folders, names in os.walk(folder):
        if here != str(folder) and not OURS.isdisjoint(names):
            folders.clear()
            continue
        smaller = {f"images_{n}" for n in picture_folders(Path(here)) if n > 1} if "images" in folders else set()
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name != MASKS and name not in smaller
            and os.path.realpath(os.path.join(here, name)) not in skipped
        )  # fmt: skip
        yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


def _sort(pile: Pile, file: Path, root: Path, clip: bool) -> None:
    if file in pile.shown:
        return
    if _is_picture(file):
        pile.photographs.append(file)
        if mask := _mask(file, root):
            pile.masks[file] = mask
    elif clip:
        pile.clips.append(file)
    else:
        return
    pile.shown[file] = str(file.relative_to(root))


def _mask(photograph: Path, root: Path) -> Path | None:
    """masks/a.png, or masks/a.jpg.png, of a.jpg: beside it, beside its folder, or in the root."""
    for folder in dict.fromkeys((photograph.parent, photograph.parent.parent, root)):
        for stem in (photograph.name, photograph.stem):
            for suffix in ("", *PICTURE_SUFFIXES):
                if os.path.isfile(found := folder / MASKS / f"{stem}{suffix}"):
                    return found
    return None


def _copies(photographs: Sequence[Path]) -> list[Path]:
    """Files that hold what an earlier one holds."""
    sizes: dict[int, list[Path]] = {}
    for path in photographs:
        sizes.setdefault(path.stat().st_size, []).append(path)
    copies, seen = [], set()
    for size, alike in sizes.items():
        for path in alike if len(alike) > 1 else ():
            print_ = (size, fingerprint(path))
            copies += [path] * (print_ in seen)
            seen.add(print_)
    return copies


def _leave_out(files: list[Path], unwanted: list[Path], what: str, pile: Pile) -> None:
    if unwanted:
        log.warning("leaving out %d %s, first %s", len(unwanted), what, pile.shown[unwanted[0]])
    for file in unwanted:
        files.remove(file)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and os.path.isfile(path)


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(path)

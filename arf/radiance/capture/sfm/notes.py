"""What a capture of ours was made of, and what of it is still good when it is asked for again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.files import plain, read_json, write_json
from arf.jobs.runs import check_text
from arf.radiance.capture.intake.pile import NOTES
from arf.radiance.capture.intake.taken import IMAGES, MASKS, USED, Skipped, Taken, is_plain
from arf.radiance.capture.sfm.features import MARKER
from arf.radiance.capture.sfm.verdict import Found
from arf.radiance.capture.sfm.writing import MODEL, POINTS, TRANSFORMS
from arf.radiance.settings import CameraSettings

FORMAT = 1  # of the notes
DATABASE = Path("colmap", "database.db")
SQLITE = b"SQLite format 3\0"  # how a database begins


@dataclass(frozen=True)
class Notes:
    """What a capture of ours was made of.

    Attributes:
        given: the folders and files that were named.
        asked: the settings.
        marks: by which what was given is told from anything else.
        taken: its pictures, and `skipped`: photographs that cannot be used.
        found: what came out, None before that.
    """

    format: int
    arf: str
    given: list[str]
    asked: CameraSettings
    marks: list[str]
    taken: list[Taken] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    found: Found | None = None


def write_notes(folder: Path, notes: Notes) -> None:
    """
    Raises:
        UserError: they cannot be written.
    """
    write_json(folder / NOTES, plain(notes))


def read_notes(folder: Path) -> Notes | None:
    """The notes of a folder; None where it has none.

    Raises:
        UserError: they are damaged, of another version, or name what is none of ours.
    """
    if not (folder / NOTES).is_file():
        return None
    remedy = "remove the folder"
    notes = admit(Notes, read_json(folder / NOTES), folder / NOTES, remedy)
    if notes.format != FORMAT:
        raise UserError(f"{folder / NOTES} is of another version of arf; {remedy}")
    if strange := next((one.name for one in notes.taken if not is_plain(one.name)), None):
        raise UserError(f"{folder / NOTES} names the picture {strange!r}, which is none of ours; {remedy}")
    return notes


def check_folder(folder: Path, files: Collection[Path], given: Sequence[str]) -> None:
    """Raises UserError where a capture would be written over something else."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder for the capture with --output")
    if folder.is_dir() and not (folder / NOTES).is_file() and any(folder.iterdir()):
        raise UserError(f"{folder} holds something already; name a new folder for the capture with --output")
    check_text(folder)  # nor can COLMAP
    inside = os.path.realpath(folder / IMAGES)
    if taken := next((path for path in files if os.path.realpath(path.parent) == inside), None):
        raise UserError(f"{taken} lies in the capture itself; name the folder of the original photographs")
    if (before := read_notes(folder)) and not set(before.given) <= set(given):
        raise UserError(f"{folder} is the capture of {before.given[0]}; name another folder with --output")


def is_done(before: Notes, now: Notes, folder: Path) -> bool:
    """Whether nothing that matters for the cameras is another, and all is there."""
    there = (folder / TRANSFORMS).is_file() and all((folder / IMAGES / one.name).is_file() for one in before.taken)
    return there and (before.marks, before.asked.matching) == (now.marks, now.asked.matching)


def drop_results(folder: Path) -> None:
    """Remove the cameras and points, before the pictures become others."""
    for path in (folder / TRANSFORMS, folder / POINTS):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / MODEL.parent, ignore_errors=True)


def forget(folder: Path, old: Sequence[Taken], taken: Sequence[Taken]) -> None:
    """Drop the pictures that are no longer wanted; and the features of all, unless they have only become more."""
    gone = {picture.name for picture in old} - {picture.name for picture in taken}
    for name in gone:
        for path in (folder / IMAGES / name, folder / MASKS / f"{name}.png", folder / USED / f"{name}.png"):
            path.unlink(missing_ok=True)
    database = folder / DATABASE
    if not set(old) <= set(taken) or not _is_sound(database):
        for suffix in ("", "-journal", "-wal", "-shm"):
            folder.joinpath(f"{DATABASE}{suffix}").unlink(missing_ok=True)
        database.with_name(MARKER).unlink(missing_ok=True)


def _is_sound(database: Path) -> bool:
    if not database.is_file():
        return True
    with open(database, "rb") as file:
        return file.read(len(SQLITE)) == SQLITE

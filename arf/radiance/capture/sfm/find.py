"""From photographs and clips to a capture: the whole way, each part of it kept for the next call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import arf
from arf.errors import UserError
from arf.jobs.checks import check_unused
from arf.jobs.files import cannot_write
from arf.jobs.interrupts import held_interrupts
from arf.jobs.locks import owned
from arf.jobs.machine import allowed_threads
from arf.radiance.capture.capture import known_format
from arf.radiance.capture.intake.clips import mark_of_clips, take_frames
from arf.radiance.capture.intake.photographs import fill_masks, take_photographs
from arf.radiance.capture.intake.pile import Pile, gather, holds_pictures
from arf.radiance.capture.intake.taken import IMAGES, USED, Skipped, Taken, Told, mark_of
from arf.radiance.capture.sfm.features import extract
from arf.radiance.capture.sfm.mapping import reconstruct
from arf.radiance.capture.sfm.matching import match
from arf.radiance.capture.sfm.native import Colmap
from arf.radiance.capture.sfm.notes import (
    DATABASE,
    FORMAT,
    Notes,
    check_folder,
    drop_results,
    forget,
    is_done,
    read_notes,
    write_notes,
)
from arf.radiance.capture.sfm.pairs import choose_pairs, partners
from arf.radiance.capture.sfm.upright import registered, stand_up
from arf.radiance.capture.sfm.verdict import Found, judge
from arf.radiance.capture.sfm.writing import write_capture
from arf.radiance.settings import CameraSettings

log = logging.getLogger(__name__)
Progress = Callable[[str, int, int, dict[str, float]], None]  # what, step, steps, figures
Stopped = Callable[[], bool]
FEWEST = 3  # photographs
MANY_LOST = 0.25  # share of photographs without a place: more of them are of another place
PIXELS, LARGE = 4.0, 800  # that a match may be off; less, down to half of it, in pictures whose long side is shorter


def find_cameras(
    paths: Sequence[Path],
    folder: Path,
    settings: CameraSettings,
    progress: Progress = lambda *_: None,
    without: Sequence[Path] = (),
) -> Found:
    """Make a capture of photographs and clips without cameras.

    What an earlier call has made of the same photographs is used again: pictures, features, matches, and all of it
    where nothing has changed.

    Args:
        paths: folders, pictures and videos.
        folder: of the capture; new, empty, or one that this function has made of these.
        without: folders that are passed over, where photographs are looked for.

    Raises:
        UserError: bad input, or no camera can be found; says why, and what would help.
        KeyboardInterrupt: what was done is kept, and the same call goes on with it.
    """
    settings.check()
    pile = gather(paths, without=[folder, *without])
    if not pile.clips:
        check_unused(settings, ("frames",), "without a video")
    if not pile.clips and len(pile) < FEWEST:
        raise UserError(f"{_named(paths)}: different photographs: {len(pile)}; {FEWEST} are needed at least, better 30")
    check_folder(folder, pile.shown, _given(paths))
    with owned(folder, remedy="wait for it"):
        try:
            with held_interrupts() as stopped:
                return _found(pile, paths, folder, settings, progress, stopped)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt("; what was done is kept, the same command goes on with it") from stop


def as_capture(
    paths: Sequence[Path], output: Path, settings: CameraSettings, progress: Progress = lambda *_: None
) -> Path:
    """The capture that is meant: what is named, where that has cameras; else one that `find_cameras` makes below
    `output`.

    Raises:
        UserError: as `find_cameras`; or settings for clips and photographs are given for what has cameras.
    """
    ours = read_notes(paths[0]) if len(paths) == 1 else None
    if ours and not ours.found:  # its notes may be a stranger's: they are not followed
        raise UserError(f"{paths[0]} has no cameras yet; name the photographs that it is made of, and they are found")
    if len(paths) == 1 and (known_format(paths[0]) or not holds_pictures(paths[0])):
        check_unused(settings, ("frames", "matching"), f"for {paths[0]}, which has cameras")
        return paths[0]
    folder = place_for(paths, output)
    find_cameras(paths, folder, settings, progress, without=[output])
    return folder


def place_for(paths: Sequence[Path], output: Path) -> Path:
    """The folder below `output` where the capture of these photographs goes, the same one at each call."""
    first, given = min(paths), _given(paths)
    folder = first.resolve() if first.is_dir() else first.resolve().parent
    folder = folder.parent if folder.name == IMAGES else folder
    stem = first.stem if len(paths) == 1 and not first.is_dir() else folder.name
    number = 1
    while True:
        folder = output / "captures" / (f"{stem or 'photos'}-{number}" if number > 1 else stem or "photos")
        if not folder.exists() or ((notes := read_notes(folder)) and notes.given == given):
            return folder
        number += 1


def _found(
    pile: Pile, paths: Sequence[Path], folder: Path, settings: CameraSettings, progress: Progress, stopped: Stopped
) -> Found:
    before, threads = read_notes(folder), allowed_threads()
    old = before.taken if before else []
    notes = Notes(FORMAT, arf.__version__, _given(paths), settings, _marks(pile, settings))
    if before and before.found and is_done(before, notes, folder):
        return _reported(before.found)

    def told(what: str, done: int, of: int) -> None:
        progress(what, min(done, of), of, {})
        if stopped():
            raise KeyboardInterrupt

    drop_results(folder)  # their pictures may become others
    write_notes(folder, replace(notes, taken=old))  # the folder is ours from now on
    names: set[str] = set()
    taken, skipped = take_photographs(pile, folder, old, names, threads, told)
    if pile.clips:
        frames, damaged = take_frames(pile, folder, old, settings.frames, names, told)
        taken, skipped = taken + frames, skipped + damaged
    if len(taken) < FEWEST:
        raise UserError(_too_few(paths, taken, skipped, bool(pile.clips)))
    forget(folder, old, taken)
    notes = replace(notes, taken=taken, skipped=skipped)
    write_notes(folder, notes)
    found = _solve(folder, notes, threads, told)
    write_notes(folder, replace(notes, found=found))
    return _reported(found)


def _marks(pile: Pile, settings: CameraSettings) -> list[str]:
    photographs = [f"{path.resolve()} {mark_of(path, pile.masks.get(path))}" for path in pile.photographs]
    return [*photographs, *[mark_of_clips(pile, settings.frames)] * bool(pile.clips)]


def _given(paths: Sequence[Path]) -> list[str]:
    return sorted(str(path.resolve()) for path in paths)


def _solve(folder: Path, notes: Notes, threads: int, told: Told) -> Found:
    """Features, matches, cameras, and the files of the capture."""
    database, taken, settings = folder / DATABASE, notes.taken, notes.asked
    names = [picture.name for picture in taken]
    pixels = PIXELS * min(1.0, max(0.5, max(max(picture.size) for picture in taken) / LARGE))
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(database, error) from error
    fill_masks(folder / USED, taken)  # COLMAP leaves out who has none where others have one
    with Colmap(folder) as colmap:
        plain = extract(colmap, database, folder, taken, threads, lambda n: told("features", n, len(names)))
        clips = [picture.source if picture.frame is not None else None for picture in taken]
        pairs = choose_pairs(database, names, clips, settings.matching, lambda n: told("pairs", n, len(names)))
        compare = partial(match, colmap, database, threads=threads, pixels=pixels)
        compare(pairs, guided=plain, told=lambda n: told("matches", n, len(pairs)))
        mapping = folder / "colmap" / ".mapping"
        place = partial(reconstruct, colmap, database, folder / IMAGES, mapping, threads, plain, pixels)
        pieces = place(lambda n: told("cameras", n, len(names)))
        lost = sorted(set(names) - {image.name for image in registered(pieces[0])}) if pieces else []
        if lost and len(lost) <= len(names) * MANY_LOST:  # a second look, now that the place is known
            pairs = partners(database, names, lost, lambda n: told("pairs", n, len(names)))
            compare(pairs, guided=True, told=lambda n: told("the rest", n, len(pairs)), again=True)
            more = place(lambda n: told("the rest", len(pairs), len(pairs)), pieces[0])
            pieces[:1] = sorted([*more, pieces[0]], key=lambda piece: -piece.num_reg_images())[:1]
    found = judge(database, pieces, taken, notes.skipped)
    stand_up(pieces[0], {picture.name: picture.up for picture in taken if picture.up})
    write_capture(pieces[0], folder, {picture.name: picture for picture in taken})
    return found


def _reported(found: Found) -> Found:
    for line in found.warnings:
        log.warning("%s", line)
    return found


def _too_few(paths: Sequence[Path], taken: Sequence[Taken], skipped: Sequence[Skipped], clips: bool) -> str:
    if clips:
        return f"{_named(paths)}: the camera hardly moves (frames that differ: {len(taken)}); walk around the place"
    named = "; ".join(f"{left.shown}: {left.why}" for left in skipped[:3])
    return f"{_named(paths)}: {len(taken)} photographs can be read, {FEWEST} are needed ({named})"


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths[:3])) + (", …" if len(paths) > 3 else "")

"""Frames of clips into a capture's folder, shared out by how far the camera comes in each clip."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from arf.errors import UserError
from arf.jobs.machine import Starved
from arf.media.footage import Footage, probe
from arf.media.stills import Way, choose, look, write_stills
from arf.radiance.capture.intake.pile import Pile
from arf.radiance.capture.intake.taken import IMAGES, Skipped, Taken, Told, free_name, mark_of

FEWEST = 3  # frames of a clip


def take_frames(
    pile: Pile, folder: Path, before: Sequence[Taken], frames: int, names: set[str], told: Told
) -> tuple[list[Taken], list[Skipped]]:
    """Write frames of the clips as pictures; those of before are used again where nothing has changed.

    Args:
        frames: about how many, of all clips together.
        names: that are taken, without suffixes.

    Returns:
        Those that are there now, and clips that cannot be read.

    Raises:
        UserError: a picture cannot be written, or there is nothing but clips that cannot be read.
    """
    mark = mark_of_clips(pile, frames)
    kept = [taken for taken in before if taken.frame is not None and taken.mark == mark]
    stems = {taken.name.rsplit(".", 1)[0].lower() for taken in kept}
    if kept and stems.isdisjoint(names) and all((folder / IMAGES / taken.name).is_file() for taken in kept):
        names |= stems
        return kept, []
    looks, skipped = {}, []
    for clip in pile.clips:
        try:
            footage = probe(clip)
            looks[clip] = footage, *look(footage, lambda i, n: told("video", i + 1, n))
        except Starved:
            raise
        except UserError as error:
            if len(pile) == 1:
                raise
            skipped.append(Skipped(pile.shown[clip], str(error).removeprefix(f"{clip} ").removeprefix("is ")))
    long = sum(_long(way) for _, way, _ in looks.values())
    taken: list[Taken] = []
    for clip, (footage, way, sharp) in looks.items():
        share = max(FEWEST, round(frames * _long(way) / long)) if long else FEWEST
        shown = os.path.splitext(pile.shown[clip])[0]
        chosen = choose(way, sharp, share)
        paths = [folder / IMAGES / f"{free_name(f'{shown}_{frame:06d}', names)}.jpg" for frame in chosen]
        for frame, path in zip(chosen, write_stills(footage, chosen, paths), strict=False):
            taken.append(_taken(clip, pile.shown[clip], footage, frame, path.name, float(sharp[frame]), mark))
            told("frames", len(taken), frames)
    return taken, skipped


def mark_of_clips(pile: Pile, frames: int) -> str:
    """By which frames are told from others: they are shared out, so that one clip more leaves each of them fewer."""
    return " ".join([*(f"{clip.resolve()} {mark_of(clip)}" for clip in pile.clips), f"{frames} frames"])


def _long(way: Way) -> float:
    return float(way[-1] - way[0])


def _taken(clip: Path, shown: str, footage: Footage, frame: int, name: str, sharp: float, mark: str) -> Taken:
    return Taken(
        name=name,
        source=str(clip.resolve()),
        shown=f"{shown} at {frame / float(footage.fps):.1f} s",
        mark=mark,
        device=str(clip.resolve()),
        size=(footage.width, footage.height),
        sharp=sharp,
        frame=frame,
    )

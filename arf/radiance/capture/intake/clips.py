"""Frames of clips into a capture's folder, shared out by how far the camera comes in each clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from arf.media.footage import Footage, probe
from arf.media.stills import Way, choose, look, write_stills
from arf.radiance.capture.intake.pile import Pile
from arf.radiance.capture.intake.taken import IMAGES, Taken, Told, free_name, mark_of

FEWEST = 3  # frames of a clip


def take_frames(
    pile: Pile, folder: Path, before: Sequence[Taken], frames: int, names: set[str], told: Told
) -> list[Taken]:
    """Write frames of the clips as pictures; those of before are used again where nothing has changed.

    Args:
        frames: about how many, of all clips together.
        names: that are taken.

    Raises:
        UserError: a clip cannot be decoded, or a picture cannot be written.
    """
    marks = {clip: f"{mark_of(clip)} {frames}" for clip in pile.clips}
    whole = " ".join(marks.values())  # frames are shared out: one clip more, and all have fewer
    kept = [taken for taken in before if taken.frame is not None and taken.mark == whole]
    sources = {str(clip.resolve()) for clip in pile.clips}
    if {taken.source for taken in kept} == sources and all((folder / IMAGES / taken.name).is_file() for taken in kept):
        return kept
    footages = {clip: probe(clip) for clip in pile.clips}
    looks = {clip: look(footage, lambda i, n: told("video", i + 1, n)) for clip, footage in footages.items()}
    long = sum(_long(way) for way, _ in looks.values())
    taken: list[Taken] = []
    for clip, (way, sharp) in looks.items():
        share = max(FEWEST, round(frames * _long(way) / long)) if long else FEWEST
        chosen = choose(way, sharp, share)
        stem = free_name(pile.shown[clip], names)
        for frame, path in _written(footages[clip], chosen, folder / IMAGES / stem):
            taken.append(_taken(clip, pile.shown[clip], footages[clip], frame, path.name, float(sharp[frame]), whole))
            told("frames", len(taken), frames)
    return taken


def _long(way: Way) -> float:
    return float(way[-1] - way[0])


def _written(footage: Footage, frames: Sequence[int], stem: Path) -> Iterator[tuple[int, Path]]:
    paths = [stem.with_name(f"{stem.name}_{frame:06d}.jpg") for frame in frames]
    yield from zip(frames, write_stills(footage, frames, paths), strict=False)


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

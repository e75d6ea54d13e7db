"""Still frames of a video from which a place can be reconstructed: evenly along the camera's way, the sharp ones.

Footage is looked at small and grey. How far the camera has come is measured by what its pictures show: how much they
move, and how much of that no homography explains, which is parallax. Where it stands still there are no frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from arf.jobs.files import atomic_path
from arf.media.footage import Footage

SMALL = 480  # pixels of the long side at which motion is seen
OFTEN = 10  # times a second at which it is
TRACKED, FEWEST = 300, 12  # corners: as many as that at most, and too few to tell
PARALLAX = 3.0  # what a pixel of parallax counts for, in pixels of motion
NOISE = 0.1  # pixels of parallax that tracking makes up
NEAREST = 0.02  # long sides of a part of the way, at least
LOST = 0.25  # long sides that a step counts for in which nothing can be tracked
TERMS = 100  # of one expression: ffmpeg takes no more
BLURRED, AROUND = 0.4, 4  # of the median sharpness of so many frames before and after
Way = Float[np.ndarray, " n"]


def look(footage: Footage, told: Callable[[int, int], None] = lambda *_: None) -> tuple[Way, Float[np.ndarray, " n"]]:
    """How far the camera has come at each frame, in long sides of its picture, and how sharp the frame is.

    Args:
        told: called with the frame's number and how many there are.

    Raises:
        UserError: not one frame can be decoded.
    """
    import cv2  # imports slowly

    way, sharp, step = [], [], max(1, round(footage.fps / OFTEN))
    before, come = None, 0.0
    for i, frame in enumerate(footage.read(footage.fitted(SMALL))):
        grey = cv2.cvtColor(frame.numpy(), cv2.COLOR_RGB2GRAY)
        sharp.append(float(cv2.Laplacian(grey, cv2.CV_32F).var()))
        if i % step == 0:
            come, before = come + (0.0 if before is None else _moved(before, grey)), grey
        way.append(come)
        told(i, max(footage.frames, i + 1))
    return np.interp(np.arange(len(way)), np.arange(0, len(way), step), np.array(way)[::step]), np.array(sharp)


def choose(way: Way, sharp: Float[np.ndarray, " n"], count: int) -> list[int]:
    """The numbers of some `count` frames: the sharpest of each of equally long parts of the way, but for those that
    are far less sharp than their neighbours. Fewer, where they would be nearly the same."""
    long = float(way[-1] - way[0])
    parts = min(count, int(long / NEAREST) + 1)
    part = np.minimum(((way - way[0]) / max(long, 1e-9) * parts).astype(int), parts - 1)
    best = [
        int(members[sharp[members].argmax()])
        for members in (np.flatnonzero(part == p) for p in range(parts))
        if len(members)
    ]
    clear = sharp[best]
    medians = [np.median(clear[max(0, i - AROUND) : i + AROUND + 1]) for i in range(len(best))]
    return [frame for frame, value, median in zip(best, clear, medians, strict=True) if value >= BLURRED * median]


def write_stills(footage: Footage, frames: Sequence[int], paths: Sequence[Path]) -> Iterator[Path]:
    """Write these frames of a video, in their order, as JPEG pictures of full size; each file as it is done.

    Raises:
        UserError: as `Footage.read`; or a file cannot be written.
    """
    for first in range(0, len(frames), TERMS):
        some = slice(first, first + TERMS)
        for frame, path in zip(footage.read(only=frames[some]), paths[some], strict=False):  # a damaged end has none
            with atomic_path(path) as temporary:
                Image.fromarray(frame.numpy()).save(temporary, "JPEG", quality=95, subsampling=0)
            yield path


def _moved(before: UInt8[np.ndarray, "h w"], after: UInt8[np.ndarray, "h w"]) -> float:
    """Motion and parallax between two pictures, in long sides."""
    import cv2

    size = max(before.shape)
    corners = cv2.goodFeaturesToTrack(before, TRACKED, 0.01, 8)
    if corners is None or len(corners) < FEWEST:
        return 0.0  # black, or a plain wall
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, winSize=(21, 21), maxLevel=3)
    seen = found[:, 0] == 1
    start, end = corners[seen, 0], there[seen, 0]
    if len(start) < FEWEST:
        return LOST
    motion = float(np.median(np.linalg.norm(end - start, axis=1)))
    turn, _ = cv2.findHomography(start, end, cv2.RANSAC, 3.0)
    if turn is None:
        return min(motion / size, LOST)
    explained = cv2.perspectiveTransform(start[:, None], turn)[:, 0]
    parallax = float(np.median(np.linalg.norm(end - explained, axis=1)))
    return min((motion + PARALLAX * max(0.0, parallax - NOISE)) / size, LOST)

"""Points that structure from motion has left beside the cameras: COLMAP's points3D.bin or .txt, or a .ply."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.media.ply.header import read_header
from arf.media.ply.rows import read_rows
from arf.radiance.capture.poses import FARTHEST

NAMES = ("points3D.bin", "points3D.txt", "points3D.ply")  # in the folder of a COLMAP model
ROW = struct.Struct("<Q3d3BdQ")  # number, place, colour, error, length of the track, whose entries follow
ENTRY = 8  # bytes of one
GREY = 128  # of points without a colour
Columns = tuple[np.ndarray, np.ndarray]  # places, colours


@dataclass(frozen=True)
class Points:
    """N points on what photographs show.

    Attributes:
        places: float64 [N, 3].
        colors: uint8 [N, 3] RGB.
    """

    places: Float64[np.ndarray, "n 3"]
    colors: UInt8[np.ndarray, "n 3"]

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True)
class PointFile:
    """A file of points, which is read when they are asked for.

    Attributes:
        motion: float64 [3, 4], from the file's frame into the one where they are wanted: x = A x_file + a.
    """

    path: Path
    motion: Float64[np.ndarray, "3 4"]

    def moved(self, motion: Float64[np.ndarray, "3 4"]) -> PointFile:
        """The same, wanted in another frame."""
        turn = motion[:, :3] @ self.motion
        return PointFile(self.path, np.concatenate([turn[:, :3], turn[:, 3:] + motion[:, 3:]], 1))

    def read(self) -> Points:
        """
        Raises:
            UserError: it is damaged, or has gone.
        """
        points = read_points(self.path)
        return Points(points.places @ self.motion[:, :3].T + self.motion[:, 3], points.colors)


def find_points(folder: Path) -> Path | None:
    """The points of a COLMAP model."""
    return next((folder / name for name in NAMES if os.path.isfile(folder / name)), None)


def read_points(path: Path) -> Points:
    """The points of a file, in its own frame; what is not finite, or farther away than anything, is left out.

    Raises:
        UserError: it is damaged, or no such file.
    """
    if refusal := cannot_read(path, "file of points"):
        raise refusal
    try:
        readers = {".bin": _binary, ".txt": _text}
        places, colors = readers.get(path.suffix.lower(), _ply)(path)
    except UserError:
        raise
    except Exception as error:  # struct.error, UnicodeDecodeError, IndexError, OverflowError, ...
        reason = (str(error) or type(error).__name__).splitlines()[0][:80]
        raise UserError(f"{path} cannot be read ({reason}); export the points again") from error
    sound = (np.abs(places) < FARTHEST).all(1)
    return Points(places[sound], colors[sound])


def _binary(path: Path) -> Columns:
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        (count,) = struct.unpack_from("<Q", data)
        if 8 + count * ROW.size > len(data):
            raise ValueError("it is cut short")
        places, colors, at = np.empty((count, 3)), np.empty((count, 3), np.uint8), 8
        for i in range(count):
            _, *numbers, _, track = ROW.unpack_from(data, at)
            places[i], colors[i] = numbers[:3], numbers[3:]
            at += ROW.size + track * ENTRY
        if at > len(data):
            raise ValueError("it is cut short")
    return places, colors


def _text(path: Path) -> Columns:
    rows = []
    with open(path, encoding="utf-8-sig") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                rows.append([float(word) for word in line.split(maxsplit=7)[1:7]])
    table = np.array(rows).reshape(-1, 6)
    return table[:, :3], table[:, 3:].clip(0, 255).astype(np.uint8)


def _ply(path: Path) -> Columns:
    header = read_header(path)
    vertex = header.element("vertex")
    if vertex is None or not {"x", "y", "z"} <= vertex.types.keys():
        raise ValueError("it has no vertices x, y, z")
    colored = {"red", "green", "blue"} <= vertex.types.keys()
    white = 1 if colored and vertex.types["red"] in ("f4", "f8") else 255
    rows = read_rows(path, header, "vertex", "points")  # whether there is room for so many in the file
    places, colors, at = np.empty((vertex.count, 3)), np.full((vertex.count, 3), GREY, np.uint8), 0
    for columns in rows:
        here = slice(at, at := at + len(columns["x"]))
        places[here] = np.stack([columns[name] for name in ("x", "y", "z")], 1)
        if colored:
            rgb = np.stack([columns[name] for name in ("red", "green", "blue")], 1).astype(float)
            colors[here] = (rgb * (255 / white)).clip(0, 255)
    return places, colors

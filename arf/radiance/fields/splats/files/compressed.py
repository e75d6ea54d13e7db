"""Compressed .ply (PlayCanvas, SuperSplat): chunks of 256 splats, 16 bytes each, between bounds of their own.

gsply unpacks it. Its kernel looks up the bounds of a chunk unchecked, so it is handed a file made up anew of what was
found in order here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from arf.media.ply.header import Element, Header, damaged
from arf.media.ply.rows import check_size
from arf.radiance.fields.splats.files.packed import unpacked
from arf.radiance.fields.splats.files.values import DEGREES, check_count
from arf.radiance.fields.splats.splats import Splats

PER_CHUNK = 256
BOUNDS = [f"{end}_{part}{axis}" for part in ("", "scale_") for end in ("min", "max") for axis in "xyz"]
COLOR_BOUNDS = [f"{end}_{channel}" for end in ("min", "max") for channel in "rgb"]  # old files have none: 0 and 1
PACKED = [f"packed_{part}" for part in ("position", "rotation", "scale", "color")]


def is_compressed(header: Header) -> bool:
    """Whether a header is that of a compressed .ply."""
    vertex = header.element("vertex")
    return header.element("chunk") is not None and vertex is not None and PACKED[0] in vertex.types


def read_compressed(path: Path, header: Header) -> Splats:
    """The splats of a compressed .ply.

    Raises:
        UserError: its header contradicts itself, or it is shorter than that says.
    """
    if header.order != "<":
        raise damaged(path, "a compressed one is binary_little_endian")
    chunk, vertex, sh = map(header.element, ("chunk", "vertex", "sh"))
    has_colors = list(chunk.types) == BOUNDS + COLOR_BOUNDS
    known = has_colors or list(chunk.types) == BOUNDS
    if not known or {*chunk.types.values()} != {"f4"} or vertex.types != dict.fromkeys(PACKED, "u4"):
        raise damaged(path, "its chunks or packed properties are not those of a compressed .ply")
    if chunk.count != -(-vertex.count // PER_CHUNK):
        raise damaged(path, f"it has {chunk.count} chunks for {vertex.count} splats; {PER_CHUNK} share one")
    rest = _check_harmonics(path, sh, vertex.count) if sh else 0
    known = [element for element in header.elements if element.name in ("chunk", "vertex", "sh")]
    if list(header.elements[: len(known)]) != known:
        raise damaged(path, "other elements stand before its splats")
    check_size(path, header.size + sum(e.count * e.dtype("<").itemsize for e in known), vertex.count, "splats")
    check_count(path, vertex.count, rest, times=2)
    with open(path, "rb") as file:
        file.seek(header.size)
        data = {e.name: np.fromfile(file, e.dtype("<"), e.count) for e in known}
    bounds = data["chunk"].view("<f4").reshape(chunk.count, -1)
    if not has_colors:
        bounds = np.concatenate([bounds, np.zeros_like(bounds[:, :3]), np.ones_like(bounds[:, :3])], 1)
    head = _header(chunk.count, vertex.count, rest).encode()
    whole = b"".join([head, bounds.tobytes(), data["vertex"].tobytes(), data["sh"].tobytes() if sh else b""])
    del data
    return unpacked(path, lambda gsply: gsply.decompress_from_bytes(whole))


def _check_harmonics(path: Path, sh: Element, count: int) -> int:
    """The number of coefficients per channel above degree 0."""
    rest = len(sh.types) // 3
    if sh.types != dict.fromkeys((f"f_rest_{i}" for i in range(3 * rest)), "u1") or rest not in DEGREES[1:]:
        raise damaged(path, "its element sh has not 9, 24 or 45 bytes named f_rest_*")
    if sh.count != count:
        raise damaged(path, f"it has {sh.count} rows of harmonics for {count} splats")
    return rest


def _header(chunks: int, count: int, rest: int) -> str:
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {chunks}"]
    lines += [f"property float {name}" for name in BOUNDS + COLOR_BOUNDS]
    lines += [f"element vertex {count}", *(f"property uint {name}" for name in PACKED)]
    if rest:
        lines += [f"element sh {count}", *(f"property uchar f_rest_{i}" for i in range(3 * rest))]
    return "\n".join([*lines, "end_header", ""])

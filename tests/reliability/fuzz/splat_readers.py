"""Files of splats and of points: a valid one of each format, what reads it, and what its header's values are."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from documents import JSON, WORDS, Codec
from splatfiles import columns, compressed, some, write_rows

from arf.radiance.capture.formats.points import ENTRY, ROW, read_points
from arf.radiance.fields.splats.files.reading import read_splats
from arf.radiance.fields.splats.files.runs import read_cameras
from arf.radiance.fields.splats.files.splat import write_splat

Read = tuple[Path, Callable[[], object]]
COUNT = 40
END = b"end_header\n"


def _lines(content: bytes) -> Any:
    head, data = content.split(END)
    return {"head": WORDS.decode(head), "data": data.hex()}


def _of_lines(value: Any) -> bytes:
    held = value if isinstance(value, dict) else {"head": value}
    return WORDS.encode(held.get("head", [])) + b"\n" + END + _bytes(held.get("data"))


def _fields(content: bytes, kinds: str) -> Any:
    size = struct.calcsize(kinds)
    return {"fields": list(struct.unpack(kinds, content[:size])), "data": content[size:].hex()}


def _of_fields(value: Any, kinds: str) -> bytes:
    held = value if isinstance(value, dict) else {"fields": value}
    values = held.get("fields") if isinstance(held.get("fields"), list) else []
    letters = kinds.lstrip("<")
    whole = [v if type(v) is int else 0 for v in [*values, *[0] * len(letters)]]
    sizes = [struct.calcsize("<" + letter) for letter in letters]
    numbers = [v % 256**size for v, size in zip(whole, sizes, strict=False)]
    return struct.pack(kinds, *numbers) + _bytes(held.get("data"))


def _bytes(value: Any) -> bytes:
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        return b""


PLY = Codec(_lines, _of_lines)
PACKED, STREAMS = "<IIIBBBB", "<IIIBBBBIIII" + "QQ" * 6  # headers of .spz, up to version 3, and of 4 with its table
GZIPPED = Codec(
    lambda content: _fields(gzip.decompress(content), PACKED), lambda v: gzip.compress(_of_fields(v, PACKED))
)
ZSTANDARD = Codec(lambda content: _fields(content, STREAMS), lambda value: _of_fields(value, STREAMS))


def opened(file: Path) -> Read:
    return file, lambda: read_splats(file)


def ply(at: Path, encoding: str) -> Read:
    return opened(write_rows(at / "x.ply", columns(some(COUNT, 3)), encoding, comments=("Vertical Axis: z",)))


def squeezed(at: Path) -> Read:
    (at / "x.ply").write_bytes(compressed(some(300, 3)))
    return opened(at / "x.ply")


def splat(at: Path) -> Read:
    write_splat(at / "x.splat", some(COUNT))
    return opened(at / "x.splat")


def spz(at: Path, version: int) -> Read:
    from gsply import GSData
    from gsply import write_spz as write

    own = {name: tensor.numpy() for name, tensor in some(COUNT, 3).tensors().items()}
    numbers = (own["means"], np.log(own["scales"]), own["quats"], own["opacities"], own["colors"], own["rest"])
    write(at / "x.spz", GSData.from_arrays(*numbers, format="ply"), version=version)
    return opened(at / "x.spz")


def cameras(at: Path) -> Read:
    pose = {"position": [1.5, 2, 3], "rotation": np.eye(3).tolist()}
    entry = {"id": 0, "img_name": "00", "width": 40, "height": 30, **pose, "fx": 50.0, "fy": 51.0}
    (at / "cameras.json").write_text(json.dumps([entry, entry]))
    return at / "cameras.json", lambda: read_cameras(at / "cameras.json")


def points(at: Path, suffix: str) -> Read:
    rows = [(i, 0.5 * i, 1.0, -2.0, 10, 20, 30, 0.7, 2) for i in range(COUNT)]
    heads = ["ply", "format ascii 1.0", f"element vertex {COUNT}", *(f"property float {axis}" for axis in "xyz")]
    written = {
        ".bin": struct.pack("<Q", COUNT) + b"".join(ROW.pack(*row) + bytes(2 * ENTRY) for row in rows),
        ".txt": "\n".join(" ".join(map(str, row)) + " 1 2 3 4" for row in rows).encode(),
        ".ply": "\n".join([*heads, "end_header", *(f"{x} {y} {z}" for _, x, y, z, *_ in rows)]).encode() + b"\n",
    }
    file = at / f"points3D{suffix}"
    file.write_bytes(written[suffix])
    return file, lambda: read_points(file)


SPLATS: dict[str, tuple[Callable[[Path], Read], Codec | None]] = {
    "splats .ply": (partial(ply, encoding="binary_little_endian"), PLY),
    "splats .ply as text": (partial(ply, encoding="ascii"), WORDS),
    "compressed .ply": (squeezed, PLY),
    ".splat": (splat, None),
    ".spz": (partial(spz, version=3), GZIPPED),
    ".spz of version 4": (partial(spz, version=4), ZSTANDARD),
    "cameras.json": (cameras, JSON),
    "points3D.bin": (partial(points, suffix=".bin"), None),
    "points3D.txt": (partial(points, suffix=".txt"), WORDS),
    "points3D.ply": (partial(points, suffix=".ply"), WORDS),
}

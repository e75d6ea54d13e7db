"""Files of splats that are none: each is refused in one line, in no time and for no memory.

A new way for a file to be wrong goes into the table of its format.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import judge as judges
import pytest
import spoil
import zstandard
from splatfiles import columns, compressed, some, write_rows

from arf.errors import UserError
from arf.radiance.fields.splats.files.reading import read_splats
from arf.radiance.fields.splats.files.runs import read_cameras
from arf.radiance.fields.splats.files.splat import write_splat

COUNT = 40
Change = Callable[[bytes], bytes]


def refused(read: Callable[[Path], object], path: Path, said: str = "") -> None:
    with judges.guarded(), pytest.raises(UserError) as caught:
        read(path)
    line = str(caught.value)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line.replace(str(path), ""))
    assert len(line) < 400 + len(str(path))
    assert said in line


def instead(before: str, after: str) -> Change:
    """Other words in a header."""
    return lambda whole: whole.replace(before.encode(), after.encode(), 1)


def more(text: str) -> Change:
    """Another line in a header, before its last."""
    return instead("end_header", f"{text}\nend_header")


VERTEX = f"element vertex {COUNT}"
HEADERS: dict[str, tuple[Change, str]] = {
    "more splats than bytes": (instead(VERTEX, "element vertex 41"), "is cut short: 41 splats take"),
    "10^14 splats": (instead(VERTEX, "element vertex 1" + "0" * 14), "is cut short"),
    "10^400 splats": (instead(VERTEX, "element vertex 1" + "0" * 400), "its header says 'element vertex 1000"),
    "-1 splats": (instead(VERTEX, "element vertex -1"), "its header says 'element vertex -1'"),
    "no splats": (instead(VERTEX, "element vertex 0"), "holds no splats"),
    "1e3 splats": (instead(VERTEX, "element vertex 1e3"), "its header says"),
    "splats in other digits": (instead(VERTEX, "element vertex ٤٠"), "its header says"),
    "no count": (instead(VERTEX, "element vertex"), "its header says 'element vertex'"),
    "no vertex": (instead(VERTEX, f"element point {COUNT}"), "it has no element vertex"),
    "two vertices": (more("element vertex 3"), "its header says 'element vertex 3'"),
    "a property twice": (more("property float x"), "its header says 'property float x'"),
    "a property of no element": (instead(VERTEX, "property float a\n" + VERTEX), "its header says 'property float a'"),
    "a list": (more("property list uchar int a"), "its element 'vertex' holds lists"),
    "a list before": (instead(VERTEX, "element a 1\nproperty list uchar int b\n" + VERTEX), "'a' holds lists"),
    "a list of strings": (more("property list string a"), "its header says"),
    "an unknown type": (instead("property float y", "property half y"), "its header says 'property half y'"),
    "a word with escapes": (more("\x1b[31m\x07"), "its header says"),
    "no format": (instead("format binary_little_endian 1.0\n", ""), "its header names no format"),
    "two formats": (more("format ascii 1.0"), "its header says 'format ascii 1.0'"),
    "another format": (instead("binary_little_endian 1.0", "binary_middle_endian 1.0"), "its header says"),
    "format 2": (instead("1.0", "2.0"), "its header says 'format binary_little_endian 2.0'"),
    "no end": (instead("end_header", "ending"), "no end_header"),
    "ten harmonics": (more("\n".join(f"property float f_rest_{i}" for i in range(10))), "it has 10 f_rest_*"),
    "harmonics from 1": (more("\n".join(f"property uchar f_rest_{i}" for i in range(1, 10))), "it has 9 f_rest_*"),
    "3000 properties": (more("\n".join(f"property uchar a{i}" for i in range(3000))), "is cut short"),
    "a huge element before": (instead(VERTEX, f"element a {10**14}\nproperty int b\n" + VERTEX), "is cut short"),
    "a header of no end": (instead("end_header", "comment " + "x" * 70_000), "no end_header within 64 kB"),
    "cut by a byte": (lambda whole: whole[:-1], "is cut short"),
    "cut in the header": (lambda whole: whole[:200], "no end_header"),
    "three letters": (lambda _: b"ply", "is no .ply"),
    "a line": (lambda _: b"ply\n", "no end_header"),
    "Mac's lines": (lambda whole: whole.replace(b"\n", b"\r"), "is no PLY file"),
}  # fmt: skip


@pytest.mark.parametrize("what", HEADERS)
def test_headers_of_ply(what, at):
    change, said = HEADERS[what]
    path = write_rows(at / "x.ply", columns(some(COUNT)))
    path.write_bytes(change(path.read_bytes()))
    refused(read_splats, path, said)


TEXTS: dict[str, tuple[Change, str]] = {
    "a word": (lambda whole: whole[:-90] + b" x " + whole[-90:], "hold what is no number"),
    "a row missing": (lambda whole: whole[: whole.rindex(b"\n")], "its rows end early"),
    "many splats": (instead(VERTEX, "element vertex 49999999"), "is cut short"),
    "commas": (lambda whole: whole[:700] + whole[700:].replace(b" ", b","), "no number"),
    "a NUL": (lambda whole: whole[:-20] + b"\0" + whole[-20:], "no number"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_ply_as_text(what, at):
    change, said = TEXTS[what]
    path = write_rows(at / "x.ply", columns(some(COUNT)), "ascii")
    path.write_bytes(change(path.read_bytes()))
    refused(read_splats, path, said)


COMPRESSED: dict[str, tuple[Change, str]] = {
    "a chunk too few": (instead("element chunk 2", "element chunk 1"), "it has 1 chunks for 300 splats"),
    "no chunk": (instead("element chunk 2", "element chunk 0"), "it has 0 chunks for 300 splats"),
    "chunks without end": (instead("element chunk 2", "element chunk 99999999"), "chunks for 300 splats"),
    "splats without end": (
        lambda whole: instead("element chunk 2", "element chunk 3906250000000")(
            instead("element vertex 300", "element vertex 999999999999999")(whole)
        ),
        "is damaged",
    ),
    "splats and chunks without end": (
        lambda whole: instead("element chunk 2", "element chunk 390625000000")(
            whole.replace(b" 300\n", b" 100000000000000\n")
        ),
        "is cut short",
    ),
    "bounds missing": (instead("property float max_z\n", ""), "its chunks or packed properties"),
    "bounds of doubles": (instead("property float max_z", "property double max_z"), "its chunks or packed properties"),
    "a packed float": (instead("uint packed_scale", "float packed_scale"), "its chunks or packed properties"),
    "a packed property missing": (instead("property uint packed_scale\n", ""), "its chunks or packed properties"),
    "big endian": (instead("binary_little_endian", "binary_big_endian"), "binary_little_endian"),
    "fewer harmonics": (instead("element sh 300", "element sh 3"), "it has 3 rows of harmonics for 300 splats"),
    "eight harmonics": (instead("property uchar f_rest_8\n", ""), "its element sh has not 9, 24 or 45"),
    "another element before": (instead("element chunk", "element a 0\nelement chunk"), "other elements stand before"),
    "cut by a byte": (lambda whole: whole[:-1], "is cut short"),
    "NaN alone": (lambda whole: whole[: whole.index(b"end_header\n") + 11] + b"\xff" * 15000, "numbers are finite"),
}  # fmt: skip


@pytest.mark.parametrize("what", COMPRESSED)
def test_compressed_ply(what, at):
    change, said = COMPRESSED[what]
    refused(read_splats, spoil.file(at, change(compressed(some(300, 3))), "x.ply"), said)


def header(version: int = 3, count: int = 1, degree: int = 0, bits: int = 12, magic: bytes = b"NGSP") -> bytes:
    return struct.pack("<4sIIBBBB", magic, version, count, degree, bits, 0, 0)


ONE = bytes([0] * 9 + [255] + [128] * 3 + [100] * 3 + [0, 0, 0, 192])
GZIPPED: dict[str, tuple[bytes, str]] = {
    "cut": (gzip.compress(header() + ONE)[:-12], "damaged"),
    "a splat that is cut": (gzip.compress(header() + ONE[:-1]), "1 bytes are missing"),
    "a header that is cut": (gzip.compress(header()[:10]), "it ends within its header"),
    "no splats": (gzip.compress(header(count=0)), "holds no splats"),
    "2^32 splats": (gzip.compress(header(count=2**32 - 1) + ONE), "for which it is too small"),
    "a million splats": (gzip.compress(header(count=10**6) + ONE), "bytes are missing"),
    "version 1": (gzip.compress(header(1) + ONE), "its version is 1, not 2, 3 or 4"),
    "version 4": (gzip.compress(header(4) + ONE), "its version is 4"),
    "degree 4": (gzip.compress(header(degree=4) + ONE), "its harmonics are of degree 4"),
    "no bits": (gzip.compress(header(bits=0) + ONE), "0 bits of fraction"),
    "255 bits": (gzip.compress(header(bits=255) + ONE), "255 bits of fraction"),
    "another magic": (gzip.compress(header(magic=b"NGPS") + ONE), "is no .spz"),
    "a bomb": (gzip.compress(header() + ONE + bytes(10**8)), "it unpacks to more than its splats"),
    "bombs in a row": (gzip.compress(header() + ONE) + gzip.compress(bytes(10**6)) * 10, "than its splats"),
    "a wrong checksum": (gzip.compress(header() + ONE)[:-8] + bytes(8), "CRC"),
    "something behind": (gzip.compress(header() + ONE) + b"x" * 100, "Not a gzipped file"),
    "the magic of gzip alone": (b"\x1f\x8b\x08", "is no .spz"),
}  # fmt: skip


@pytest.mark.parametrize("what", GZIPPED)
def test_spz_of_gzip(what, at):
    content, said = GZIPPED[what]
    refused(read_splats, spoil.file(at, content, "x.spz"), said)


def parts(count: int = 1) -> list[bytes]:
    return [ONE[start:end] * count for start, end in ((0, 9), (9, 10), (10, 13), (13, 16), (16, 20))]


def streams(bodies: list[bytes], sizes: list[int], count: int = 1, at: int = 32, number: int = 5) -> bytes:
    """An .spz of version 4."""
    table = b"".join(struct.pack("<QQ", len(body), size) for body, size in zip(bodies, sizes, strict=True))
    head = struct.pack("<4sIIBBBBI12x", b"NGSP", 4, count, 0, 12, 0, number, at)
    return head + table + b"".join(bodies)


def zipped(content: bytes, said: int | None = None) -> bytes:
    """A frame of zstd that may claim another size, in eight bytes."""
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(content)
    return frame if said is None else frame[:4] + b"\xe0" + struct.pack("<Q", said) + frame[6:]


SIZES = [9, 1, 3, 3, 4]
ZSTANDARD: dict[str, tuple[bytes, str]] = {
    "cut in the header": (streams([], [], number=0)[:24], "it ends within its header"),
    "cut in the table": (streams([zipped(p) for p in parts()], SIZES)[:50], "it ends within its table"),
    "cut in a stream": (streams([zipped(p) for p in parts()], SIZES)[:-3], "its table does not fit"),
    "no streams": (streams([], [], number=0), "it has 0 streams, and its splats need 5"),
    "a table elsewhere": (streams([zipped(p) for p in parts()], SIZES, at=2**32 - 1), "it ends within its table"),
    "a table in the header": (streams([zipped(p) for p in parts()], SIZES, at=0), "its table does not fit"),
    "other sizes": (streams([zipped(p) for p in parts()], [9, 1, 3, 3, 5]), "its table does not fit"),
    "sizes of 2^63": (streams([zipped(p) for p in parts()], [2**63] * 5), "its table does not fit"),
    "no zstd": (streams([b"x" * 20] * 5, SIZES), "is not packed with zstd"),
    "empty streams": (streams([b""] * 5, SIZES), "is not packed with zstd"),
    "a frame of 2^40": (streams([zipped(p, 2**40) for p in parts()], SIZES), "a stream unpacks to 1099511627776 bytes"),
    "a bomb": (streams([zipped(bytes(10**8))] * 5, SIZES), "damaged"),
    "less than it says": (streams([zipped(p[:-1]) for p in parts()], SIZES), "damaged"),
    "splats without end": (streams([zipped(p) for p in parts()], SIZES, 2**32 - 1), "for which it is too small"),
    "50 million in nothing": (
        streams([zipped(bytes(100)) for _ in range(5)], [5 * 10**7 * size for size in SIZES], 5 * 10**7),
        "for which it is too small",
    ),
}  # fmt: skip


def test_the_bombs_are_made_of_what_is_read(at):
    assert len(read_splats(spoil.file(at, gzip.compress(header() + ONE), "x.spz")).splats) == 1
    whole = streams([zipped(part, size) for part, size in zip(parts(), SIZES, strict=True)], SIZES)
    assert len(read_splats(spoil.file(at, whole, "y.spz")).splats) == 1
    assert len(read_splats(spoil.file(at, streams([zipped(p) for p in parts()], SIZES), "z.spz")).splats) == 1


@pytest.mark.parametrize("what", ZSTANDARD)
def test_spz_of_zstd(what, at):
    content, said = ZSTANDARD[what]
    refused(read_splats, spoil.file(at, content, "x.spz"), said)


OTHERS: dict[str, tuple[str, bytes, str]] = {
    ".splat cut": ("x.splat", bytes(33), "are no multiple of 32"),
    ".splat of NaN": ("x.splat", b"\xff" * 320, "no splat whose numbers are finite"),
    ".splat of text": ("x.splat", b"<!DOCTYPE html>\n" * 9 + b"x", "are no multiple of 32"),
    ".ply of text": ("x.ply", b"version https://git-lfs\noid sha256:0\n", "is no .ply, by what it begins with"),
    ".ply in capitals": ("X.PLY", b"PLY\n", "is no .ply"),
    ".spz of text": ("x.spz", b"hello", "is no .spz"),
    "a picture": ("x.ply", spoil.png(4, 4), "is no .ply"),
    "another format": ("x.ksplat", bytes(4096), "is no file of splats that arf reads; it reads .ply"),
    "no suffix": ("x", b"hello", "is no file of splats that arf reads"),
    "empty": ("x.ply", b"", "is empty"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_files_that_are_none(what, at):
    name, content, said = OTHERS[what]
    refused(read_splats, spoil.file(at, content, name), said)


def sparse(path: Path, size: int) -> Path:
    """A file that is larger than the disk."""
    with open(path, "ab") as file:
        os.truncate(file.fileno(), size)
    return path


def test_files_larger_than_memory(at):
    """J29: refused before it is asked for, and unread."""
    path = write_rows(at / "x.ply", columns(some(COUNT, 15)), count=50_000_000)
    refused(read_splats, sparse(path, 2 * 10**10), "with 50000000 splats takes 11 GiB")
    refused(read_splats, sparse(path, 7 * 10**10).rename(at / "y.ply"), "takes 11 GiB")
    path = write_rows(at / "z.ply", columns(some(COUNT)), count=50_000_001)
    refused(read_splats, sparse(path, 10**10), "arf reads 50 million at most")
    write_splat(at / "x.splat", some())
    refused(read_splats, sparse(at / "x.splat", 32 * 10**9), "arf reads 50 million at most")
    spoil.file(at, gzip.compress(header() + ONE), "x.spz")
    refused(read_splats, sparse(at / "x.spz", 64 * 10**9), "it is larger than 1 splats are")
    spoil.file(at, streams([zipped(p) for p in parts()], SIZES), "y.spz")
    refused(read_splats, sparse(at / "y.spz", 64 * 10**9), "it is larger than 1 splats are")


PLACES: dict[str, Callable[[Path], Path]] = {
    "missing": lambda at: at / "x.ply",
    "a device": lambda at: Path("/dev/zero"),
    "NUL in its name": lambda at: at / "a\0b.ply",
    "5000 long": lambda at: at / ("a" * 5000 + ".ply"),
    **{what: lambda at, make=make: make(at / "x.ply") for what, make in spoil.NO_FILES.items()},
}


@pytest.mark.parametrize("read", [read_splats, read_cameras])
@pytest.mark.parametrize("what", PLACES)
def test_places(what, read, at):
    path = PLACES[what](at)
    with judges.guarded(), pytest.raises(UserError):
        read(path)

"""The .spz of Niantic: 24-bit positions, bytes for the rest; its axes are x right, y up, z back.

Versions 2 and 3 are one stream of gzip, version 4 has a stream of zstd for each kind of number. gsply reads and writes
them. It unpacks whatever an archive holds, so what that will be is found out here first.

    https://github.com/nianticlabs/spz
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch

from arf.errors import UserError
from arf.jobs.files import atomic_path
from arf.jobs.machine import starved
from arf.radiance.fields.splats.files.packed import gsply, packable, unpacked
from arf.radiance.fields.splats.files.values import DEGREES, check_count
from arf.radiance.fields.splats.splats import Splats

MAGIC, GZIP = b"NGSP", b"\x1f\x8b\x08"
HEADER, STREAM = struct.Struct("<4sIIBBBB"), struct.Struct("<QQ")  # of version 4, 16 bytes more; packed, unpacked size
HEADER_4 = 32
FRACTIONS = (1, 24)  # bits
FEW = 1_000_000  # splats that any file may hold; more take a byte each at the least, however they are packed
BEYOND = 2**20  # bytes of extensions behind the splats
UNSAID = 2**64 - 1  # size of what is in a frame of zstd whose header is silent about it
FINEST, BITS = 20, 23  # most bits for fractions that we write, of a position's without its sign
TURN = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # from y down, z forward
UP = (0.0, 1.0, 0.0)


def is_spz(path: Path) -> bool:
    """Whether a file is an .spz, by its first bytes."""
    with open(path, "rb") as file:
        start = file.read(len(MAGIC))
    if start[: len(GZIP)] != GZIP:
        return start == MAGIC
    try:
        with gzip.open(path) as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, EOFError, zlib.error):
        return False


def read_spz(path: Path) -> Splats:
    """The splats of an .spz.

    Raises:
        UserError: it is of another version, cut short, or holds other than it says.
    """
    with open(path, "rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    (_check_gzip if packed else _check_zstd)(path)
    return unpacked(path, lambda gsply: gsply.read_spz(path))


def write_spz(path: Path, splats: Splats) -> None:
    """Write an .spz of version 3, which all its readers know, atomically: degree 0, turned into its axes.

    Positions keep as many bits of a fraction as their size leaves room for. Scales are rounded to 1/16 of their natural
    logarithm, and lie within e^-10 and e^5.9; colours and opacities to a byte, quaternions to 9 bits.

    Args:
        splats: in 3D Gaussian Splatting's axes: x right, y down.

    Raises:
        UserError: positions that it cannot hold, or the file cannot be written.
    """
    reach = splats.means.abs().max().item()
    fraction = min(FINEST, math.floor(math.log2((2**BITS - 1) / max(reach, 1.0))))
    if fraction < 1:
        raise UserError(
            f"cannot write {path}: a splat lies at {reach:.3g}, and .spz ends at {2 ** (BITS - 1)}; take .ply"
        )
    data = packable(splats.moved(TURN, torch.zeros(3), 1.0))
    with atomic_path(path) as temporary:
        gsply().write_spz(temporary, data, version=3, fractional_bits=fraction)


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is no .spz that arf knows, or damaged: {reason}; copy or export it again")


def _check_header(path: Path, header: bytes, versions: tuple[int, ...]) -> list[int]:
    """Bytes that each kind of number takes, unpacked: positions, opacities, colours, scales, rotations, harmonics."""
    if len(header) < HEADER.size:
        raise _damaged(path, "it ends within its header")
    magic, version, count, degree, fraction, *_ = HEADER.unpack_from(header)
    if magic != MAGIC:
        raise _damaged(path, "it does not begin with NGSP")
    if version not in versions:
        raise _damaged(path, f"its version is {version}, not 2, 3 or 4")
    if degree >= len(DEGREES):
        raise _damaged(path, f"its harmonics are of degree {degree}, and at most 3 is read")
    if not FRACTIONS[0] <= fraction <= FRACTIONS[1]:
        raise _damaged(path, f"its positions have {fraction} bits of fraction")
    if count > max(FEW, path.stat().st_size):
        raise _damaged(path, f"it says that it holds {count} splats, for which it is too small")
    check_count(path, count, DEGREES[degree], times=2)
    sizes = [count * size for size in (9, 1, 3, 3, 4 if version > 2 else 3, 3 * DEGREES[degree])]
    if path.stat().st_size > 1.1 * sum(sizes) + BEYOND:  # packing what cannot be packed adds little
        raise _damaged(path, f"it is larger than {count} splats are")
    return sizes


def _check_gzip(path: Path) -> None:
    try:
        with gzip.open(path) as file:
            header = file.read(HEADER.size)
            left = sum(_check_header(path, header, (2, 3)))
            while left > -BEYOND and (block := file.read(min(2**20, left + BEYOND + 1))):
                left -= len(block)
    except (OSError, EOFError, zlib.error) as error:
        if short := starved(error):
            raise short from error
        raise _damaged(path, str(error).splitlines()[0][:80] or "it cannot be unpacked") from error
    if left > 0:
        raise _damaged(path, f"{left} bytes are missing")
    if left <= -BEYOND:
        raise _damaged(path, "it unpacks to more than its splats")


def _check_zstd(path: Path) -> None:
    import zstandard

    size = path.stat().st_size
    with open(path, "rb") as file:
        header = file.read(HEADER_4)
        sizes = [part for part in _check_header(path, header, (4,)) if part]
        if len(header) < HEADER_4:
            raise _damaged(path, "it ends within its header")
        streams, (start,) = header[15], struct.unpack_from("<I", header, 16)
        if streams != len(sizes):
            raise _damaged(path, f"it has {streams} streams, and its splats need {len(sizes)}")
        file.seek(start)
        table = file.read(streams * STREAM.size)
        if len(table) < streams * STREAM.size:
            raise _damaged(path, "it ends within its table")
        at = start + len(table)
        for (packed, unpacked_size), expected in zip(STREAM.iter_unpack(table), sizes, strict=True):
            if unpacked_size != expected or packed > size - at:
                raise _damaged(path, "its table does not fit its splats, or its size")
            file.seek(at)
            try:
                said = zstandard.get_frame_parameters(file.read(min(packed, 32))).content_size
            except zstandard.ZstdError as error:
                raise _damaged(path, "what it holds is not packed with zstd") from error
            if said not in (expected, UNSAID):
                raise _damaged(path, f"a stream unpacks to {said} bytes instead of {expected}")
            at += packed

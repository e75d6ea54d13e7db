"""What kind of file it is, by its first bytes."""

from __future__ import annotations

import os
from pathlib import Path

VIDEO_SUFFIXES = {
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp",
}  # fmt: skip
PICTURE_BRANDS = {  # pictures in the boxes of an mp4
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"heif", b"mif1", b"mif2", b"msf1", b"avif", b"avis",
}  # fmt: skip
PACKET = 188  # bytes of an MPEG transport stream, each packet beginning with 0x47


def is_video(path: str | Path) -> bool:
    """Whether a file is a video, by its first bytes, or by the suffix of its name."""
    head, boxes = _head(path), brand(path)
    known = (
        head.startswith((b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"FLV\x01")) or head[:4] + head[8:12] == b"RIFFAVI "
    )
    packets = len(head) > PACKET and head[0] == head[PACKET] == 0x47
    boxed = boxes and boxes not in PICTURE_BRANDS
    return bool(boxed or known or packets or Path(path).suffix.lower() in VIDEO_SUFFIXES)


def brand(path: str | Path) -> bytes:
    """The brand of a file of boxes (ISO/IEC 14496-12: mp4, HEIF, AVIF); empty for another."""
    head = _head(path)
    return head[8:12] if head[4:8] == b"ftyp" else b""


def _head(path: str | Path) -> bytes:
    if not os.path.isfile(path):  # a pipe would be waited for
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(PACKET + 1)
    except OSError:
        return b""

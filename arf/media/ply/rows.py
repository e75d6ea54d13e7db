"""The rows of a PLY file's element, in blocks, so that little more than what is made of them is held."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from arf.errors import UserError
from arf.media.ply.header import LIST, Element, Header, damaged

BLOCK = 2**22  # bytes of rows read together
Columns = Mapping[str, np.ndarray]


def read_rows(path: Path, header: Header, name: str, what: str = "rows") -> Iterator[Columns]:
    """The columns of one element, by name, block after block.

    Args:
        name: of the element, which the header has.
        what: its rows are called.

    Raises:
        UserError: it holds lists, or comes behind some, or the file is shorter than its header says.
    """
    element = header.element(name)
    before = header.before(name)
    for other in (*before, element):
        if LIST in other.types.values():
            raise damaged(path, f"its element {other.name[:40]!r} holds lists, which no {what} do")
    _check_size(path, header, before, element, what)
    return (_binary if header.order else _text)(path, header, before, element)


def check_size(path: Path, needed: int, count: int, what: str) -> None:
    """Raises UserError where a file is smaller than what its header speaks of."""
    size = path.stat().st_size
    if needed > size:
        said = f"{count} {what} take {needed} bytes, and it has {size}"
        raise UserError(f"{path} is cut short: {said}; copy or export it again")


def _check_size(path: Path, header: Header, before: list[Element], element: Element, what: str) -> None:
    """Whether the file has room for the rows of its header: a number in text takes two bytes, but for the last."""
    width = (lambda e: e.dtype(header.order).itemsize) if header.order else (lambda e: 2 * len(e.types))
    needed = header.size + sum(e.count * width(e) for e in (*before, element)) - (not header.order)
    check_size(path, needed, element.count, what)


def _binary(path: Path, header: Header, before: list[Element], element: Element) -> Iterator[Columns]:
    dtype, left = element.dtype(header.order), element.count
    skipped = sum(other.count * other.dtype(header.order).itemsize for other in before)
    with open(path, "rb") as file:
        file.seek(header.size + skipped)
        while left:
            rows = np.fromfile(file, dtype, min(left, max(1, BLOCK // dtype.itemsize)))
            if not len(rows):
                raise damaged(path, "it ends early")
            left -= len(rows)
            yield rows


def _text(path: Path, header: Header, before: list[Element], element: Element) -> Iterator[Columns]:
    width, left = len(element.types), element.count
    skipped = sum(other.count * len(other.types) for other in before)
    with open(path, "rb") as file:
        file.seek(header.size)
        while skipped:
            skipped -= len(_numbers(path, file, min(skipped, BLOCK // 8)))
        while left:
            count = min(left, max(1, BLOCK // (8 * width)))
            table = _numbers(path, file, count * width).reshape(count, width)
            left -= count
            yield dict(zip(element.types, table.T, strict=True))


def _numbers(path: Path, file: BinaryIO, count: int) -> np.ndarray:
    """The next so many numbers of a text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # said of what is no number; numpy is to raise an error
        try:
            found = np.fromfile(file, np.float64, count, sep=" ")
        except ValueError:
            found = np.empty(0)
    if len(found) < count:
        raise damaged(path, "its rows end early, or hold what is no number")
    return found

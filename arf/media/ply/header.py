"""Headers of PLY files, as somebody else may have written them: bounded, and nothing is asked for on their word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arf.errors import UserError

LARGEST = 64 * 1024  # bytes of a header; one of 3D Gaussian Splatting has 1,500
MOST_DIGITS = 15  # of a count
ENCODINGS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
LIST = ""  # in place of a type
UP = re.compile(r"\b(?:(?:vertical|up)[ _-]?axis\s*[:=]?|(?:vertical|up)\s*[:=])\s*([+-]?)\s*([xyz])\b", re.IGNORECASE)
Axis = tuple[float, float, float]


@dataclass(frozen=True)
class Element:
    """Rows of one kind.

    Attributes:
        types: numpy's letters for the type of every property, in their order, without byte order; `LIST` for a list.
    """

    name: str
    count: int
    types: dict[str, str]

    def dtype(self, order: str) -> np.dtype:
        """Of a row in a binary file."""
        return np.dtype([(name, order + kind) for name, kind in self.types.items()])


@dataclass(frozen=True)
class Header:
    """What a PLY file says of itself.

    Attributes:
        order: numpy's letter for the byte order; "" where the numbers are text.
        comments: lines of `comment` and `obj_info`, without that word.
        size: bytes up to the data.
    """

    order: str
    elements: tuple[Element, ...]
    comments: tuple[str, ...]
    size: int

    def element(self, name: str) -> Element | None:
        """The element of that name, if there is one."""
        return next((element for element in self.elements if element.name == name), None)

    def before(self, name: str) -> list[Element]:
        """The elements whose data come first."""
        return [element for element in self.elements[: [e.name for e in self.elements].index(name)] if element.count]

    @property
    def up(self) -> Axis | None:
        """The up axis, where a comment names it, as nerfstudio's and our own exports do."""
        found = next(filter(None, map(UP.search, self.comments)), None)
        if found is None:
            return None
        length, axis = -1.0 if found[1] == "-" else 1.0, "xyz".index(found[2].lower())
        return tuple(length if i == axis else 0.0 for i in range(3))


def read_header(path: Path) -> Header:
    """The header of a regular file.

    Raises:
        UserError: it is no PLY file, or its header is longer than any, cut short, or contradicts itself.
    """
    with open(path, "rb") as file:
        start = file.read(LARGEST)
    if not re.match(rb"ply[ \t]*\r?\n", start):
        raise UserError(f"{path} is no PLY file: it does not begin with the line ply; export it again")
    end = re.search(rb"\nend_header[ \t]*\r?\n", start)
    if end is None:
        raise damaged(path, f"its header has no end_header within {LARGEST // 1024} kB")
    encoding, elements, comments = None, [], []
    for line in start[: end.start()].decode("utf-8", "replace").split("\n")[1:]:
        keyword, *words = line.split() or [""]
        if keyword in ("comment", "obj_info"):
            comments.append(line.split(None, 1)[1] if words else "")
        elif keyword == "format" and words[1:] == ["1.0"] and words[0] in ENCODINGS and encoding is None:
            encoding = ENCODINGS[words[0]]
        elif keyword == "element" and len(words) == 2 and _is_count(words[1]) and words[0] not in map(_name, elements):
            elements.append(Element(words[0], int(words[1]), {}))
        elif keyword == "property" and elements and _add(words, elements[-1].types):
            continue
        elif keyword:
            raise damaged(path, f"its header says {line.strip()[:60]!r}")
    if encoding is None:
        raise damaged(path, "its header names no format")
    return Header(encoding, tuple(elements), tuple(comments), end.end())


def damaged(path: Path, reason: str) -> UserError:
    """The one line for a PLY file that cannot be read."""
    return UserError(f"{path} is damaged or no PLY file that arf knows: {reason}; export it again")


def _name(element: Element) -> str:
    return element.name


def _is_count(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= MOST_DIGITS


def _add(words: list[str], types: dict[str, str]) -> bool:
    """Take a property; False where it is none, or there is one of that name."""
    if len(words) == 4 and words[0] == "list" and words[1] in TYPES and words[2] in TYPES:
        kind = LIST
    elif len(words) == 2 and words[0] in TYPES:
        kind = TYPES[words[0]]
    else:
        return False
    if words[-1] in types:
        return False
    types[words[-1]] = kind
    return True

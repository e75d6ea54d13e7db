"""Files gone wrong, for hypothesis: a valid document with some of its values changed, or a file some of its bytes.

A `Codec` says what the values of a kind of file are: JSON, YAML, words of lines, the header of safetensors.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import yaml
from hypothesis import strategies as st

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Codec:
    """What a file holds, and a file that holds something."""

    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


def _tensors(content: bytes) -> Any:
    """The header of a safetensors file, its notes unfolded, and the rest of it."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = header.setdefault("__metadata__", {})
    metadata["notes"] = json.loads(metadata.get("notes", "{}"))
    return {"header": header, "rest": content[8 + length :].hex()[:2000]}


def _of_tensors(value: Any) -> bytes:
    header = value.get("header") if isinstance(value, dict) else value
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if isinstance(metadata, dict) and not isinstance(metadata.get("notes"), str):
        metadata["notes"] = json.dumps(metadata.get("notes"))
    text = json.dumps(header).encode()
    ends = [0]
    for entry in header.values() if isinstance(header, dict) else ():
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        ends += [n for n in offsets if isinstance(n, int) and n < 10**7] if isinstance(offsets, list) else []
    return struct.pack("<Q", len(text)) + text + bytes(max(0, *ends))  # all its numbers are zero


JSON = Codec(json.loads, lambda value: json.dumps(value).encode())
YAML = Codec(yaml.safe_load, lambda value: yaml.safe_dump(value).encode())
WORDS = Codec(
    lambda content: [line.split(" ") for line in content.decode().splitlines()],
    lambda value: "\n".join(_joined(line) for line in (value if isinstance(value, list) else [value])).encode(
        errors="surrogatepass"
    ),
)
TENSORS = Codec(_tensors, _of_tensors)


def _joined(line: Any) -> str:
    return " ".join(map(str, line)) if isinstance(line, list) else str(line)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


ODD = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.0, -0.0, 1e-300, 1e-40, 1e30, 1e38, 1e300,
    math.nan, math.inf, -math.inf, 0.5, "", "x", "1", "nan", "/dev/zero", "../x", "a\0b", "a\x1b[31m\n", "é" * 200,
    "a" * 5000, [], {}, [[]], [1, 2, 3], {"a": 1}, _nested(300), [1e30] * 4, [[0, 0], [0, 0]],
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(ODD).map(deepcopy), st.integers(), st.floats(), st.text(max_size=20),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(
        inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=6),
)  # fmt: skip


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The way to every value inside one."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from places(child, (*path, key))


@st.composite
def documents(draw: st.DrawFn, valid: bytes, codec: Codec) -> bytes:
    """The document with one to three of its values replaced, removed, doubled, or exchanged."""
    value = codec.decode(valid)
    for _ in range(draw(st.integers(1, 3))):
        every = list(places(value))
        path = draw(st.sampled_from(every))
        if not path:
            value = draw(VALUES) if draw(st.integers(0, 9)) == 0 else value
            continue
        holder = _at(value, path[:-1])
        how = draw(st.sampled_from(("replace", "replace", "scale", "remove", "double", "exchange", "add")))
        if how == "remove":
            del holder[path[-1]]
        elif how == "double" and isinstance(holder, list):
            holder.insert(path[-1], deepcopy(holder[path[-1]]))
        elif how == "exchange":
            holder[path[-1]] = deepcopy(_at(value, draw(st.sampled_from(every))))
        elif how == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = draw(VALUES)
        elif how == "scale" and isinstance(held := holder[path[-1]], int | float) and not abs(held) > 2**64:
            holder[path[-1]] = held * draw(st.sampled_from((-1, 0, 1e-30, 1e-9, 1e9, 1e30)))
        else:
            holder[path[-1]] = draw(VALUES)
    try:
        return codec.encode(value)
    except RecursionError:  # nested too deep for whoever writes such files
        return valid


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def noise(draw: st.DrawFn, valid: bytes) -> bytes:
    """The file with some of its bytes changed, cut out, doubled or put in; sometimes nothing of it."""
    content = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        size = draw(st.integers(1, 16))
        how = draw(st.sampled_from(("set", "set", "flip", "insert", "cut", "double", "end", "all")))
        if how == "set":
            content[at : at + size] = draw(st.binary(min_size=1, max_size=size))
        elif how == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "insert":
            content[at:at] = draw(st.binary(max_size=size))
        elif how == "cut":
            del content[at : at + size]
        elif how == "double":
            content[at:at] = content[at : at + size]
        elif how == "end":
            del content[at:]
        elif how == "all" and draw(st.integers(0, 9)) == 0:
            content[:] = draw(st.binary(max_size=64))
    return bytes(content)

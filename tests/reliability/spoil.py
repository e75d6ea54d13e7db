"""Spoiled files: made in an empty folder `at`, from good inputs or from nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

Change = Callable[[Any], object] | str | bytes
RUN_FILES = ("arf.json", "model.safetensors")
LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
"""YAML of a few lines that stands for a billion words."""


def file(at: Path, content: bytes | str, name: str) -> Path:
    (at / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return at / name


def cut(at: Path, path: Path, share: float = 0.5) -> Path:
    """The first part of a file."""
    content = path.read_bytes()
    return file(at, content[: int(len(content) * share)], path.name)


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def server(path: Path) -> Path:
    """A socket that somebody listens at."""
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's name has at most 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)
    return path


NO_FILES: dict[str, Callable[[Path], Path]] = {"a fifo": fifo, "a folder": folder, "a loop": loop, "a socket": server}
"""What may lie where a file is expected."""


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with no pixels to speak of."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def npy(shape: tuple[int, ...]) -> bytes:
    """An array that claims a shape, with no numbers in it."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


def plain(mode: str, size: tuple[int, int], name: str) -> Callable[[Path], Path]:
    """A picture of one colour."""

    def save(at: Path) -> Path:
        Image.new(mode, size).save(at / name)
        return at / name

    return save


def changed(source: Path, target: Path, change: Change) -> None:
    """A JSON file after `change` was done to its value, or with other content."""
    if isinstance(change, str | bytes):
        file(target.parent, change, target.name)
        return
    value = json.loads(source.read_text())
    change(value)
    target.write_text(json.dumps(value))


def keys(text: str) -> Change:
    """Other values of some keys, as JSON."""
    return lambda value: value.update(json.loads(text))


def capture(at: Path, source: Path, change: Change) -> Path:
    """A capture with another transforms.json."""
    (at / "images").symlink_to(source / "images")
    changed(source / "transforms.json", at / "transforms.json", change)
    return at


def run(at: Path, source: Path, change: Change, name: str = "arf.json") -> Path:
    """A run with another arf.json."""
    for other in RUN_FILES:
        if other != name:
            shutil.copy(source / other, at)
    changed(source / name, at / name, change)
    return at


def tensors(source: Path, target: Path, change: Callable[[dict, dict], object] | bytes) -> Path:
    """A safetensors file after `change` was done to its tensors and its metadata, or with other content."""
    if isinstance(change, bytes):
        return file(target.parent, change, target.name)
    with safe_open(source, framework="pt") as held:
        values = {key: held.get_tensor(key) for key in held.keys()}  # noqa: SIM118 - not a dict
        metadata = dict(held.metadata() or {})
    change(values, metadata)
    save_file({key: value.contiguous() for key, value in values.items()}, target, metadata=metadata)
    return target


def notes(**values: Any) -> Callable[[dict, dict], object]:
    """Other notes in a safetensors file."""
    return lambda _, metadata: metadata.update(notes=json.dumps({**json.loads(metadata["notes"]), **values}))

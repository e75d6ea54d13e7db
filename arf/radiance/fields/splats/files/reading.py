"""Somebody's file of splats, whatever its format."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from arf.errors import UserError
from arf.jobs.files import cannot_read
from arf.media.ply.header import Axis, read_header
from arf.radiance.fields.splats.files import compressed, ply, spz
from arf.radiance.fields.splats.files.runs import find_run
from arf.radiance.fields.splats.files.splat import read_splat
from arf.radiance.fields.splats.files.values import sound
from arf.radiance.fields.splats.splats import Splats


@dataclass(frozen=True)
class SplatFile:
    """What a file holds.

    Attributes:
        splats: in the file's frame.
        up: the up axis there, where the file or its format says it; where it is None, y usually points down.
        name: of the scene: the run folder's, or the file's without what tells its format.
    """

    splats: Splats
    up: Axis | None
    name: str


def read_splats(path: Path) -> SplatFile:
    """The splats of a .ply, compressed .ply, .spz or .splat, told by what they hold; .splat by its name.

    Splats with numbers that are none are left out, with a warning.

    Raises:
        UserError: there is no such file, or it holds no splats that can be read.
    """
    if refusal := cannot_read(path, "file of splats"):
        raise refusal
    suffix = path.suffix.lower()
    with open(path, "rb") as file:
        start = file.read(4)
    up = None
    if start[:3] == b"ply" and start[3:].isspace():
        header = read_header(path)
        up = header.up
        splats = (compressed.read_compressed if compressed.is_compressed(header) else ply.read_ply)(path, header)
    elif spz.is_spz(path):
        splats, up = spz.read_spz(path), spz.UP
    elif suffix == ".splat":
        splats = read_splat(path)
    elif suffix in (".ply", ".spz"):
        raise UserError(f"{path} is no {suffix}, by what it begins with; copy or export it again")
    else:
        raise UserError(f"{path} is no file of splats that arf reads; it reads .ply, compressed .ply, .spz and .splat")
    return SplatFile(sound(splats, path), up, _name(path))


def _name(path: Path) -> str:
    """One that a folder may have."""
    run = find_run(path)
    name = run and Path(os.path.realpath(run)).name  # it may be given as ..
    name = name or path.name.removesuffix(path.suffix).removesuffix(".compressed")
    name = re.sub(r"[\x00-\x1f\x7f/\\]", "_", name)
    return name if name.strip(".") else "splats"

"""The .ply of 3D Gaussian Splatting (Kerbl et al., 2023): a row of named numbers for each splat.

    x y z · f_dc_0..2 · f_rest_* (of red, then of green, of blue) · opacity (logit) · scale_0..2 (ln) · rot_0..3 (wxyz)

They stand in any order, and others may stand among them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from arf import __version__
from arf.errors import UserError
from arf.jobs.files import atomic_path
from arf.media.ply.header import Element, Header, damaged
from arf.media.ply.rows import Columns, read_rows
from arf.radiance.fields.splats.files.values import DEGREES, activated, check_count, empty, logits, logs
from arf.radiance.fields.splats.harmonics import C0
from arf.radiance.fields.splats.splats import Splats

SHAPE = ("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3", "opacity")
PLACE, COEFFICIENTS, RGB = ("x", "y", "z"), ("f_dc_0", "f_dc_1", "f_dc_2"), ("red", "green", "blue")


def read_ply(path: Path, header: Header) -> Splats:
    """The splats of a .ply that names their numbers, in whatever order and of whatever types; what it has beyond them
    is passed over.

    Raises:
        UserError: a property is missing, or the file is shorter than its header says.
    """
    vertex = header.element("vertex")
    if vertex is None:
        raise damaged(path, "it has no element vertex")
    rest = _check_properties(path, vertex)
    rows = read_rows(path, header, "vertex", "splats")
    check_count(path, vertex.count, rest)
    splats, at = empty(vertex.count, rest), 0
    for columns in rows:
        block = _splats(columns, vertex, rest)
        for name, tensor in block.tensors().items():
            getattr(splats, name)[at : at + len(block)] = tensor
        at += len(block)
    return splats


def write_ply(path: Path, splats: Splats, up: str | None = "-y") -> None:
    """Write a .ply of degree 0, atomically, in the order of 3D Gaussian Splatting's own, whose normals are left out.

    Args:
        splats: x right, y down as a rule: viewers show files that way, whatever their comments say.
        up: the axis that points up, for a comment that nerfstudio writes too; None where it is none.

    Raises:
        UserError: the file cannot be written.
    """
    names = (*PLACE, *COEFFICIENTS, SHAPE[-1], *SHAPE[:-1])
    lines = ["ply", "format binary_little_endian 1.0", f"comment arf {__version__}"]
    lines += [f"comment Vertical Axis: {up}"] if up else []
    lines += [f"element vertex {len(splats)}", *(f"property float {name}" for name in names), "end_header", ""]
    f_dc, opacities = (splats.colors - 0.5) / C0, logits(splats.opacities)[:, None]
    rows = torch.cat([splats.means, f_dc, opacities, logs(splats.scales), splats.quats], 1)  # [n, 14]
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write("\n".join(lines).encode())
        rows.numpy().astype("<f4").tofile(file)


def _check_properties(path: Path, vertex: Element) -> int:
    """The number of coefficients per channel above degree 0."""
    color = RGB if COEFFICIENTS[0] not in vertex.types and RGB[0] in vertex.types else COEFFICIENTS
    if missing := [name for name in (*PLACE, *SHAPE, *color) if name not in vertex.types]:
        plain = "this is a point cloud, not splats" if {*SHAPE} <= {*missing} else "export it again with them"
        raise UserError(f"{path}: it has no {', '.join(missing)}: {plain}")
    count = sum(name.startswith("f_rest_") for name in vertex.types)
    if count % 3 or count // 3 not in DEGREES or any(f"f_rest_{i}" not in vertex.types for i in range(count)):
        known = ", ".join(str(3 * k) for k in DEGREES)
        raise damaged(path, f"it has {count} f_rest_*; splats have {known} of them, numbered from 0")
    return count // 3


def _splats(columns: Columns, vertex: Element, rest: int) -> Splats:
    """Of the rows of one block."""

    def read(*names: str) -> Float[Tensor, "n k"]:
        count = len(columns[names[0]]) if names else len(columns["x"])
        held = np.empty((count, len(names)), np.float32)
        with np.errstate(over="ignore"):  # a double beyond float32's reach is infinite
            for i, name in enumerate(names):
                held[:, i] = columns[name]
        return torch.from_numpy(held)

    if COEFFICIENTS[0] in vertex.types:
        f_dc = read(*COEFFICIENTS)
    else:
        kind = np.dtype(vertex.types[RGB[0]])
        f_dc = (read(*RGB) / (1 if kind.kind == "f" else np.iinfo(kind).max) - 0.5) / C0
    harmonics = read(*(f"f_rest_{i}" for i in range(3 * rest))).unflatten(1, (3, rest)).mT
    opacities = read("opacity")[:, 0]
    return activated(read(*PLACE), read(*SHAPE[:3]), read(*SHAPE[3:7]), opacities, f_dc, harmonics)

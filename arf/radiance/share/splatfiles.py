"""Splats written for other programs: .ply, .splat, .spz, with y pointing down unless asked otherwise."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from arf.errors import UserError
from arf.radiance.brought.frames import in_file, placement_of
from arf.radiance.brought.views import Renderings
from arf.radiance.capture.views import Capture
from arf.radiance.fields.splats.files.ply import write_ply
from arf.radiance.fields.splats.files.splat import write_splat
from arf.radiance.fields.splats.files.spz import write_spz
from arf.radiance.fields.splats.files.values import FARTHEST
from arf.radiance.fields.splats.splats import Splats

DOWNWARDS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # (x, y, z) -> (x, -z, y)
ALONG = 0.99  # cosine between what points up and an axis that is said to


def write_splats(path: Path, kind: str, splats: Splats, capture: Capture, frame: str) -> None:
    """
    Args:
        kind: "ply", "splat" or "spz".
        splats: in the scene's frame.
        frame: "auto", "capture" or "scene"; see `ExportSettings`.

    Raises:
        UserError: the file cannot be written, or nobody could read it.
    """
    placement = placement_of(capture.transform, capture.scale)
    nowhere, up = torch.zeros(3), "z"
    if frame == "capture":
        splats, up = in_file(splats, placement), axis_of(placement.rotation[2])
    elif frame == "auto" and isinstance(capture.train, Renderings):  # at the place that they came from
        turn = DOWNWARDS.double() @ placement.rotation
        splats, up = in_file(splats, placement).moved(turn, nowhere, 1.0), "-y"
    elif frame == "auto":
        splats, up = splats.moved(DOWNWARDS, nowhere, 1 / placement.scale), "-y"
    if not all((tensor.abs() <= FARTHEST).all() for tensor in splats.tensors().values()):  # nor NaN
        raise UserError(f"cannot write {path}: numbers of the splats are beyond all measure; make the run again")
    if kind == "ply":
        write_ply(path, splats, up)
    else:
        {"splat": write_splat, "spz": write_spz}[kind](path, splats)


def axis_of(direction: Float[Tensor, " 3"]) -> str | None:
    """The axis that a direction points along, such as "-y"; None where it is none."""
    unit = normalize(direction, dim=0)
    largest = int(unit.abs().argmax())
    if unit[largest].abs() < ALONG:
        return None
    return ("-" if unit[largest] < 0 else "") + "xyz"[largest]

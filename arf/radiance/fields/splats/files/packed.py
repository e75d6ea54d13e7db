"""Packed splats pass through gsply: what it reads made into ours, and what it says made into one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch

from arf.errors import UserError
from arf.jobs.machine import starved
from arf.radiance.fields.splats.files.values import activated, logits, logs
from arf.radiance.fields.splats.harmonics import C0
from arf.radiance.fields.splats.splats import Splats

if TYPE_CHECKING:
    from gsply import GSData


def unpacked(path: Path, read: Callable[[ModuleType], GSData]) -> Splats:
    """What gsply reads of a file whose header was found in order.

    Args:
        read: is given gsply.

    Raises:
        UserError: gsply refuses it.
    """
    from arf.radiance.fields.jit import ready

    library = gsply()
    try:
        with ready():
            data = read(library)
    except Exception as error:  # its own, zlib's, zstandard's, numpy's
        if short := starved(error):
            raise short from error
        reason = (str(error) or type(error).__name__).replace(str(path), "it").splitlines()[0][:120]
        raise UserError(f"{path} is damaged ({reason}); copy or export it again") from error
    names = ("means", "scales", "quats", "opacities", "sh0")
    parts = [torch.from_numpy(np.ascontiguousarray(getattr(data, name))) for name in names]
    rest = torch.zeros(len(parts[0]), 0, 3) if data.shN is None else torch.from_numpy(np.ascontiguousarray(data.shN))
    return activated(*parts, rest)


def packable(splats: Splats) -> GSData:
    """Splats of degree 0 as gsply wants them."""
    parts = (splats.means, logs(splats.scales), splats.quats, logits(splats.opacities), (splats.colors - 0.5) / C0)
    names = ("means", "scales", "quats", "opacities", "sh0")
    return gsply().GSData.from_arrays(
        **{name: part.numpy() for name, part in zip(names, parts, strict=True)}, format="ply"
    )


def gsply() -> ModuleType:
    """The library, with the backend that checks bounds in Python whatever the environment asks for."""
    import gsply  # imports numba, slowly

    import arf.radiance.fields.jit  # noqa: F401  how numba shares out its work

    gsply.use_backend("python")
    return gsply

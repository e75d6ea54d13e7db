"""The .splat of web viewers (antimatter15): 32 bytes for each splat, no header, in 3D Gaussian Splatting's axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from arf.errors import UserError
from arf.jobs.files import atomic_path
from arf.radiance.fields.splats.files.values import check_count, empty, normalized
from arf.radiance.fields.splats.splats import Splats

ROW = np.dtype([("means", "<f4", 3), ("scales", "<f4", 3), ("rgba", "u1", 4), ("quats", "u1", 4)])
BLOCK = 2**16  # splats read together


def read_splat(path: Path) -> Splats:
    """The splats of a .splat, of degree 0.

    Raises:
        UserError: its size is no multiple of a splat's.
    """
    count, over = divmod(path.stat().st_size, ROW.itemsize)
    if over:
        raise UserError(
            f"{path} is cut short or no .splat: its {path.stat().st_size} bytes are no multiple of {ROW.itemsize}; "
            "copy or export it again"
        )
    check_count(path, count, 0)
    splats = empty(count, 0)
    with open(path, "rb") as file:
        for at in range(0, count, BLOCK):
            rows = np.fromfile(file, ROW, min(BLOCK, count - at))
            part = slice(at, at + len(rows))
            splats.means[part] = torch.from_numpy(rows["means"].copy())
            splats.scales[part] = torch.from_numpy(rows["scales"].copy())
            splats.quats[part] = normalized(torch.from_numpy(rows["quats"].copy()).float() - 128)
            rgba = torch.from_numpy(rows["rgba"].copy()) / 255
            splats.colors[part], splats.opacities[part] = rgba[:, :3], rgba[:, 3]
    return splats


def write_splat(path: Path, splats: Splats) -> None:
    """Write a .splat, atomically: degree 0, the largest and most opaque first, since viewers show them as they come.

    Args:
        splats: in 3D Gaussian Splatting's axes: x right, y down.

    Raises:
        UserError: the file cannot be written.
    """
    order = (splats.scales.double().prod(1) * splats.opacities).argsort(descending=True, stable=True)
    splats = splats.select(order)
    rows = np.empty(len(splats), ROW)
    rows["means"], rows["scales"] = splats.means.numpy(), splats.scales.numpy()
    rgba = torch.cat([splats.colors, splats.opacities[:, None]], 1)
    rows["rgba"] = (rgba.clamp(0, 1) * 255).round().byte().numpy()
    rows["quats"] = (splats.quats * 128 + 128).round().clamp(0, 255).byte().numpy()
    with atomic_path(path) as temporary:
        rows.tofile(temporary)

"""Real spherical harmonics of degrees 0 to 3, in the order and with the signs of 3D Gaussian Splatting's files.

A colour seen along the unit direction d, from the camera to the Gaussian, is

    c(d) = 0.5 + C0 f_dc + Σ_k Y_k(d) f_rest_k          clamped below at 0
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

C0 = 0.28209479177387814  # Y of degree 0: rgb = 0.5 + C0 · f_dc
C1 = 0.4886025119029199
C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
C3 = (
    -0.5900435899266435, 2.890611442640554, -0.4570457994644658, 0.3731763325901154,
    -0.4570457994644658, 1.445305721320277, -0.5900435899266435,
)  # fmt: skip
PARTS = (slice(0, 3), slice(3, 8), slice(8, 15))  # of degrees 1, 2, 3 among the coefficients above degree 0


def basis(directions: Float[Tensor, "*n 3"], count: int) -> Float[Tensor, "*n k"]:
    """Y of the first `count` (0, 3, 8 or 15) coefficients above degree 0, for unit directions."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    values = [-C1 * y, C1 * z, -C1 * x]
    values += [C2[0] * x * y, C2[1] * y * z, C2[2] * (2 * zz - xx - yy), C2[3] * x * z, C2[4] * (xx - yy)]
    values += [
        C3[0] * y * (3 * xx - yy), C3[1] * x * y * z, C3[2] * y * (4 * zz - xx - yy),
        C3[3] * z * (2 * zz - 3 * xx - 3 * yy), C3[4] * x * (4 * zz - xx - yy), C3[5] * z * (xx - yy),
        C3[6] * x * (xx - 3 * yy),
    ]  # fmt: skip
    return torch.stack(values[:count], -1) if count else directions[..., :0]


def seen(
    colors: Float[Tensor, "n 3"], rest: Float[Tensor, "n k 3"], directions: Float[Tensor, "n 3"]
) -> Float[Tensor, "n 3"]:
    """Colours along unit directions from the camera."""
    if not rest.shape[1]:
        return colors
    return (colors + torch.einsum("nk,nkc->nc", basis(directions, rest.shape[1]), rest)).clamp_min(0)


def rotated(rest: Float[Tensor, "n k 3"], rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "n k 3"]:
    """Coefficients of the same colours in a frame that is turned: c'(R d) = c(d).

    A rotation mixes the coefficients of one degree among themselves. The matrix that does it is solved for on a few
    directions: it is exact, since they span the degree.
    """
    if not rest.shape[1]:
        return rest
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(32, 3, dtype=torch.float64, generator=generator), dim=1)
    before = basis(directions, rest.shape[1])  # [m, k]
    after = basis(directions @ rotation.double().T, rest.shape[1])
    turned = [
        torch.einsum("ij,njc->nic", torch.linalg.lstsq(after[:, part], before[:, part]).solution.float(), rest[:, part])
        for part in PARTS
        if part.stop <= rest.shape[1]
    ]
    return torch.cat(turned, 1)

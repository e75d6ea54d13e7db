"""Gaussian splats rendered by dense sums in float64, plain torch, differentiable: the oracle of every rasteriser.

Every pixel meets every Gaussian, front to back, by the rules of 3D Gaussian Splatting (Kerbl et al., 2023):

    Σ₂ = J W Σ Wᵀ Jᵀ              J at the mean, its slope clamped to 1.3 tan(fov / 2) on either side of the axis
    α  = min(0.99, o exp(−½ dᵀ (Σ₂ + 0.3 I)⁻¹ d))          d from the projected mean to the pixel's centre, in pixels
    w_i = α_i Π_{j < i} (1 − α_j)                          in order of depth, which is z and not the distance

Means nearer than NEAR along the axis and α < 1/255 count for nothing. A pixel is done at the Gaussian that takes its
transmittance below 1e-4: that one is the last that counts (3DGS leaves it out). Anti-aliased, o is multiplied by
√(det Σ₂ / det(Σ₂ + 0.3 I)).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.splats.harmonics import seen
from arf.radiance.fields.splats.splats import Splats, matrices

NEAR = 0.01  # scene units along the camera's axis
BLUR = 0.3  # square pixels
SLOPE = 1.3  # of tan(fov / 2)
MOST, LEAST = 0.99, 1 / 255  # α
DONE = 1e-4  # transmittance
CHUNK = 4_000_000  # pixels × Gaussians at a time


@dataclass
class Projected:
    """N Gaussians on the picture plane, float64, in their own order.

    Attributes:
        centres: [N, 2] column and row in pixels.
        covariances: [N, 2, 2] Σ₂ + 0.3 I in square pixels.
        opacities: [N], 0 where nearer than NEAR.
        depths: [N] along the axis.
    """

    centres: Float[Tensor, "n 2"]
    covariances: Float[Tensor, "n 2 2"]
    opacities: Float[Tensor, " n"]
    depths: Float[Tensor, " n"]


def project(splats: Splats, camera: Camera, antialiased: bool = False) -> Projected:
    """Gaussians onto a pinhole's picture plane."""
    pose = camera.pose.double()
    world = torch.diag(pose.new_tensor([1.0, -1.0, -1.0])) @ pose[:, :3].T  # W: to x right, y down, z forward
    x, y, depths = ((splats.means.double() - pose[:, 3]) @ world.T).unbind(1)  # [n] each
    front = depths >= NEAR
    z = depths.where(front, 1.0)
    centres = torch.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], 1)
    across, down = SLOPE * camera.width / (2 * camera.fx), SLOPE * camera.height / (2 * camera.fy)
    slope_x, slope_y, zero = (x / z).clamp(-across, across), (y / z).clamp(-down, down), torch.zeros_like(z)
    rows = [torch.stack(row, -1) for row in (
        (camera.fx / z, zero, -camera.fx * slope_x / z),
        (zero, camera.fy / z, -camera.fy * slope_y / z),
    )]  # fmt: skip
    spread = torch.stack(rows, 1) @ world @ (matrices(splats.quats.double()) * splats.scales.double()[:, None])
    flat = spread @ spread.mT  # [n, 2, 2]
    covariances = flat + BLUR * torch.eye(2, dtype=torch.float64)
    opacities = splats.opacities.double() * front
    if antialiased:
        opacities = opacities * (flat.det() / covariances.det()).clamp_min(0).sqrt()
    return Projected(centres, covariances, opacities, depths)


def weights(
    splats: Splats, camera: Camera, antialiased: bool = False
) -> tuple[Float[Tensor, "pixels n"], Float[Tensor, " pixels"]]:
    """Each Gaussian's weight in each pixel, row by row, and what is left to the background; they sum to 1."""
    found, leftover = zip(*_chunks(splats, camera, antialiased), strict=True)
    return torch.cat(found), torch.cat(leftover)


def render(
    splats: Splats,
    camera: Camera,
    background: Float[Tensor, "3"],
    colors: Float[Tensor, "n 3"] | None = None,
    antialiased: bool = False,
) -> Float[Tensor, "h w 3"]:
    """The picture, unclamped: in the Gaussians' own colours along the directions from the camera, or in those given."""
    if colors is None:
        directions = normalize(splats.means.double() - camera.pose[:, 3].double(), dim=1)
        colors = seen(splats.colors.double(), splats.rest.double(), directions)
    colors, background = colors.double(), background.double()
    parts = [found @ colors + left[:, None] * background for found, left in _chunks(splats, camera, antialiased)]
    return torch.cat(parts).view(*camera.size, 3)


def _chunks(splats: Splats, camera: Camera, antialiased: bool):
    """`weights` of successive pixels."""
    flat = project(splats, camera, antialiased)
    order = flat.depths.argsort(stable=True)
    precisions = flat.covariances[order].inverse()
    xx, xy, yy = precisions[:, 0, 0], precisions[:, 0, 1], precisions[:, 1, 1]
    v, u = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) + 0.5 for side in camera.size), indexing="ij")
    for pixels in torch.stack([u, v], -1).view(-1, 2).split(max(1, CHUNK // max(1, len(splats)))):
        x, y = (pixels[:, None, axis] - flat.centres[order, axis] for axis in (0, 1))  # [p, n] each
        alphas = (flat.opacities[order] * (-0.5 * (xx * x * x + yy * y * y) - xy * x * y).exp()).clamp_max(MOST)
        alphas = alphas.where(alphas >= LEAST, 0)
        after = (1 - alphas).cumprod(1)  # [p, n] transmittance behind each
        ahead = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1)
        alphas = alphas.where(ahead >= DONE, 0)
        after = (1 - alphas).cumprod(1)
        before = torch.cat([torch.ones_like(after[:, :1]), after], 1)  # [p, n + 1]
        yield torch.zeros_like(alphas).index_copy(1, order, alphas * before[:, :-1]), before[:, -1]

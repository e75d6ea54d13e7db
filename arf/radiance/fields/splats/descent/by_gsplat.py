"""Slopes by gsplat (Ye et al., gsplat: An Open-Source Library for Gaussian Splatting, 2024), on a GPU.

Its conventions, the same from 1.4 to 1.5: cameras are world to camera, with x right, y down and z forward; quaternions
are w, x, y, z; 0.3 px² are added to the 2D covariance; alphas below 1/255 are left out. Other than ours: alphas are at
most 0.999, a pixel leaves out the splat that closes it, and a splat ends at about three standard deviations.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.splats.descent.similarity import slope
from arf.radiance.fields.splats.descent.tuning import Slopes, Tuning
from arf.radiance.fields.splats.kernels.projection import BLUR, NEAR, lens_of
from arf.radiance.fields.splats.splats import Splats

Rasterization = Callable[..., tuple[Tensor, Tensor, dict]]  # gsplat.rasterization


class Gsplat:
    """An engine (see `arf.radiance.fields.splats.descent.tuning.Engine`) that makes the loss of 3D Gaussian Splatting
    smaller. Sums are taken in no fixed order: no two fits give the same bits.

    Args:
        rasterization: gsplat's.
        antialiased: see `arf.radiance.fields.splats.kernels.projection.project`.
    """

    def __init__(self, rasterization: Rasterization, device: torch.device, antialiased: bool = False) -> None:
        self.rasterization, self.device, self.antialiased = rasterization, device, antialiased

    def slopes(
        self,
        splats: Splats,
        camera: Camera,
        target: Float[Tensor, "h w 3"],
        background: Float[Tensor, " 3"],
        mask: Bool[Tensor, "h w"] | None = None,
    ) -> Slopes:
        leaves = {name: getattr(splats, name).detach().requires_grad_() for name in Tuning.SHAPES}
        with torch.enable_grad():
            rendered = self.render(Splats(**leaves, rest=splats.rest), camera, background)
        picture = rendered.detach()
        wanted = target if mask is None else torch.where(mask[..., None], target, picture)
        given = slope(picture, wanted) if mask is None else slope(picture, wanted) * mask[..., None]
        found = torch.autograd.grad(rendered, tuple(leaves.values()), given)
        return dict(zip(leaves, found, strict=True)), (picture - wanted).square().mean()

    def render(self, splats: Splats, camera: Camera, background: Float[Tensor, " 3"]) -> Float[Tensor, "h w 3"]:
        """The picture of a pinhole camera, unclamped, in the splats' colours of degree 0; differentiable."""
        view, lens = (torch.from_numpy(array)[None].to(self.device) for array in matrices_of(camera))
        pictures, *_ = self.rasterization(
            **{name: getattr(splats, name) for name in Tuning.SHAPES}, viewmats=view, Ks=lens, width=camera.width,
            height=camera.height, near_plane=NEAR, eps2d=BLUR, packed=False, backgrounds=background[None],
            rasterize_mode="antialiased" if self.antialiased else "classic",
        )  # fmt: skip
        return pictures[0]


def matrices_of(camera: Camera) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "3 3"]]:
    """World to camera, and the intrinsics in pixels; float32."""
    world, (fx, fy, cx, cy), _ = lens_of(camera)
    view = np.concatenate([world, np.float32([[0, 0, 0, 1]])])
    return view, np.float32([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

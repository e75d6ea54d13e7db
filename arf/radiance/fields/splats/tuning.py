"""Splats moved by gradient descent until they render like given pictures."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.capture.cameras import Camera
from arf.radiance.fields.jit import ready
from arf.radiance.fields.splats.kernels.backward import backward
from arf.radiance.fields.splats.kernels.projection import project
from arf.radiance.fields.splats.kernels.raster import rasterise
from arf.radiance.fields.splats.kernels.tiles import tiles_of
from arf.radiance.fields.splats.splats import Splats

RATES = {"means": 4e-4, "scales": 1e-2, "quats": 5e-3, "opacities": 5e-2, "colors": 1e-2}  # of Adam, at the start
LAST = 0.1  # of the rates, at the end
LEAST, MOST = 0.005, 0.995  # opacities within which they are moved


class Tuning:
    """Adam over logarithms of scales, logits of opacities, and the rest as it is.

    Args:
        extent: of the scene: the means' rate is in units of it.
        steps: that there will be; rates fall exponentially over them.
    """

    def __init__(self, splats: Splats, background: Float[Tensor, " 3"], extent: float, steps: int) -> None:
        self.background, self.steps, self.step = background, steps, 0
        self.raw = {
            "means": splats.means.clone(),
            "scales": splats.scales.clamp_min(1e-9).log(),
            "quats": splats.quats.clone(),
            "opacities": splats.opacities.clamp(LEAST, MOST).logit(),
            "colors": splats.colors.clone(),
        }
        self.rest = splats.rest[:, :0]
        self.rates = {**RATES, "means": RATES["means"] * extent}
        groups = [{"params": [value.requires_grad_()], "lr": self.rates[name]} for name, value in self.raw.items()]
        self.optimizer = torch.optim.Adam(groups, eps=1e-15, fused=True)

    @torch.no_grad()
    def splats(self) -> Splats:
        """As they are now."""
        raw = {name: value.detach() for name, value in self.raw.items()}
        parts = raw["means"], raw["scales"].exp(), normalize(raw["quats"], dim=1), raw["opacities"].sigmoid()
        return Splats(*parts, raw["colors"], self.rest)

    @torch.no_grad()
    def advance(self, camera: Camera, target: Float[Tensor, "h w 3"]) -> float:
        """One step towards a picture; the mean squared error before it."""
        splats = self.splats()
        with ready():
            projected = project(splats, camera)
            tiles, colors = tiles_of(projected), splats.colors.numpy()
            picture, *_ = rasterise(projected, tiles, colors, self.background.numpy())
            error = torch.from_numpy(picture) - target
            slope = (2 / error.numel() * error).numpy()
            found = backward(splats, camera, projected, tiles, colors, picture, slope)
        chain = {"scales": splats.scales, "opacities": (splats.opacities * (1 - splats.opacities))}
        for name, value in self.raw.items():
            gradient = torch.from_numpy(getattr(found, name))
            value.grad = gradient * chain[name] if name in chain else gradient
        for group, name in zip(self.optimizer.param_groups, self.raw, strict=True):
            group["lr"] = self.rates[name] * LAST ** (self.step / self.steps)
        self.optimizer.step()
        self.step += 1
        return float(error.square().mean())

"""Gaussian splats as plain numbers, in whatever frame they are in."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from arf.radiance.fields.splats.harmonics import rotated


@dataclass
class Splats:
    """N Gaussians (Kerbl et al., 3D Gaussian Splatting, 2023), their parameters as they act: no logarithms, no logits.

    Attributes:
        means: float32 [N, 3].
        scales: float32 [N, 3] standard deviations along the Gaussian's own axes.
        quats: float32 [N, 4] unit quaternions w, x, y, z: from its own axes to the frame's.
        opacities: float32 [N] in [0, 1].
        colors: float32 [N, 3] RGB of degree 0, unclamped.
        rest: float32 [N, K, 3] coefficients of spherical harmonics of degrees 1 to 3, K = 0, 3, 8 or 15.
    """

    means: Float[Tensor, "n 3"]
    scales: Float[Tensor, "n 3"]
    quats: Float[Tensor, "n 4"]
    opacities: Float[Tensor, " n"]
    colors: Float[Tensor, "n 3"]
    rest: Float[Tensor, "n k 3"]

    def __len__(self) -> int:
        return len(self.means)

    @property
    def degree(self) -> int:
        """Of the spherical harmonics."""
        return {0: 0, 3: 1, 8: 2, 15: 3}[self.rest.shape[1]]

    def tensors(self) -> dict[str, Tensor]:
        """The six, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def select(self, chosen: Bool[Tensor, " n"] | Int[Tensor, " m"]) -> Splats:
        """Some of them."""
        return Splats(**{name: tensor[chosen] for name, tensor in self.tensors().items()})

    def to(self, device: torch.device) -> Splats:
        """The same on a device."""
        return Splats(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def moved(self, rotation: Float[Tensor, "3 3"], centre: Float[Tensor, " 3"], scale: float) -> Splats:
        """In another frame, x ↦ scale · rotation (x − centre), computed in float64.

        Args:
            rotation: a rotation; a mirror image of a Gaussian scene is none of its motions.
        """
        turn, middle = rotation.double().cpu(), centre.double().cpu()
        means = scale * (self.means.double() - middle) @ turn.T
        quats = normalize(product(quaternion(turn), self.quats.double()), dim=1)
        rest = rotated(self.rest, turn)
        return Splats(means.float(), self.scales * scale, quats.float(), self.opacities, self.colors, rest)

    def flat(self, colors: Float[Tensor, "n 3"] | None = None) -> Splats:
        """Without spherical harmonics above degree 0, in other colours where some are given."""
        own = {**self.tensors(), "rest": self.rest[:, :0]}
        return Splats(**{**own, **({} if colors is None else {"colors": colors})})


def quaternion(rotation: Float[Tensor, "3 3"]) -> Float[Tensor, " 4"]:
    """The unit quaternion w, x, y, z of a rotation."""
    from scipy.spatial.transform import Rotation  # imports slowly

    x, y, z, w = Rotation.from_matrix(rotation.double().numpy()).as_quat().tolist()
    return torch.tensor([w, x, y, z], dtype=rotation.dtype)


def product(p: Float[Tensor, "*n 4"], q: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Hamilton's product: the rotation q, then p."""
    w, x, y, z = p.unbind(-1)
    a, b, c, d = q.unbind(-1)
    parts = (
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    )
    return torch.stack(parts, -1)


def matrices(quats: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 3 3"]:
    """Rotation matrices of unit quaternions w, x, y, z."""
    w, x, y, z = quats.unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)

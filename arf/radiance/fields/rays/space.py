"""Where a radiance field lives: a map from the world into the unit cube, and how far to step along a ray in it.

Three kinds of capture need three maps. All of them work per axis-aligned unit cube `[0, 1]^3`, so that one grid
serves them all; the step along a ray is counted in *cube units* ("arc"), so that a step is about as long as a voxel
wherever the ray is.

* `bounded`: a box, mapped affinely (objects, rooms).
* `unbounded`: nerfstudio's scene contraction with the L-infinity norm (Barron et al., "Mip-NeRF 360", 2022): the
  cube [-1, 1]^3 keeps its scale and fills the middle half, everything outside is squeezed around it.
* `forward`: normalised device coordinates (Mildenhall et al., "NeRF", 2020) of a camera at the origin that looks
  along -z: the frustum is mapped to the cube, depth linear in disparity.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

NEAR = 0.05  # world units: nothing is sampled closer to a camera in an unbounded scene
FAR = 1e5  # world units: the horizon, where marching ends


class Space(nn.Module):
    """A map `world → [0, 1]^3` and the marching schedule that goes with it.

    Args:
        kind: `bounded`, `unbounded` or `forward`.
        box: [2, 3] lower and upper corner. World units for `bounded`; ignored for `unbounded`; for `forward` the
            box is `[[-a, -b, near], [a, b, inf]]`: the half-extents of x/depth and y/depth, and the near plane.
    """

    box: Tensor

    def __init__(self, kind: str, box: Float[Tensor, "2 3"] | None = None) -> None:
        super().__init__()
        if kind not in ("bounded", "unbounded", "forward"):
            raise ValueError(f"unknown kind of space {kind!r}")
        if kind == "unbounded":
            box = torch.tensor([[-2.0, -2.0, -2.0], [2.0, 2.0, 2.0]])
        if box is None or tuple(box.shape) != (2, 3):
            raise ValueError(f"a {kind} space needs a box [2, 3], got {None if box is None else tuple(box.shape)}")
        self.kind = kind
        self.register_buffer("box", box.float().clone())

    @property
    def extent(self) -> Float[Tensor, " 3"]:
        """Edge lengths of the mapped region; only their ratios matter, they give the voxel counts per axis."""
        if self.kind == "forward":
            lo, hi = self.box
            return torch.stack([hi[0] - lo[0], hi[1] - lo[1], (hi[0] - lo[0]) / 2])  # disparity: half the width
        return self.box[1] - self.box[0]

    def warp(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """World points to the unit cube. Points outside the region land outside [0, 1]."""
        if self.kind == "bounded":
            return (points - self.box[0]) / (self.box[1] - self.box[0])
        if self.kind == "unbounded":
            radius = points.abs().amax(-1, keepdim=True).clamp_min(1.0)  # [n, 1]
            return points * ((2.0 - 1.0 / radius) / radius * 0.25) + 0.5
        depth = (-points[..., 2:]).clamp_min(1e-6)  # [n, 1] the camera looks along -z
        across = points[..., :2] / depth / self.box[1, :2] * 0.5 + 0.5  # [n, 2]
        return torch.cat([across, 1.0 - self.box[0, 2] / depth], -1)

    def unwarp(self, unit: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Inverse of `warp` for `bounded` and `unbounded`; the cube's faces, at infinity, come back as FAR."""
        if self.kind == "bounded":
            return self.box[0] + unit * (self.box[1] - self.box[0])
        squeezed = (unit - 0.5) * 4  # the cube [-2, 2]^3
        radius = squeezed.abs().amax(-1, keepdim=True).clamp_min(1.0)  # [n, 1]
        return squeezed / radius / (2.0 - radius).clamp_min(1 / FAR)

    def length(self) -> float:
        """The longest arc that a ray can have, in units of `extent`: the number of steps is this over the step."""
        if self.kind == "bounded":
            return float(self.extent.norm())
        if self.kind == "unbounded":
            return 3 * 3**0.5  # the cube's diagonal and, as long in proportion, the squeezed shell
        return float(self.extent[2])

    def start(self, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]) -> Float[Tensor, "r 1"]:
        """The distance at which marching begins. From a camera outside of an unbounded scene's unit cube, in which all
        cameras of the capture stood: where the ray enters that cube, or comes nearest to it. 0 for all others."""
        outside = (origins.abs().amax(-1) > 1) & (self.kind == "unbounded")  # [r]
        ahead = torch.zeros_like(origins[:, :1])
        if outside.any():
            ahead[outside] = _nearest(origins[outside], directions[outside])
        return ahead

    def entry(self, origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]) -> Float[Tensor, "r 1"]:
        """Where the schedule turns: the distance at which the ray enters the box (bounded), or leaves the unit cube for
        good (unbounded; by the axis along which it moves fastest). Nothing for `forward`."""
        if self.kind == "bounded":
            safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
            near = torch.minimum((self.box[0] - origins) / safe, (self.box[1] - origins) / safe)  # [r, 3]
            return near.amax(-1, keepdim=True).clamp_min(0.0)
        speed, axis = directions.abs().max(-1, keepdim=True)  # [r, 1]
        return ((1.0 - (origins * directions.sign()).gather(-1, axis)) / speed).clamp_min(0.0)

    def depth(
        self,
        arc: Float[Tensor, "r s"],
        entry: Float[Tensor, "r 1"],
        origins: Float[Tensor, "r 3"],
        directions: Float[Tensor, "r 3"],
    ) -> Float[Tensor, "r s"]:
        """The distance along each ray at a given arc, FAR at the end of the ray and beyond."""
        if self.kind == "bounded":
            return entry + arc
        if self.kind == "unbounded":
            # Even steps until the ray has left the unit cube, from there even in the contraction's radius.
            speed = directions.abs().amax(-1, keepdim=True)  # [r, 1]
            shell = ((arc - entry) * speed).clamp(0.0, 1.0 - 1e-7)
            outside = entry + (1.0 / (1.0 - shell) - 1.0) / speed
            return (NEAR + torch.where(arc < entry, arc, outside)).clamp_max(FAR)
        disparity = 1.0 - (arc / self.extent[2]).clamp(0.0, 1.0 - 1e-7)
        along = (-directions[..., 2:]).clamp_min(1e-6)  # [r, 1]
        return ((self.box[0, 2] / disparity + origins[..., 2:]) / along).clamp(0.0, FAR)


def _nearest(origins: Float[Tensor, "r 3"], directions: Float[Tensor, "r 3"]) -> Float[Tensor, "r 1"]:
    """Where rays that begin outside of the cube [-1, 1]^3 enter it, else where the largest of their coordinates is
    smallest."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    one, other = (-1 - origins) / safe, (1 - origins) / safe  # [r, 3]
    enters, leaves = torch.minimum(one, other).amax(-1), torch.maximum(one, other).amin(-1)  # [r]
    # The largest coordinate is convex and piecewise linear along a ray: its minimum lies where two of them are equal,
    # where one is 0, or at the start.
    places = [torch.zeros_like(enters)]
    for i in range(3):
        places.append(-origins[:, i] / safe[:, i])
        for sign in (-1, 1):
            j = (i + 1) % 3
            slope = directions[:, i] + sign * directions[:, j]
            places.append(-(origins[:, i] + sign * origins[:, j]) / torch.where(slope.abs() < 1e-9, 1e-9, slope))
    at = torch.stack(places, 1).clamp_min(0)  # [r, 10]
    size = (origins[:, None] + at[..., None] * directions[:, None]).abs().amax(-1)  # [r, 10]
    nearest = at.gather(1, size.argmin(1, keepdim=True))[:, 0]
    return torch.where((enters <= leaves) & (enters > 0), enters, nearest)[:, None]

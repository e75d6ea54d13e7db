"""The repainted colours θ: RGB on the vertices that some training view sees, and what lies beyond them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from arf.radiance.fields.trace import Trace
from arf.radiance.fields.voxel.grid import CORNERS, BrickMap, grid_coords, trilinear_weights
from arf.style.color import Affine


class VertexColors(nn.Module):
    """Sparse vertex colours of a grid, with a fallback where no view ever looked.

    A vertex that no training view sees takes the recoloured photoreal colour at the sample instead, so a novel view
    fades into it without a seam:

        c(x) = sum_{k seen} w_k θ_k + (1 - sum_{k seen} w_k) (M rgb(x) + b)

    Args:
        shape: cells per axis.
        keys: [V] sorted row-major indices of the seen vertices.
        theta: [V, 3] RGB, unclamped; [V, 3 k] for k looks beside each other.
        recolor: the fallback's affine map.
        background: [3] RGB behind everything, or [3 k].
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        keys: Int[Tensor, " V"],
        theta: Float[Tensor, "V 3"],
        recolor: Affine,
        background: Float[Tensor, " 3"],
    ) -> None:
        super().__init__()
        self.register_buffer("shape", torch.tensor(shape))
        self.register_buffer("keys", keys)
        self.register_buffer("theta", theta)
        self.register_buffer("matrix", recolor.matrix.float())
        self.register_buffer("bias", recolor.bias.float())
        self.register_buffer("background", background)
        self._index()
        self.to(theta.device)

    @classmethod
    def empty(cls) -> VertexColors:
        """No vertex at all, to load a state into."""
        none = torch.zeros(0, dtype=torch.int64)
        return cls((1, 1, 1), none, torch.zeros(0, 3), Affine.identity(), torch.zeros(3))

    @classmethod
    def beside(cls, looks: Sequence[VertexColors]) -> VertexColors:
        """Several looks of one scene as one, its channels theirs in turn: what is looked up in one go costs once.

        Raises:
            ValueError: they have different vertices.
        """
        first = looks[0]
        if any(look.cells != first.cells or not torch.equal(look.keys, first.keys) for look in looks):
            raise ValueError("looks that are rendered together must have the same vertices")
        recolor = Affine(torch.cat([look.matrix for look in looks]), torch.cat([look.bias for look in looks]))
        theta, background = torch.cat([look.theta for look in looks], 1), torch.cat([look.background for look in looks])
        return cls(first.cells, first.keys, theta, recolor, background)

    def _index(self) -> None:
        self.cells = tuple(self.shape.tolist())
        self.rows = BrickMap(tuple(n + 1 for n in self.cells), self.keys)

    def lookup(self, trace: Trace) -> Float[Tensor, "n 3"]:
        """Colours of traced samples, anywhere in space."""
        near = grid_coords(trace.cell, self.cells).int().unbind(-1)  # x, y, z [n] of each cell's first vertex
        steps = CORNERS.to(trace.cell.device).int().unbind(-1)
        row = self.rows.find_at(*(base[:, None] + step for base, step in zip(near, steps, strict=True)))  # [n, 8]
        seen = row >= 0
        weights = trilinear_weights(trace.fraction) * seen
        padded = torch.cat([self.theta, self.theta.new_zeros(1, self.theta.shape[1])])  # row -1 is the zero at the end
        painted = nn.functional.embedding_bag(
            torch.where(seen, row, len(self.theta)), padded, per_sample_weights=weights, mode="sum"
        )
        fallback = trace.rgb @ self.matrix.t() + self.bias
        return painted + (1 - weights.sum(-1, keepdim=True)) * fallback

    def render(self, trace: Trace) -> Float[Tensor, "r 3"]:
        """Colours of traced rays, unclamped."""
        return trace.composite(self.lookup(trace), self.background)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """A checkpoint says how many vertices there are; where that is so already, an optimizer keeps what it holds."""
        for name in ("keys", "theta"):
            value = state_dict.get(prefix + name)
            if value is not None and value.shape != getattr(self, name).shape:
                setattr(self, name, torch.empty_like(value, device=self.theta.device))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._index()

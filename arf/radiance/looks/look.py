"""A look: the repainted colours of a field's columns, and what becomes of what has no column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.fields.field import Field, Trace
from arf.style.color import Affine


@dataclass
class Look:
    """Colours of a field's columns. What no column holds takes the recoloured photoreal colour instead, so that a film
    fades into it without a seam:

        image = A θ + t ⊗ background + (M r + b w_r)          r, w_r: colour and weight of the rest (`Trace.rest`)

    Attributes:
        theta: [V, 3] RGB, unclamped; [V, 3 k] for k looks beside each other.
        background: [3] RGB behind everything, or [3 k].
        recolor: the map (M, b) of the rest; float64 [3 k, 3] and [3 k].
    """

    theta: Float[Tensor, "V c"]
    background: Float[Tensor, " c"]
    recolor: Affine

    @classmethod
    def photoreal(cls, field: Field) -> Look:
        """A field's own colours as a look."""
        return cls(field.colors, field.background, Affine.identity())

    @classmethod
    def beside(cls, looks: Sequence[Look]) -> Look:
        """Several looks of one field as one, its channels theirs in turn: what is traced once serves all.

        Raises:
            ValueError: they have different numbers of columns.
        """
        if len({len(look.theta) for look in looks}) > 1:
            raise ValueError("looks that are rendered together must have the same columns")
        maps = [look.recolor for look in looks]
        recolor = Affine(torch.cat([m.matrix for m in maps]), torch.cat([m.bias for m in maps]))
        return cls(torch.cat([look.theta for look in looks], 1), torch.cat([k.background for k in looks]), recolor)

    @classmethod
    def mixed(cls, looks: Sequence[Look], weights: Sequence[float]) -> Look:
        """The weighted sum of looks of one field: since rendering is linear, of all their pictures.

        Raises:
            ValueError: they have different numbers of columns.
        """
        if len({len(look.theta) for look in looks}) > 1:
            raise ValueError("looks that are mixed must have the same columns")
        parts = list(zip(looks, weights, strict=True))
        matrix, bias = (sum(w * getattr(k.recolor, part) for k, w in parts) for part in ("matrix", "bias"))
        theta, background = sum(w * k.theta for k, w in parts), sum(w * k.background for k, w in parts)
        return cls(theta, background, Affine(matrix, bias))

    def render(self, trace: Trace) -> Float[Tensor, "p c"]:
        """Colours of traced pixels, unclamped."""
        index = trace.columns.dtype
        size = (len(trace.leftover), len(self.theta))
        matrix = torch.sparse_csr_tensor(
            trace.starts.to(index), trace.columns, trace.weights, size, check_invariants=False
        )
        painted = matrix @ self.theta + trace.leftover[:, None] * self.background  # [p, c]
        if trace.rest is None:
            return painted
        matrix, bias = self.recolor.matrix.to(trace.rest), self.recolor.bias.to(trace.rest)
        return painted + trace.rest[:, :3] @ matrix.t() + trace.rest[:, 3:] * bias

    def to(self, device: torch.device) -> Look:
        return Look(self.theta.to(device), self.background.to(device), self.recolor)

    def tensors(self) -> dict[str, Tensor]:
        """What a file keeps of it."""
        matrix, bias = self.recolor.matrix.float(), self.recolor.bias.float()
        return {"theta": self.theta, "matrix": matrix, "bias": bias, "background": self.background}

    @classmethod
    def of_tensors(cls, tensors: dict[str, Tensor]) -> Look:
        """Inverse of `tensors`."""
        recolor = Affine(tensors["matrix"].double(), tensors["bias"].double())
        return cls(tensors["theta"].float(), tensors["background"].float(), recolor)

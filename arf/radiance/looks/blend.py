"""How much of the paint shows: photoreal and painted colours mixed when a picture is rendered."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from arf.errors import UserError
from arf.style.color import keep_color

Colors = Float[Tensor, "*n 3"]


def check_strength(value: float) -> float:
    """The style strength, if it is one.

    Raises:
        UserError: not a finite number within 0..1.
    """
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise UserError(
            f"style strength is {value:g}; it must lie between 0 and 1: 0 shows the photographs, 1 the painting"
        )
    return value


def blend(photoreal: Colors, painted: Colors, strength: float, preserve_color: bool = False) -> Colors:
    """(1 - s) photoreal + s painted, for colours [..., 3], unclamped.

    `preserve_color` gives the painting the photoreal chroma first (see `arf.style.color.keep_color`). Both are linear
    in the colours, so that they commute with rendering.

    Raises:
        ValueError: two shapes.
    """
    if photoreal.shape != painted.shape:
        raise ValueError(f"colours to blend are of one shape, got {list(photoreal.shape)} and {list(painted.shape)}")
    if preserve_color:
        painted = keep_color(painted, photoreal)
    return photoreal.lerp(painted, strength)

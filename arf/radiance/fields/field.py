"""What every field offers, and the only thing that the rest knows of one.

Stylization changes colour and never density or shape, so that the weights of every pixel are constants, and colour is
linear in the field's columns (vertices of a grid, Gaussians):

    image  =  A θ  +  t ⊗ background  +  rest          A: pixels × columns, θ: columns × RGB
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.views import Views

NOWHERE = 1e6  # depth of a ray that meets nothing


@dataclass
class Trace:
    """What the P pixels of a camera see, row by row.

    Attributes:
        starts: int64 [P + 1] where each pixel's entries begin.
        columns: int32 or int64 [E]; a column may stand in a pixel's row more than once.
        weights: float32 [E].
        leftover: float32 [P] transmittance left behind everything, to be filled by the background.
        color: float32 [P, 3] the field's own picture, background included, unclamped.
        depth: float32 [P] distance along the ray in scene units, a mean; 1e6 where there is nothing.
        rest: float32 [P, 4] colour (times its weight) and weight of what has no column; None where all has one.
        merged: whether a column stands in a pixel's row at most once.
    """

    starts: Int[Tensor, " p1"]
    columns: Int[Tensor, " e"]
    weights: Float[Tensor, " e"]
    leftover: Float[Tensor, " p"]
    color: Float[Tensor, "p 3"]
    depth: Float[Tensor, " p"]
    rest: Float[Tensor, "p 4"] | None = None
    merged: bool = False


@dataclass
class Shot:
    """A field's own picture of P pixels.

    Attributes:
        color: float32 [P, 3] background included, unclamped.
        opacity: float32 [P] in [0, 1].
        depth: float32 [P] distance along the ray in scene units, a mean; 1e6 where there is nothing.
        samples: int64 [P] how many samples weigh more than 0.01.
    """

    color: Float[Tensor, "p 3"]
    opacity: Float[Tensor, " p"]
    depth: Float[Tensor, " p"]
    samples: Int[Tensor, " p"]


@dataclass
class Surface:
    """Where the rays of P pixels meet something.

    Attributes:
        depth: float32 [P] distance along the ray at which half of its weight is passed; 1e6 where there is none.
        opacity: float32 [P].
        solid: float32 [P] share of that opacity which lies near that depth, for the field's own notion of near.
    """

    depth: Float[Tensor, " p"]
    opacity: Float[Tensor, " p"]
    solid: Float[Tensor, " p"]


class Field(Protocol):
    """Frozen geometry with colours.

    Attributes:
        name: of the kind of field, as `--backbone` has it.
        background: [3] RGB behind everything.
        band: pixels that are best traced at once, when nothing is kept of them.
        detail: the finest thing that it can show, in units of the longest side of the space that it maps.
        drop: share of a pixel's weight that a style loop may well do without.
        antialiased: whether a pixel is the mean over its area, however large that is; else it is what one ray meets.
    """

    name: str
    device: torch.device
    background: Float[Tensor, " 3"]
    band: int
    detail: float
    drop: float
    antialiased: bool

    @property
    def count(self) -> int:
        """Number of columns, V."""

    @property
    def colors(self) -> Float[Tensor, "V 3"]:
        """The columns' own colours."""

    def trace(self, camera: Camera, drop: float = 0.0) -> Trace:
        """What each pixel sees. `drop` is the share of a pixel's weight, its lightest parts, that may be left out;
        what stays takes it over, so that a pixel's total is kept."""

    def shoot(self, camera: Camera) -> Shot:
        """The field's own picture."""

    def surface(self, camera: Camera) -> Surface:
        """Where its surfaces are."""

    def survey(self, views: Views, resolution: int | None = None) -> AbstractContextManager[bool]:
        """Within it the training views are traced. A field whose columns are no parameters of its own (it yields True)
        takes those that the views meet, about as fine as `resolution` says; at the end `count` is final.

        Raises:
            UserError: a resolution for a field that has its own.
        """

    def adopt(self, shape: tuple[int, int, int], keys: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
        """Columns of grid vertices as paintings of arf 0.1 name them: by their row-major numbers. Grids only.

        Raises:
            UserError: they are none of the grid's.
        """

    def refined(self, cameras: Cameras) -> Cameras:
        """The training cameras with the poses that the fit found for them."""

    def values(self) -> dict[str, Any]:
        """Its configuration as arf.json keeps it; `arf.radiance.fields.kinds.build` makes the same field of it."""

    def state_dict(self) -> dict[str, Tensor]:
        """Everything else."""

    def load_state_dict(self, state: dict[str, Tensor]) -> object:
        """Inverse of `state_dict`, also into a field of another size."""


@runtime_checkable
class Renders(Protocol):
    """What a field offers beside that if all that is seen of it has a column: pictures of any colours of its columns,
    without a trace."""

    def own(self, camera: Camera) -> Float[Tensor, "V 3"]:
        """The columns' own colours as the camera sees them."""

    def render(
        self, camera: Camera, colors: Float[Tensor, "V c"], background: Float[Tensor, " c"]
    ) -> Float[Tensor, "h w c"]:
        """The picture, unclamped."""


@runtime_checkable
class Direct(Renders, Protocol):
    """And if it gives their gradient so too, as quickly."""

    def pull(self, camera: Camera, gradient: Float[Tensor, "h w c"]) -> Float[Tensor, "V c"]:
        """The transpose of `render`: how much each column contributed to a picture."""

"""What a field needs to know of the place that it is to hold."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from arf.radiance.capture.views import Capture, Kind


@dataclass(frozen=True)
class Place:
    """A place without its photographs.

    Attributes:
        space_box: of the `Space` that the kind of scene asks for.
        views: number of training views.
        transparent: whether photographs have an alpha channel.
    """

    kind: Kind
    scene_box: Float[Tensor, "2 3"]
    space_box: Float[Tensor, "2 3"]
    views: int
    transparent: bool

    @classmethod
    def of(cls, capture: Capture) -> Place:
        train = capture.train
        return cls(capture.kind, capture.scene_box, capture.space_box, len(train), train.transparent)

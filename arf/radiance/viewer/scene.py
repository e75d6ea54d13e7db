"""What the viewer asks of a scene."""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from arf.radiance.capture.cameras import Camera
from arf.radiance.capture.views import Views


class Scene(Protocol):
    """Something that can be looked at.

    Attributes:
        views: its training cameras, one at least, in whose frame it lives, and their photographs. On the CPU.
        painted: whether there is a style that `strength` and `preserve_color` act upon.
    """

    views: Views
    painted: bool

    def render(self, camera: Camera, strength: float, preserve_color: bool) -> Float[Tensor, "h w 3"]:
        """A picture of it on the CPU, RGB; values outside [0, 1] are clamped by the viewer. Called by one thread.

        Args:
            camera: a pinhole camera, possibly of some rows of a picture only.
            strength: of the style: 0 shows the photographs' colours, 1 the whole painting.
            preserve_color: whether the style changes lightness only.
        """

"""What a user can ask of a film in the style of pictures; field docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from arf.jobs.checks import check_kinds, within


@dataclass
class VideoSettings:
    """How a video is painted, whatever the network."""

    size: int | None = None
    """Long side of the result in pixels, if that is less than the video's own."""
    batch: int = 4
    """Frames that are painted at a time."""
    smooth: bool = False
    """Reduce flicker: mix every frame with the one before it, moved along with the picture."""
    smooth_strength: float = 0.7
    """Share of the frame before in the mix."""
    measure: bool = False
    """Also without smoothing, measure how much the film flickers; that takes as long as smoothing."""
    quality: float = 8
    """Video quality, 1 to 10."""
    save_every: int = 120
    """Frames after which the film so far is kept for --resume."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 16, 65536, "size")
        within(self, 1, 1024, "batch")
        within(self, 0.01, 0.95, "smooth_strength")
        within(self, 1, 10, "quality")
        within(self, 1, inf, "save_every")

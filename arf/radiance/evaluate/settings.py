"""Settings of `arf evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from arf.jobs.checks import check_kinds, within


@dataclass
class EvaluateSettings:
    """Measure a run: a fit against its held-out photographs; a painting, or frames of another program, by how well they
    agree from frame to frame, how much of the style they show, and how much of the place they keep."""

    path: str = "interpolate"
    """Camera path along which frames are compared: spiral, orbit, interpolate (through the training views), or a
    nerfstudio camera-path JSON file."""
    length: int = 120
    """Frames of the path (a camera-path file brings its own)."""
    pairs: int = 24
    """Each of so many frames, spread over the path, is compared with the next one and with the seventh after it."""
    size: int = 384
    """Pixels of the longer side of the frames; larger ones are shrunk to it."""
    photographs: int = 12
    """So many training views, spread over all, are compared with their photographs."""
    protocol: Literal["depth", "stylos"] = "depth"
    """depth: neighbours are laid over each other by the depth of the unstylised field, and what is hidden is left out.
    stylos: by the optical flow of the frames themselves, holes counted, as Stylos and AnyStyle publish it; needs
    weights that torchvision downloads."""
    encoder: Literal["compact", "vgg19", "vgg16"] = "compact"
    """The network by whose features style and structure are measured; compact comes with arf."""
    encoder_weights: Path | None = None
    """Weights file of the encoder; for VGG else the folder in ARF_WEIGHTS, else torchvision's download."""
    device: str = "auto"
    """cpu, cuda, or auto."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 8, 100_000, "length")  # one frame, and the seventh after it
        within(self, 1, 100_000, "pairs", "photographs")
        within(self, 64, 16384, "size")

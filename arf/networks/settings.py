"""What a user can ask of a trained network: one commented dataclass per method; field docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from arf.jobs.checks import check_kinds, within


@dataclass
class PaintSettings:
    """What all networks have in common."""

    size: int | None = None
    """Long side of the result in pixels; the picture's own when left out."""
    device: str = "auto"
    """cpu, cuda, or auto."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 16, 65536, "size")


@dataclass
class AdainSettings(PaintSettings):
    """Any style, by its statistics."""

    model: str = "compact"
    """The decoder: compact, which comes with arf; a file or run of `arf train adain`; or a published one (.pth), with
    the normalised VGG-19 (.pth) that belongs to it as --encoder-weights."""
    encoder_weights: Path | None = None
    """Weights file of the encoder; for a decoder of VGG else the folder in ARF_WEIGHTS, else torchvision's download."""
    alpha: float = 1.0
    """How much of the style: 0 is the photograph as the decoder paints it."""
    style_size: int = 512
    """Long side in pixels at which the style pictures are looked at; smaller brings finer strokes."""
    preserve_color: Literal["none", "luminance", "affine"] = "none"
    """Keep the photograph's colours: change its brightness alone, or recolour the style picture like it first."""

    def check(self) -> None:
        super().check()
        within(self, 0, 1, "alpha")
        within(self, 16, 8192, "style_size")


@dataclass
class CastSettings(AdainSettings):
    """Any style, by statistics and a decoder that was trained by contrast."""

    model: str = "compact"
    """The decoders: compact, which comes with arf; or a file or run of `arf train cast`."""
    to: Literal["painting", "photograph"] = "painting"
    """Paint a photograph like a painting, or make a painting look like a photograph (the style is one then)."""


@dataclass
class FastSettings(PaintSettings):
    """One of the styles that a network was trained for."""

    model: str = "many"
    """A model that comes with arf, a file or run of `arf train fast` or `many`, or a published fast network (.pth)."""
    preserve_color: Literal["none", "luminance"] = "none"
    """Keep the photograph's colours: change its brightness alone."""


ANY_STYLE = {"adain": AdainSettings, "cast": CastSettings}  # the methods that take style pictures

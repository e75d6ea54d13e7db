"""What the settings of a fit ask of its capture."""

from __future__ import annotations

from pathlib import Path

from arf.radiance.capture.capture import CaptureConfig
from arf.radiance.settings import FitSettings, parse_color


def capture_config(data: Path, settings: FitSettings) -> CaptureConfig:
    """How the capture of a fit is read."""
    color = settings.background if settings.background not in ("auto", "last") else "1,1,1"
    return CaptureConfig(
        data=data,
        format=settings.format,
        model=settings.model,
        downscale=settings.downscale,
        held_out=settings.held_out,
        seed=settings.seed,
        background=parse_color(color),
        scene=settings.scene,
        allow_outside=settings.allow_outside,
    )

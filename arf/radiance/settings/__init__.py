"""What a user can ask for: one commented dataclass per job. Field docstrings are the command line's help text."""

from arf.radiance.settings.fitting import CameraSettings, FitSettings, parse_color
from arf.radiance.settings.painting import LiftSettings, RepaintSettings, StylizeSettings
from arf.radiance.settings.region import Region
from arf.radiance.settings.showing import DemoSettings, ExportSettings, RenderSettings, SplatSettings

__all__ = [
    "CameraSettings", "DemoSettings", "ExportSettings", "FitSettings", "LiftSettings", "Region", "RenderSettings",
    "RepaintSettings", "SplatSettings", "StylizeSettings", "parse_color",
]  # fmt: skip

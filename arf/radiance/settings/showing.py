"""What a user can ask of what shows a scene: brought splats, films, files, the demo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from arf.errors import UserError
from arf.jobs.checks import check_kinds, within
from arf.radiance.settings.fitting import MOST_SEED, FitSettings, parse_color
from arf.radiance.settings.painting import STEPS, StylizeSettings


@dataclass
class SplatSettings:
    """From where splats that come as a file are looked at; their own renderings are the photographs."""

    capture: Path | None = None
    """For splats: a capture whose cameras are used, in any format that `arf fit` reads."""
    cameras: Path | None = None
    """For splats: cameras from a file, the cameras.json of 3D Gaussian Splatting or a camera path of the viewer."""
    views: int | None = None
    """For splats: how many views; 40 where the cameras are made up, and at most 100 of those that are given."""
    stand: Literal["auto", "around", "inside"] = "auto"
    """For splats that bring no cameras: around an object, or inside a place; auto looks where the mass is."""
    up: Literal["auto", "x", "y", "z", "-x", "-y", "-z"] = "auto"
    """For splats: the axis of the file that points up; auto takes what its header says, or else -y."""
    view_size: int = 384
    """For splats: the views have as many pixels as a square of this side."""
    backdrop: str = "auto"
    """For splats: the colour behind them, "r,g,b" in 0..1; auto: white behind a cut-out, black behind a place."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 2, 10_000, "views")
        within(self, 32, 4096, "view_size")
        if self.capture and self.cameras:
            raise UserError("--capture and --cameras both say where the cameras are; give one of them")
        if self.backdrop != "auto":
            parse_color(self.backdrop, "backdrop", "auto")


@dataclass
class RenderSettings:
    """Film a run along a camera path."""

    path: str = "interpolate"
    """spiral, orbit, interpolate (through the training views), or a nerfstudio camera-path JSON file."""
    frames: int = 120
    """Number of frames (a camera-path file brings its own)."""
    fps: float = 30.0
    """Frames per second (a camera-path file brings its own)."""
    width: int | None = None
    """Frame width in pixels; the training views' by default."""
    height: int | None = None
    """Frame height in pixels; follows the width by default."""
    compare: bool = False
    """Photoreal and stylized side by side."""
    strength: float = 1.0
    """How much of the paint shows, 0 (photoreal) to 1."""
    strength_curve: tuple[float, ...] = ()
    """The same along the film, evenly spaced: 0 1 0 comes and goes."""
    look_curve: tuple[float, ...] = ()
    """Of several runs: when each is there in full, as shares of the film, such as 0 0.3 1; evenly when left out."""
    loop: bool = False
    """Of several runs: from the last back to the first, for a film that is shown over and over; orbits close."""
    preserve_color: bool = False
    """Keep the photoreal colours: the paint gives brushwork and lightness only."""
    png: bool = True
    """Also write every frame as a PNG."""
    save_path: Path | None = None
    """Also write the camera path as JSON, for ns-render camera-path and nerfstudio's viewer."""
    quality: int = 8
    """Video quality, 1 to 10."""
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""
    device: str = "auto"
    """cpu, cuda, or auto."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 1, 100_000, "frames")
        within(self, 1, 240, "fps")
        within(self, 2, 16384, "width", "height")
        within(self, 1, 10, "quality")
        within(self, 0, 1, "strength", "strength_curve", "look_curve")
        if self.strength_curve and self.strength != 1:
            raise UserError("--strength holds for the whole film and --strength-curve along it; give one of them")


@dataclass
class ExportSettings:
    """Write a run in a form that other programs open."""

    format: Literal["auto", "points", "ply", "splat", "spz", "html"] = "auto"
    """points: a coloured point cloud (.ply); ply, splat, spz: Gaussian splats, for splat viewers and editors; html: a
    page to walk through in any browser. auto: what the output's name says; else points, and ply for a run of splats."""
    count: int = 200_000
    """At most so many splats, where the run is no splats itself."""
    path: str = "auto"
    """html: the ride, as `arf render --path` has it; auto: orbit where the cameras look at one point, else
    interpolate."""
    points: int = 1_000_000
    """At most so many points; fewer where the views show no more detail."""
    frame: Literal["auto", "capture", "scene"] = "auto"
    """Coordinates: those of the capture's cameras (COLMAP's, where they come from it) or of the file that splats came
    as, or those that the run, its camera paths and nerfstudio's viewer have. auto: the capture's for points; for splats
    y points down, as viewers expect it."""
    strength: float = 1.0
    """How much of the paint shows, 0 (photoreal) to 1."""
    preserve_color: bool = False
    """Keep the photoreal colours: the paint gives brushwork and lightness only."""
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""
    device: str = "auto"
    """cpu, cuda, or auto."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 1, 100_000_000, "points", "count")
        within(self, 0, 1, "strength")


@dataclass
class DemoSettings:
    """The whole way with what comes with arf: a still life, two pictures, the compact encoder."""

    quick: bool = False
    """A rougher one in less than a minute."""
    encoder: Literal["compact", "vgg19", "vgg16"] = "compact"
    """The network whose features are matched."""
    seed: int = 0
    """Same seed, same pictures."""
    device: str = "auto"
    """cpu, cuda, or auto."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 0, MOST_SEED, "seed")

    def fit(self) -> FitSettings:
        """Of the still life."""
        shared = FitSettings(backbone="splat", seed=self.seed, device=self.device).for_kind("bounded")
        return replace(shared, steps=400, downscale=2) if self.quick else shared

    def stylize(self) -> StylizeSettings:
        """For each picture."""
        steps = 80 if self.quick else STEPS
        shared = {"encoder": self.encoder, "seed": self.seed, "device": self.device}
        return StylizeSettings(steps=steps, style_scale=0.75, size=512, **shared)

    def render(self) -> RenderSettings:
        """A turn around the table."""
        frames, fps = (24, 8) if self.quick else (120, 24)
        return RenderSettings(path="orbit", frames=frames, fps=fps, width=320, device=self.device)

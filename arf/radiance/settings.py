"""What a user can ask for: one commented dataclass per job. Field docstrings are the command line's help text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Literal

from arf.errors import UserError
from arf.jobs.checks import check_kinds, within

MOST_STEPS, MOST_SEED = 10**9, 2**63 - 1
STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 250, 3, 10  # of a painting, when left out


@dataclass
class FitSettings:
    """Fit a radiance field to photographs with known cameras."""

    format: Literal["auto", "nerfstudio", "blender", "colmap", "llff"] = "auto"
    """What the capture is; auto looks at the files in it."""
    model: int | None = None
    """Which of several COLMAP models (the N of sparse/N); the largest when left out."""
    downscale: float | None = None
    """How many times smaller than the original photographs to work; when left out, as little as brings every long side
    to at most 1024 pixels."""
    held_out: float = 0.125
    """Share of the views kept for evaluation when the capture has no split of its own."""
    seed: int = 0
    """Seeds the held-out split and every random draw."""
    backbone: Literal["auto", "splat", "voxel", "nerfacto"] = "auto"
    """The kind of field: Gaussian splats or a voxel grid, quick on a CPU, or nerfstudio's nerfacto; auto takes splats,
    and with CUDA nerfacto, where nerfstudio is installed."""
    scene: Literal["auto", "bounded", "unbounded", "forward"] = "auto"
    """How space is mapped: a box, everything around the cameras, or the frustum of a forward-facing capture."""
    background: str = "auto"
    """Behind everything: "last" (each ray's last sample; for voxel and nerfacto), a colour "r,g,b" in 0..1, or auto:
    white for transparent pictures; for others last, and grey behind bounded scenes and behind splats."""
    steps: int | None = None
    """Optimisation steps; 1000 for splat, 1500 for voxel, 15000 for nerfacto."""
    splats: int | None = None
    """splat: how many at most; by the number of pixels when left out."""
    samples: int = 150_000
    """voxel: samples per step; the number of rays follows from it."""
    rays: int = 4096
    """nerfacto: rays per step."""
    hash_size: int = 19
    """nerfacto: entries of each hash table, as a power of two."""
    refine_poses: bool = False
    """nerfacto: also correct the cameras' poses."""
    resolutions: tuple[int, ...] = ()
    """Voxels along the longest side, coarse to fine; by the kind of scene when left out."""
    stages: tuple[float, ...] = (0.2, 0.5)
    """Where each finer grid begins, as a share of all steps."""
    step: float = 1.0
    """Marching step in voxels."""
    learning_rate: float | None = None
    """Adam's learning rate at the start; 0.06 for voxel, 0.01 for nerfacto. splat: a factor of all its rates, 1."""
    final_learning_rate: float | None = None
    """And at the end (exponential in between); a tenth of that, 0.15 of it for splat."""
    distortion: float | None = None
    """Weight of the loss that gathers each ray's weight in one place: fewer floaters, fewer samples. By the kind of
    scene when left out; too much of it flattens an unbounded scene."""
    smoothness: float | None = None
    """Weight of the squared difference between neighbouring densities; by the kind of scene when left out."""
    color_smoothness: float | None = None
    """The same for colours."""
    prune_below: float = 0.005
    """Cells that never give a ray this much weight are dropped."""
    allow_outside: bool = False
    """Let the capture's files name photographs outside of the capture's folder."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    save_every: int = 200
    """Steps between checkpoints that --resume can start from."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 1, MOST_STEPS, "steps", "save_every")
        within(self, 1, 1e9, "samples")
        within(self, 1, 1e8, "splats")
        within(self, 1, 2**20, "rays")
        within(self, 1, 1000, "downscale")
        within(self, 0, inf, "model")
        within(self, 0, MOST_SEED, "seed")
        within(self, 4, 24, "hash_size")
        within(self, 1e-9, inf, "learning_rate", "final_learning_rate")
        within(self, 0.1, 4, "step")
        within(self, 0, 1e6, "distortion", "smoothness", "color_smoothness", "prune_below")
        within(self, 2, 1024, "resolutions")
        within(self, 0, 1, "stages")
        if self.background not in ("auto", "last"):
            parse_color(self.background)

    def for_kind(self, kind: str, nerfacto: bool = False) -> FitSettings:
        """These settings with what was left out filled in for a kind of scene; voxel's figures were found by trial.

        `nerfacto` says what auto is."""
        backbone = self.backbone if self.backbone != "auto" else "nerfacto" if nerfacto else "splat"
        defaults = {**BY_BACKBONE[backbone], **BY_KIND[kind]}
        left_out = {k: v for k, v in defaults.items() if getattr(self, k) in (None, ())}
        return replace(self, backbone=backbone, **left_out)


BY_BACKBONE = {
    "splat": {"steps": 1000, "learning_rate": 1.0, "final_learning_rate": 0.15},
    "voxel": {"steps": 1500, "learning_rate": 0.06, "final_learning_rate": 0.006},
    "nerfacto": {"steps": 15_000, "learning_rate": 0.01, "final_learning_rate": 0.001},
}
BY_KIND = {
    "bounded": {"resolutions": (48, 96, 144), "distortion": 0.013, "smoothness": 0.03, "color_smoothness": 0.003},
    "unbounded": {"resolutions": (64, 128, 256), "distortion": 0.008, "smoothness": 0.03, "color_smoothness": 0.01},
    "forward": {"resolutions": (64, 128, 256), "distortion": 0.01, "smoothness": 0.03, "color_smoothness": 0.01},
}


def parse_color(text: str, name: str = "background", words: str = "last, auto") -> tuple[float, float, float]:
    """Three numbers in 0..1.

    Args:
        name: of the setting; `words`: that it may be as well.

    Raises:
        UserError: they are none.
    """
    try:
        r, g, b = (float(part) for part in text.split(","))
        if not all(0 <= c <= 1 for c in (r, g, b)):
            raise ValueError(text)
    except ValueError:
        raise UserError(f"{name} is {text!r}; it is {words}, or three numbers in 0..1 like 1,1,1") from None
    return r, g, b


@dataclass
class CameraSettings:
    """How the cameras of photographs and clips are found: structure from motion."""

    frames: int = 80
    """For clips: how many frames are taken, of all of them together."""
    matching: Literal["auto", "exhaustive", "sequential", "similar"] = "auto"
    """Which photographs are compared: all pairs, those with neighbouring names, or those that look alike. auto: all of
    up to 60, and of more those that look alike; of a clip those that follow on each other, too."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 3, 10_000, "frames")


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
class StylizeSettings:
    """Repaint a fitted scene in the style of one or more pictures."""

    encoder: Literal["compact", "vgg19", "vgg16"] = "compact"
    """The network whose features are matched. compact is distilled from vgg19, comes with arf and is several times
    faster; the others are downloaded."""
    encoder_weights: Path | None = None
    """Weights file of the encoder; for VGG else the folder in ARF_WEIGHTS, else torchvision's download."""
    pooling: Literal["max", "average"] = "max"
    """The encoder's pooling: max as it was trained, average for smoother gradients."""
    layers: tuple[str, ...] = ("relu3_1", "relu3_2", "relu3_3")
    """Encoder layers to match: relu2_* for fine strokes, relu4_* for coarse ones."""
    loss: Literal["nnfm", "gram", "knn"] = "nnfm"
    """Nearest-neighbour feature matching, Gram matrices, or the mean of the k nearest neighbours."""
    neighbours: int = 5
    """k of --loss knn."""
    exact_matches: bool = False
    """Compare each feature with all of the style's. Several times slower; the loss comes out 0.1 to 0.3 % smaller."""
    style_strength: float = 1.0
    """Weight of the style loss."""
    content_weight: float = 0.005
    """Weight of the content loss; more keeps more of the photographs' detail."""
    tv_weight: float = 0.1
    """Weight of total variation; more is smoother."""
    epochs: int | None = None
    """Passes over the training views; when left out as many as come to 250 steps, at least 3 and at most 10."""
    steps: int | None = None
    """Exact number of steps instead of epochs."""
    learning_rate: float = 0.03
    """Adam's learning rate for the vertex colours (in units of RGB)."""
    size: int | None = None
    """Pixels of the longer side at which views are painted and looked at; larger ones are shrunk to it. When left out
    512, and 384 without CUDA: the eye hardly tells them apart, also not in a film that is twice as large."""
    style_scale: float = 1.0
    """Long side of the style picture relative to the views'. Smaller brings more of its motifs into the scene (cells,
    swirls), larger only its brushwork."""
    style_weights: tuple[float, ...] = ()
    """One weight per style picture; equal when left out."""
    preserve_color: bool = False
    """Keep the photographs' colours: the style gives brushwork and lightness only."""
    cache_memory: float = 0.0
    """Gigabytes of memory, the GPU's where there is one, for render operators and content features; 0 takes half of
    what is free, and on a CPU 1.5 at most. Splats beyond it are rasterised anew in each step; grids wait in the host's
    memory beside a GPU, and are streamed from disk where that is full."""
    no_cache: bool = False
    """Keep no render operators: rasterise or trace every view anew in every step. Splats take half as long again, grids
    many times as long."""
    drop_weight: float | None = None
    """Share of each pixel's weight, its lightest parts, that the render operators may leave out; 0.0025 when left out,
    and 0.01 for splats."""
    color_resolution: int | None = None
    """nerfacto: cells of the colour grid along each side; as many as the views have pixels (192 to 768) when left
    out. A voxel grid is repainted on its own vertices."""
    seed: int = 0
    """Seeds the order of views."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    save_every: int = 100
    """Steps between checkpoints that --resume can start from."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 1, MOST_STEPS, "steps", "save_every")
        within(self, 1, 1e6, "epochs", "neighbours")
        within(self, 16, 16384, "size")
        within(self, 1e-9, inf, "learning_rate")
        within(self, 1e-3, 100, "style_scale")
        within(self, 0, 1e12, "style_strength", "content_weight", "tv_weight", "style_weights")
        within(self, 0, 1e6, "cache_memory")
        within(self, 0, MOST_SEED, "seed")
        within(self, 0, 0.5, "drop_weight")
        within(self, 8, 2048, "color_resolution")

    def side(self, on_gpu: bool) -> int:
        """`size`, or what it is when left out."""
        return self.size or (512 if on_gpu else 384)

    def steps_of(self, views: int) -> int:
        """How many steps so many views take. ARF takes ten epochs however many they are; after a few hundred steps more
        views of the same place add little."""
        return self.steps or views * (self.epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, -(-STEPS // views))))

    def dropped(self, usual: float) -> float:
        """`drop_weight`, or what is usual for a kind of field (`Field.drop`)."""
        return usual if self.drop_weight is None else self.drop_weight


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
        within(self, 0, 1, "strength")


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

"""What a user can ask of a fit, and of the cameras that it needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from arf.errors import UserError
from arf.jobs.checks import check_kinds, within

MOST_STEPS, MOST_SEED = 10**9, 2**63 - 1


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

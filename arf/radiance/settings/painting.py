"""What a user can ask of a painting."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from arf.jobs.checks import check_kinds, within
from arf.radiance.settings.fitting import MOST_SEED, MOST_STEPS

STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 250, 3, 10  # of a painting, when left out


@dataclass
class RepaintSettings:
    """How a scene is looked at while it is repainted, whoever holds the brush."""

    size: int | None = None
    """Pixels of the longer side at which views are painted and looked at; larger ones are shrunk to it. When left out
    512, and 384 without CUDA: the eye hardly tells them apart, also not in a film that is twice as large."""
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
    """Seeds every random draw: the order of views, noise."""
    device: str = "auto"
    """cpu, cuda, or auto."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 16, 16384, "size")
        within(self, 0, 1e12, "style_weights")
        within(self, 0, 1e6, "cache_memory")
        within(self, 0, 0.5, "drop_weight")
        within(self, 8, 2048, "color_resolution")
        within(self, 0, MOST_SEED, "seed")

    def side(self, on_gpu: bool) -> int:
        """`size`, or what it is when left out."""
        return self.size or (512 if on_gpu else 384)

    def dropped(self, usual: float) -> float:
        """`drop_weight`, or what is usual for a kind of field (`Field.drop`)."""
        return usual if self.drop_weight is None else self.drop_weight


@dataclass
class StylizeSettings(RepaintSettings):
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
    style_scale: float = 1.0
    """Long side of the style picture relative to the views'. Smaller brings more of its motifs into the scene (cells,
    swirls), larger only its brushwork."""
    start: Literal["recolor", "adain", "cast"] = "recolor"
    """What the steps begin with: the photographs' colours, matched to the style's; or a scene lifted from pictures of
    the views, as by `arf lift --with`."""
    save_every: int = 100
    """Steps between checkpoints that --resume can start from."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        super().check()
        within(self, 1, MOST_STEPS, "steps", "save_every")
        within(self, 1, 1e6, "epochs", "neighbours")
        within(self, 1e-9, inf, "learning_rate")
        within(self, 1e-3, 100, "style_scale")
        within(self, 0, 1e12, "style_strength", "content_weight", "tv_weight")

    def steps_of(self, views: int) -> int:
        """How many steps so many views take. ARF takes ten epochs however many they are; after a few hundred steps more
        views of the same place add little."""
        return self.steps or views * (self.epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, -(-STEPS // views))))


@dataclass
class LiftSettings(RepaintSettings):
    """Repaint a fitted scene so that it looks like pictures of its views."""

    model: str | None = None
    """adain, cast, fast: the network, as in `arf adain`, `arf cast` and `arf fast`; one that comes with arf when left
    out."""
    encoder_weights: Path | None = None
    """adain, cast: weights file of the encoder, for a decoder of VGG."""
    steps: int | None = None
    """gatys: evaluations of loss and gradient at each scale, as in `arf gatys`."""
    passes: int = 12
    """Iterations of the least squares, each a pass over the views."""
    elsewhere: Literal["recolor", "photograph"] = "recolor"
    """What no picture shows: the photographs' colours matched to the pictures', or as they are."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        super().check()
        within(self, 1, MOST_STEPS, "steps")
        within(self, 1, 1000, "passes")

"""What a user can ask of the 2D methods: one commented dataclass per job, whose field docstrings are the help text."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from arf.jobs.checks import check_kinds, check_weights, within


@dataclass
class NetworkSettings:
    """The network that looks, and where it computes."""

    encoder: Literal["compact", "vgg19", "vgg16"] = "compact"
    """The network whose features are used. compact is distilled from vgg19, comes with arf and is several times
    faster; the others are downloaded."""
    encoder_weights: Path | None = None
    """Weights file of the encoder; for VGG else the folder in ARF_WEIGHTS, else torchvision's download."""
    pooling: Literal["max", "average"] = "max"
    """The encoder's pooling: max as it was trained, average for smoother gradients."""
    device: str = "auto"
    """cpu, cuda, or auto."""


@dataclass
class LoopSettings(NetworkSettings):
    """How a picture is changed step by step."""

    steps: int = 300
    """Evaluations of loss and gradient, at each scale."""
    tile: int = 0
    """Side in pixels of the tiles that are looked at one by one, for pictures larger than memory; 0 takes the whole
    picture where it fits, and else the largest tile that does. The result is the same but for rounding."""
    seed: int = 0
    """Same seed, same picture."""

    @property
    def remembered(self) -> int:
        """How many pictures the optimiser keeps."""
        return 2

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 1, inf, "steps")
        within(self, 0, inf, "tile")
        within(self, 0, 2**63 - 1, "seed")


@dataclass
class OptimizeSettings(LoopSettings):
    """How a picture is optimised."""

    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    """L-BFGS within the bounds of the colours, or Adam."""
    history: int = 20
    """lbfgs: steps that are remembered; each takes the memory of two pictures."""
    learning_rate: float = 0.02
    """adam: its learning rate (in units of RGB)."""
    averaging: float = 0.99
    """adam: decay of the mean over steps, which is the result; 0 takes the last step itself."""

    @property
    def remembered(self) -> int:
        return 2 * self.history if self.optimizer == "lbfgs" else 4

    def check(self) -> None:
        super().check()
        within(self, 1, inf, "history")
        within(self, 1e-9, inf, "learning_rate")
        within(self, 0, 0.9999, "averaging")


@dataclass
class InvertSettings(OptimizeSettings):
    """What a layer still knows of a photograph."""

    size: int | None = None
    """Long side of the photograph in pixels; its own when left out, but no more than 256."""
    tv_weight: float | None = None
    """Weight of total variation: more is smoother. By the layer's block when left out (0.1, 0.3, 1, 5, 20)."""
    beta: float = 2.0
    """Exponent β of total variation; 1 keeps edges."""
    alpha_weight: float = 0.001
    """Weight of the α-norm, which draws values towards the middle."""
    alpha: float = 6.0
    """Exponent α."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        super().check()
        within(self, 16, 65536, "size")
        within(self, 0, inf, "tv_weight", "alpha_weight")
        within(self, 0.1, 16, "beta")
        within(self, 1, 64, "alpha")


@dataclass
class GatysSettings(OptimizeSettings):
    """A photograph in the style of pictures, by optimisation."""

    size: int | None = None
    """Long side of the result in pixels; the photograph's own when left out, but no more than 512."""
    scales: int = 5
    """Sizes from coarse to fine, each √2 larger; more gives larger strokes. No side is below 64 pixels."""
    steps: int = 200
    """Evaluations of loss and gradient, at each scale."""
    layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    """Layers whose Gram matrices are matched; deeper ones hold larger strokes."""
    layer_weights: tuple[float, ...] = ()
    """One weight per layer; equal when left out."""
    style_strength: float = 30.0
    """Weight of the style loss."""
    content_layers: tuple[str, ...] = ("relu4_2",)
    """Layers that hold the photograph's content."""
    content_weight: float = 1.0
    """Weight of the content loss; more keeps more of the photograph."""
    tv_weight: float = 1.0
    """Weight of total variation; more is smoother."""
    style_scale: float = 1.0
    """Long side of the style picture relative to the result's. Smaller brings more of its motifs, larger only its
    brushwork."""
    start: Literal["content", "noise"] = "content"
    """What the coarsest scale begins with."""
    preserve_color: Literal["none", "luminance", "affine"] = "none"
    """Keep the photograph's colours: change its brightness alone, or recolour the style picture like it first."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        super().check()
        within(self, 16, 65536, "size")
        within(self, 1, 32, "scales")
        within(self, 0, inf, "style_strength", "content_weight", "tv_weight")
        within(self, 1e-3, 100, "style_scale")
        check_weights("layer_weights", self.layer_weights, "layers", self.layers)


@dataclass
class DreamSettings(LoopSettings):
    """A photograph as some layers dream it."""

    size: int | None = None
    """Long side of the result in pixels; the photograph's own when left out, but no more than 512."""
    layer: tuple[str, ...] = ("relu4_1",)
    """Layer, or several, that is to respond more strongly: relu2_* for strokes, relu3_* for patterns, relu5_1 of vgg19
    for creatures."""
    channel: tuple[int, ...] = ()
    """Channel of the layer, or several, from 0; all when left out."""
    octaves: int = 4
    """Sizes from coarse to fine."""
    octave_scale: float = 1.4
    """Each octave's size relative to the one before."""
    steps: int = 20
    """Steps at each octave."""
    learning_rate: float = 0.005
    """Mean change of a value by one step."""
    jitter: int = 32
    """The picture is shifted at random by up to so many pixels before each step."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        super().check()
        within(self, 16, 65536, "size")
        within(self, 1, 32, "octaves")
        within(self, 1.05, 8, "octave_scale")
        within(self, 0, 4096, "jitter")
        within(self, 0, inf, "channel")
        within(self, 1e-9, inf, "learning_rate")


@dataclass
class TextureSettings(OptimizeSettings):
    """A new picture with a sample's texture."""

    pooling: Literal["max", "average"] = "average"
    """The encoder's pooling: max as it was trained, average for smoother gradients."""
    steps: int = 400
    """Evaluations of loss and gradient, at each scale."""
    width: int | None = None
    """Width in pixels, also larger than the sample; the sample's by default."""
    height: int | None = None
    """Height in pixels; the sample's by default."""
    tileable: bool = False
    """Make it continue across its borders: copies laid side by side show no seam."""
    scales: int = 4
    """Sizes from coarse to fine, each √2 larger; more lays out larger structures. No side is below 64 pixels."""
    layers: tuple[str, ...] = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu4_1")
    """Layers whose Gram matrices are matched; deeper ones hold larger structures."""
    layer_weights: tuple[float, ...] = ()
    """One weight per layer; equal when left out."""
    match_histogram: bool = True
    """Give the result exactly the sample's histogram, channel by channel."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        super().check()
        within(self, 16, 65536, "width", "height")
        within(self, 1, 32, "scales")
        check_weights("layer_weights", self.layer_weights, "layers", self.layers)


@dataclass
class FeaturesSettings(NetworkSettings):
    """What to show of what the network sees."""

    layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    """Encoder layers to look at."""
    channels: int = 12
    """Channels to show of each layer, the strongest in this picture."""
    channel: int | None = None
    """Show which pixels this one channel listens to; by default all channels of a layer together."""
    size: int = 384
    """Long side in pixels at which pictures are looked at. The search for matches takes 16 times as long at twice
    the size."""
    lines: int = 24
    """Matches to draw as lines."""

    def check(self) -> None:
        """Raises UserError where a value makes no sense."""
        check_kinds(self)
        within(self, 1, inf, "channels")
        within(self, 0, inf, "channel", "lines")
        within(self, 16, 2048, "size")

"""What a user can ask of training: one commented dataclass; what is left out follows from the method."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

from arf.errors import UserError
from arf.jobs.checks import changed, check_kinds, check_unused, within

Method = Literal["adain", "fast", "many", "cast"]


@dataclass
class TrainSettings:
    """How a network is trained. The defaults are those of the methods' papers."""

    steps: int | None = None
    """Steps of training; adain 160000, fast and many 40000, cast 200000."""
    batch: int | None = None
    """Pictures in a step, over all processes; adain 8, fast 4, many 16, cast 1."""
    crop: int = 256
    """Side of the squares that are cut from the pictures, in pixels."""
    load: int | None = None
    """Short side that a picture is scaled to before it is cut; adain 512, cast 286, else as large as the crop."""
    learning_rate: float | None = None
    """Adam's learning rate; adain and cast 1e-4, fast and many 1e-3."""
    schedule: Literal["paper", "cosine"] = "paper"
    """How the learning rate falls: as in the method's paper, or along a cosine to 0, which gives better networks when
    there are few steps."""
    content_weight: float | None = None
    """Weight of the content loss, 1; with cast of how well the photograph can be made again, 4."""
    style_strength: float | None = None
    """Weight of the style loss, at the encoder's common scale; adain 10, fast and many 30. With cast of the contrast,
    0.05."""
    adversarial_weight: float = 0.1
    """cast: weight of looking like a painting, or a photograph."""
    tv_weight: float = 0.0
    """fast, many: weight of total variation; more is smoother."""
    style_size: int = 384
    """fast, many: long side in pixels at which the style pictures are looked at; more gives larger strokes."""
    norm: Literal["instance", "batch"] = "instance"
    """fast: normalisation of the network's layers."""
    width: int = 32
    """fast, many: channels of the network at full size; 16 is four times faster, and a quarter as large. cast: half of
    those of the discriminators' first layer."""
    encoder: Literal["compact", "vgg19", "vgg16"] = "compact"
    """The network that judges, and with adain and cast also the one that looks at the pictures."""
    encoder_weights: Path | None = None
    """Weights file of the encoder; for VGG else the folder in ARF_WEIGHTS, else torchvision's download."""
    precision: Literal["auto", "full", "half"] = "auto"
    """Arithmetic: half is float16 with scaled losses on CUDA and bfloat16 on a CPU; auto takes it on CUDA."""
    workers: int = 2
    """Processes that read pictures; 0 reads them between the steps."""
    seed: int = 0
    """Same seed, same network."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    save_every: int = 500
    """Steps between checkpoints that --resume can start from."""
    sample_every: int = 500
    """Steps between sample pictures."""

    def check(self, method: Method) -> None:
        """Raises UserError where a value makes no sense, or has no use."""
        check_kinds(self)
        check_unused(self, unused(method), f"with {method}")
        within(self, 1, inf, "steps", "batch", "save_every", "sample_every")
        within(self, 32, 4096, "crop")
        within(self, self.crop, 16384, "load")
        within(self, 1e-9, 1, "learning_rate")
        within(self, 0, inf, "content_weight", "style_strength", "adversarial_weight", "tv_weight")
        within(self, 32, 8192, "style_size")
        within(self, 4, 256, "width")
        within(self, 0, 64, "workers")
        within(self, 0, 2**63 - 1, "seed")
        if method == "cast" and self.crop % 8:
            raise UserError(f"crop is {self.crop}; cast needs a multiple of 8, the stride of its features")

    def for_method(self, method: Method) -> TrainSettings:
        """These settings with what was left out filled in."""
        defaults: dict[str, Any] = {"load": self.crop, "content_weight": 1.0, **BY_METHOD[method]}
        defaults["load"] = max(defaults["load"], self.crop)
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})

    def rate(self, paper: float, step: int) -> float:
        """The learning rate at a step, of which `paper` is the share that the paper's schedule leaves of it."""
        if self.schedule == "paper":
            return self.learning_rate * paper
        warm = min(1.0, (step + 1) / 100)
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


ONLY = {  # settings that not every method uses
    "norm": ("fast", "many"),
    "width": ("fast", "many", "cast"),
    "style_size": ("fast", "many"),
    "tv_weight": ("fast", "many"),
    "adversarial_weight": ("cast",),
}
SHAPE = ("encoder", "norm", "width")  # a model to begin with has its own
BY_METHOD: dict[str, dict[str, Any]] = {
    "adain": {"steps": 160_000, "batch": 8, "load": 512, "learning_rate": 1e-4, "style_strength": 10.0},
    "fast": {"steps": 40_000, "batch": 4, "learning_rate": 1e-3, "style_strength": 30.0},
    "many": {"steps": 40_000, "batch": 16, "learning_rate": 1e-3, "style_strength": 30.0},
    "cast": {
        "steps": 200_000,
        "batch": 1,
        "load": 286,
        "learning_rate": 1e-4,
        "content_weight": 4.0,
        "style_strength": 0.05,
    },
}
FREE = ("device", "workers", "save_every", "sample_every")  # do not change what a training comes to


def going_on(begun: TrainSettings, asked: TrainSettings) -> TrainSettings:
    """The settings of a run that is gone on with: its own, but for what does not change the result.

    Raises:
        UserError: something else was asked for.
    """
    differing = {name for name in changed(asked) if getattr(asked, name) != getattr(begun, name)}
    if fixed := sorted(differing - set(FREE)):
        flag = fixed[0].replace("_", "-")
        raise UserError(f"--{flag} cannot change with --resume; leave it out, or train anew with --init RUN")
    return replace(begun, **{name: getattr(asked, name) for name in differing})


def unused(method: Method) -> list[str]:
    """The settings that a method has no use for."""
    return [name for name, methods in ONLY.items() if method not in methods]

"""Folders to train on, and a training that takes seconds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from torch import Tensor

from arf.media import image
from arf.style import natural
from arf.training.settings import ONLY, Method, TrainSettings


def folders(at: Path) -> tuple[Path, Path]:
    """Four made photographs, and two made paintings."""
    for i, picture in enumerate(pictures()):
        image.write(at / ("photos" if i < 4 else "paintings") / f"p{i}.png", picture)
    return at / "photos", at / "paintings"


@cache
def pictures() -> Tensor:
    return natural.pictures(6, 64, seed=3).permute(0, 2, 3, 1)  # [6, H, W, 3]


def small(method: Method = "fast", **options) -> TrainSettings:
    """Six steps on tiny crops."""
    shared = {"steps": 6, "batch": 2, "crop": 32, "load": 48, "workers": 0}
    own = {"width": 4, "style_size": 48}
    shared |= {name: value for name, value in own.items() if method in ONLY[name]}
    return TrainSettings(**{**shared, "device": "cpu", "save_every": 2, "sample_every": 4, **options})

"""Views: photographs with their pinhole cameras, and the capture that they make up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from arf.radiance.capture.cameras import Cameras
from arf.radiance.capture.formats.points import PointFile
from arf.radiance.capture.photographs import Photograph, Source, read_photograph

Kind = Literal["bounded", "unbounded", "forward"]


@dataclass
class Views:
    """Photographs with their cameras, in one order. Nothing is held in memory: each use reads the file.

    Attributes:
        cameras: pinholes, at the working size.
        sources: where the pixels of each come from.
        background: RGB in [0, 1] behind transparent pixels.
    """

    cameras: Cameras
    sources: list[Source]
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def files(self) -> list[Path]:
        """The photographs' files."""
        return [source.file for source in self.sources]

    @property
    def names(self) -> list[str]:
        """What the views are called: after their files, with as many of the folders as tell them apart; by number where
        they have no files of their own."""
        files = self.files
        for name, folders in product((attrgetter("stem"), attrgetter("name")), range(4)):
            names = ["-".join((*file.parts[-1 - folders : -1], name(file))) for file in files]
            if len(set(names)) == len(self):
                return names
        return [f"view-{i + 1:04d}" for i in range(len(self))]

    @property
    def transparent(self) -> bool:
        """Whether some photograph has an alpha channel."""
        return any(source.transparent for source in self.sources)

    def size(self, i: int) -> tuple[int, int]:
        """(height, width) of view i in pixels."""
        return self.cameras.size(i)

    def photograph(self, i: int) -> Photograph:
        """The photograph of view i, undistorted, at its camera's size.

        Raises:
            UserError: the file has gone, or is corrupt or cut short.
        """
        return read_photograph(self.sources[i], self.cameras[i], self.background)

    def image(self, i: int) -> Float[Tensor, "h w 3"]:
        """Its colours, RGB in [0, 1]."""
        return self.photograph(i).image

    def within(self, side: int) -> Views:
        """The same views in pictures whose longer sides have at most `side` pixels."""
        sizes = torch.stack([self.cameras.width, self.cameras.height], 1).double()
        factor = (side / sizes.amax(1)).clamp_max(1)  # [n]
        sizes = (sizes * factor[:, None]).round().long().clamp_min(1)
        return replace(self, cameras=self.cameras.resized(sizes))

    def select(self, indices: Sequence[int]) -> Views:
        """Some of the views."""
        return replace(self, cameras=self.cameras[list(indices)], sources=[self.sources[i] for i in indices])


@dataclass
class Capture:
    """A capture in its scene frame: x_scene = scale · (transform[:, :3] x_world + transform[:, 3]).

    `world` is the frame of the capture's own files. `scene_box` bounds what a bounded capture shows, and what the
    frusta of a forward one cover between `bounds`; for an unbounded one it is the cube around the cameras, and the
    scene goes on outside. `space_box` is the box of the `Space` that the kind asks for.

    Attributes:
        bounds: nearest and farthest depth of a forward-facing capture, in scene units.
        transform: float64 [3, 4].
        fingerprint: of cameras and photographs, to notice that a capture is another than it was.
        points: on what it shows, in the scene's frame, where its files have some.
    """

    name: str
    root: Path
    train: Views
    held_out: Views
    kind: Kind
    scene_box: Float[Tensor, "2 3"]
    space_box: Float[Tensor, "2 3"]
    bounds: tuple[float, float] | None
    transform: Float[Tensor, "3 4"]
    scale: float
    fingerprint: str = ""
    points: PointFile | None = None


def view_of_step(step: int, count: int, seed: int) -> int:
    """Which of so many views a step is on: every epoch passes over all of them in its own seeded order."""
    epoch, place = divmod(step, count)
    return int(np.random.default_rng((seed, epoch)).permutation(count)[place])


def apart(count: int, most: int) -> list[int]:
    """Some of so many views: the middles of equal parts, since a way around something ends where it began."""
    return sorted({int((part + 0.5) / most * count) for part in range(most)})

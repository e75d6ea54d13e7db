"""Crops from folders of pictures, read while training goes on.

Every draw follows from the seed and the number of the sample, so that a run that was stopped, or that is spread over
several processes, sees what an uninterrupted one in a single process does. A file that cannot be read is skipped,
another is taken in its place, and its name travels with the sample.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, sqrt
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from arf.errors import UserError
from arf.jobs.interrupts import ENDINGS
from arf.jobs.machine import Starved
from arf.media import image

TRIES = 32  # files that may be broken in a row


@dataclass(frozen=True)
class Source:
    """A folder to draw from.

    Attributes:
        files: its pictures.
        load: short side in pixels that a picture is scaled to.
        crops: so many crops are made of each picture that is drawn, each at a place and scale of its own.
        zoom: smallest area of a crop relative to the largest; 1 for no change of scale. Crops are squares.
    """

    files: Sequence[Path]
    load: int
    crops: int = 1
    zoom: float = 1.0


@dataclass
class Batch:
    """What the processes of a step see, or one of them.

    Attributes:
        pictures: one tensor [B, 3, size, size] for each source and crop; none where no file could be read.
        samples: numbers of the samples, from 0 on over the whole training.
        broken: files that could not be read.
        files: for each sample, which file of each source was drawn.
    """

    pictures: list[Float[Tensor, "b 3 h w"]]
    samples: list[int]
    broken: list[str] = field(default_factory=list)
    files: list[list[int]] = field(default_factory=list)

    def to(self, device: torch.device) -> Batch:
        moved = [p.to(device, non_blocking=True, memory_format=torch.channels_last) for p in self.pictures]
        return Batch(moved, self.samples, self.broken, self.files)

    def drawn(self, source: int) -> Int[Tensor, " b"]:
        """Which file of a source each sample is of, on the pictures' device."""
        return torch.tensor([files[source] for files in self.files], device=self.pictures[0].device)


class Samples(Dataset):
    """The endless sequence of samples, by number: every file of a source once before any comes again."""

    def __init__(self, sources: Sequence[Source], size: int, seed: int) -> None:
        self.sources, self.size, self.seed = list(sources), size, seed

    def __getitem__(self, number: int) -> Batch:
        pictures, broken, files = [], [], []
        for index, source in enumerate(self.sources):
            rng = np.random.default_rng([self.seed, index, number])
            picture, file = self._read(source, index, number, rng, broken)
            if picture is None:
                return Batch([], [number], broken)
            files.append(file)
            pictures += [self._crop(picture, source, rng) for _ in range(source.crops)]
        return Batch(pictures, [number], broken, [files])

    def _read(
        self, source: Source, index: int, number: int, rng: np.random.Generator, broken: list[str]
    ) -> tuple[Tensor | None, int]:
        """The picture of a sample, if one can be read, and the number of its file."""
        turn, place = divmod(number, len(source.files))
        choice = int(_order(len(source.files), self.seed, index, turn)[place])
        for _ in range(TRIES):
            try:
                return image.read(source.files[choice], short_side=ceil(source.load / sqrt(source.zoom))), choice
            except Starved:
                raise
            except UserError:
                broken.append(str(source.files[choice]))
                choice = int(rng.integers(len(source.files)))
        return None, choice

    def _crop(self, picture: Tensor, source: Source, rng: np.random.Generator) -> Tensor:
        """A square [3, size, size] of a picture, as if scaled to `load` first, flipped in every other sample."""
        side = min(picture.shape[:2]) * min(1.0, self.size / source.load) * np.sqrt(rng.uniform(source.zoom, 1.0))
        side = max(1, round(side))
        top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
        crop = image.resize(picture[top : top + side, left : left + side], self.size, self.size)
        return (crop.flip(1) if rng.random() < 0.5 else crop).permute(2, 0, 1)


def check_readable(files: Sequence[Path]) -> None:
    """Raises UserError where not one of a folder's files can be read, before a run is made for them."""
    for file in files:
        try:
            image.read(file)
        except Starved:
            raise
        except UserError:
            continue
        return
    raise UserError(f"none of {len(files)} pictures can be read; {_why(str(files[-1]))}")


@lru_cache(maxsize=8)
def _order(count: int, seed: int, index: int, turn: int) -> np.ndarray:
    return np.random.default_rng([seed, index, turn, count]).permutation(count)


def stream(
    samples: Samples, first: int, steps: int, batch: int, rank: int = 0, ranks: int = 1, workers: int = 0
) -> Iterator[Batch]:
    """The batches of steps first … steps - 1 for one of several processes: every `ranks`-th sample of each.

    Raises:
        UserError: too many files in a row cannot be read, or memory or open files run out.
    """
    numbers = [list(range(step * batch + rank, (step + 1) * batch, ranks)) for step in range(first, steps)]
    kept = {"persistent_workers": True, "prefetch_factor": 4, "worker_init_fn": _leave_interrupts} if workers else {}
    batches = iter(DataLoader(samples, batch_sampler=numbers, num_workers=workers, collate_fn=_stack, **kept))
    while (stacked := _next(batches)) is not None:
        if not stacked.pictures:
            raise UserError(f"{TRIES} pictures in a row cannot be read; {_why(stacked.broken[-1])}")
        yield stacked


def _next(batches: Iterator[Batch]) -> Batch | None:
    try:
        return next(batches, None)
    except Starved as error:  # torch makes its worker's traceback part of it
        raise type(error)(str(error).splitlines()[-1].partition(f".{type(error).__name__}: ")[2] or error) from error


def _why(broken: str) -> str:
    """Why a picture cannot be read: whether the whole folder needs a package, say."""
    try:
        image.read(broken)
    except UserError as error:
        return f"of the last: {error}"
    return f"{broken} is the last; look at the folder"


def _leave_interrupts(worker: int) -> None:
    """A signal to end may reach every process of a job; what to make of it is the main one's, which workers follow."""
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)


def _stack(samples: list[Batch]) -> Batch:
    if empty := [s for s in samples if not s.pictures]:
        return empty[0]
    pictures = [torch.stack(group) for group in zip(*(s.pictures for s in samples), strict=True)]
    numbers = [n for s in samples for n in s.samples]
    return Batch(pictures, numbers, [b for s in samples for b in s.broken], [f for s in samples for f in s.files])

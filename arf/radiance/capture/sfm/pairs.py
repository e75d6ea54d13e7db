"""Which pictures are to be compared: all with all where they are few, else those that look alike.

How alike two pictures are is counted over their largest features alone: how many are each other's nearest neighbour,
and clearly so. That costs a thousandth of comparing all of them ("preemptive matching", Wu, "Towards Linear-time
Incremental Structure from Motion", 3DV 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from arf.radiance.capture.library import pycolmap

Matching = Literal["auto", "exhaustive", "sequential", "similar"]
FEW = 60  # pictures of which all pairs are compared
LARGEST = 256  # features of a picture that tell how alike it is
CLEAR = 0.85  # nearest to second nearest distance
ALIKE = 25  # pictures that each is compared with, the most alike ones
AFTER = 10  # frames of a clip that each is compared with
EVIDENCE, ANYHOW = 12, 5  # features that two pictures have in common by chance, and the best that are taken anyhow


def choose_pairs(
    database: Path, names: Sequence[str], clips: Sequence[str | None], matching: Matching, told: Callable[[int], None]
) -> list[tuple[str, str]]:
    """Pairs of names, each once.

    Args:
        names: of pictures, in the order in which they were taken.
        clips: what each is a frame of.
        matching: "exhaustive": all pairs. "similar": of pictures that look alike. "sequential": of names that are near
            each other, and of those that look alike (which closes loops). "auto": by clip and by count.
    """
    count = len(names)
    if matching == "exhaustive" or (matching == "auto" and count <= FEW and not any(clips)):
        return list(combinations(names, 2))
    near = {
        (i, j)
        for i in range(count)
        for j in range(i + 1, min(i + AFTER + 1, count))
        if matching == "sequential" or (clips[i] and clips[i] == clips[j])
    }
    alike = _alikeness(_descriptors(database, names), told)
    return [(names[i], names[j]) for i, j in sorted(near | most_alike(alike))]


def partners(
    database: Path, names: Sequence[str], lost: Sequence[str], told: Callable[[int], None]
) -> list[tuple[str, str]]:
    """Pairs of those that found no place with all others, where these are few; else with those that look alike most."""
    found = [(a, b) for a in lost for b in names if b not in lost or a < b]
    if len(names) <= FEW:
        return found
    alike = _alikeness(_descriptors(database, names), told)
    place = {name: i for i, name in enumerate(names)}
    best = {name: set(np.argsort(-alike[place[name]], kind="stable")[: 2 * ALIKE].tolist()) for name in lost}
    return [(a, b) for a, b in found if place[b] in best[a]]


def most_alike(alike: Int[np.ndarray, "n n"]) -> set[tuple[int, int]]:
    """Of each picture the pairs (i < j) with those that it is most alike."""
    pairs = set()
    for i, row in enumerate(alike):
        best = [j for j in np.argsort(-row, kind="stable")[: ALIKE + 1].tolist() if j != i][:ALIKE]
        pairs |= {(min(i, j), max(i, j)) for k, j in enumerate(best) if row[j] > EVIDENCE or k < ANYHOW}
    return pairs


def _descriptors(database: Path, names: Sequence[str]) -> Float[Tensor, "n k 128"]:
    """The unit descriptors of each picture's largest features; zero where it has fewer."""
    found = torch.zeros(len(names), LARGEST, 128)
    with closing(pycolmap().Database.open(database)) as opened:
        for i, name in enumerate(names):
            if (known := opened.read_image_with_name(name)) is None:  # COLMAP could not read it
                continue
            image = known.image_id
            shapes, descriptors = opened.read_keypoints(image), np.asarray(opened.read_descriptors(image).data)
            if len(descriptors):
                size = np.hypot(shapes[:, 2], shapes[:, 4])  # the first column of its affine shape
                largest = np.argsort(-size, kind="stable")[:LARGEST]
                found[i, : len(largest)] = torch.from_numpy(descriptors[largest].astype(np.float32))
    return torch.nn.functional.normalize(found, dim=2)


def _alikeness(unit: Float[Tensor, "n k 128"], told: Callable[[int], None]) -> Int[np.ndarray, "n n"]:
    """How many features of two pictures are clearly each other's nearest neighbours."""
    count, k = unit.shape[:2]
    alike = np.zeros((count, count), int)
    own = torch.arange(k)
    for i in range(count - 1):
        for first in range(i + 1, count, 64):
            product = torch.einsum("pc,nqc->npq", unit[i], unit[first : first + 64])  # [n, k, k]
            two, nearest = product.topk(2, dim=2)  # [n, k, 2]
            back = product.argmax(1).gather(1, nearest[..., 0])  # [n, k]
            far = (2 - 2 * two).clamp_min(0).sqrt()
            clear = (back == own) & (far[..., 0] < CLEAR * far[..., 1]) & (two[..., 0] > 0)
            alike[i, first : first + 64] = clear.sum(1).numpy()
        told(i + 1)
    return alike + alike.T

"""Nearest neighbours among the features of a style: exact, or through inverted lists where there are many.

The style's features are grouped into cells by k-means; a query looks into the cells whose centres are nearest to it
(Sivic & Zisserman, Video Google, ICCV 2003; Jégou et al., 2011, without their codes: what is looked at is compared in
full).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

BLOCK_BYTES = 16 * 2**20  # of similarities at once: they stay in cache
TINY = 1e-6  # norm below which a feature vector has no direction
PER_CELL = 160  # features, on average
PROBES = 16  # cells that a query looks into
LISTED = 2 * PROBES * PER_CELL  # features from which on the lists are faster
ROUNDS = 5  # of k-means

Features = Float[Tensor, "..."]
Vectors = Float[Tensor, "n c"]


def rows_of(features: Features) -> Float[Tensor, "b n c"]:
    """[B, C, H, W] or [C, N] as batches of positions by channels; no copy where features are channels-last."""
    if features.ndim == 4:
        return features.permute(0, 2, 3, 1).flatten(1, 2)
    if features.ndim == 2:
        return features.t()[None]
    raise ValueError(f"features are [B, C, H, W] or [C, N], got {list(features.shape)}")


def one_picture(features: Features) -> Vectors:
    """The features of one picture as rows.

    Raises:
        ValueError: they are of several, or of another shape.
    """
    rows = rows_of(features)
    if len(rows) != 1:
        raise ValueError(f"nearest neighbours need the features of one picture, got {list(features.shape)}")
    return rows[0]


def unit(vectors: Vectors) -> Vectors:
    """Vectors of length 1; those without a direction stay near 0."""
    return functional.normalize(vectors, dim=1, eps=TINY)


class FeatureBank:
    """Style features made ready for nearest-neighbour search: unit vectors, normalised once.

    Args:
        style: of one picture, [1, C, H, W] or [C, M].
        half: compare in float16 (bfloat16 on a CPU); only the choice is affected, and distances stay in the features'
            own precision.
        exact: compare each query with all of them, however many they are. Otherwise banks of `LISTED` features or more
            have inverted lists, which miss some neighbours for others that are hardly farther (about one in ten; the
            loss is larger by 0.1 to 0.3 %). The same bits in every run.
        block_bytes: similarities are computed in blocks of at most this size.

    Raises:
        ValueError: not the features of one picture, or none at all.
    """

    def __init__(
        self, style: Features, half: bool = False, exact: bool = False, block_bytes: int = BLOCK_BYTES
    ) -> None:
        with torch.no_grad():
            self.vectors: Vectors = unit(one_picture(style)).contiguous()
        if not len(self.vectors):
            raise ValueError("a style needs at least one feature")
        self.block_bytes = block_bytes
        kind = self.vectors.dtype if not half else torch.float16 if self.vectors.is_cuda else torch.bfloat16
        self._search = self.vectors.to(kind)  # [M, C]
        self._lists = None if exact or len(self) < LISTED else _Lists(self.vectors, kind)

    def __len__(self) -> int:
        return len(self.vectors)

    @torch.no_grad()
    def nearest(self, vectors: Vectors, k: int = 1) -> Int[Tensor, "n k"]:
        """Rows of the k vectors with the largest cosine similarity, nearest first. No gradient.

        Raises:
            ValueError: k is none of 1 to M.
        """
        if not 1 <= k <= len(self):
            raise ValueError(f"k is between 1 and the {len(self)} style features, not {k}")
        vectors = unit(vectors)  # for raw features overflow half precision
        if self._lists is not None and k <= self._lists.fewest:
            return self._lists.nearest(vectors, k)
        rows = max(1, self.block_bytes // (len(self) * self._search.element_size()))
        return torch.cat([_best(block, self._search, k)[1] for block in vectors.to(self._search.dtype).split(rows)])


class _Lists:
    """The features of a bank, cell by cell.

    Attributes:
        fewest: how many features a query is compared with at the least.
    """

    block = 1 << 14  # queries at once

    def __init__(self, vectors: Vectors, kind: torch.dtype) -> None:
        centres, cell = _cells(vectors.cpu().float(), max(1, len(vectors) // PER_CELL))
        order = cell.argsort(stable=True)
        sizes = torch.bincount(cell, minlength=len(centres))
        full = (sizes > 0).nonzero().squeeze(1)
        self.centres = centres[full].to(vectors)  # [K, C]
        self.order = order.to(vectors.device)
        self.cells = vectors[self.order].to(kind).split(sizes[full].tolist())
        self.bounds = [0, *sizes[full].cumsum(0).tolist()]
        self.probes = min(PROBES, len(full))
        self.fewest = int(sizes[full].sort().values[: self.probes].sum())

    def nearest(self, vectors: Vectors, k: int) -> Int[Tensor, "n k"]:
        return torch.cat([self._of_block(block, k) for block in vectors.split(self.block)])

    def _of_block(self, vectors: Vectors, k: int) -> Int[Tensor, "n k"]:
        probed = (vectors @ self.centres.t()).topk(self.probes, sorted=False).indices.flatten()  # [n*p]
        pairs = probed.short().argsort(stable=True)  # (query, cell), cell by cell
        queries = pairs // self.probes
        many = torch.bincount(probed, minlength=len(self.cells)).tolist()
        vectors = vectors.to(self.cells[0].dtype)
        score = vectors.new_full((len(pairs), k), -torch.inf)  # [n*p, k]
        place = torch.zeros(len(pairs), k, dtype=torch.long, device=vectors.device)
        parts = zip(self.cells, self.bounds, queries.split(many), pairs.split(many), strict=False)
        for cell, first, who, where in parts:
            if len(who):
                found, at = _best(vectors[who], cell, min(k, len(cell)))
                score[where, : found.shape[1]], place[where, : found.shape[1]] = found, at + first
        score, place = (part.view(len(vectors), self.probes * k) for part in (score, place))
        return self.order[place.gather(1, _largest(score, k)[1])]


def _best(queries: Vectors, vectors: Vectors, k: int) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """The k largest inner products of each query, and with which vectors."""
    return _largest(queries @ vectors.t(), k)


def _largest(scores: Float[Tensor, "n m"], k: int) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    return scores.max(1, keepdim=True) if k == 1 else scores.topk(k)


def _cells(vectors: Vectors, count: int) -> tuple[Float[Tensor, "k c"], Int[Tensor, " n"]]:
    """Centres of `count` cells by k-means on the sphere, and the cell of each vector. On the CPU, whose sums have one
    order."""
    some = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:count]
    centres = vectors[some]
    for _ in range(ROUNDS):
        cell = (vectors @ centres.t()).argmax(1)
        centres = unit(torch.zeros_like(centres).index_add_(0, cell, vectors))
    return centres, (vectors @ centres.t()).argmax(1)

"""Nearest neighbours among the features of a style: exact, or through inverted lists where there are many.

The style's features are grouped into cells by k-means; a query looks into the cells whose centres are nearest to it
(Sivic & Zisserman, Video Google, ICCV 2003; Jégou et al., 2011, without their codes: what is looked at is compared in
full).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from arf.style.crew import side_by_side

BLOCK_BYTES = 16 * 2**20  # of similarities at once: they stay in cache
TINY = 1e-6  # norm below which a feature vector has no direction
PER_CELL = 160  # features, on average
PROBES = 16  # cells that a query looks into
SKETCH = 64  # of the features' dimensions; the others say little
SPARE = 2  # cells, beside as many as neighbours are asked for, that are searched in full
LISTED = {"cpu": 2 * PROBES * PER_CELL, "cuda": 1 << 17}  # features from which on lists are faster
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
        self._lists = None if exact or len(self) < LISTED[self.vectors.device.type] else _Lists(self.vectors, kind)

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
        if not len(vectors):
            return torch.zeros(0, k, dtype=torch.long, device=vectors.device)
        vectors = unit(vectors)  # for raw features overflow half precision
        if self._lists is not None and k <= self._lists.probes:
            return self._lists.nearest(vectors, k)
        rows = max(1, self.block_bytes // (len(self) * self._search.element_size()))
        blocks = vectors.to(self._search.dtype).split(rows)
        return torch.cat([_largest(block @ self._search.t(), k)[1] for block in blocks])


class _Lists:
    """The features of a bank, cell by cell.

    Every query is compared with all features of its cells in a sketch: along the axes on which the bank is largest. Of
    each cell only the largest cosine is asked for, which is many times quicker than its place. The few cells with the
    largest ones are then searched in full.
    """

    block = 1 << 13  # queries at once, at most
    rows = 1 << 11  # of them that are compared with a cell at once
    grain = 256, 32  # queries and features are compared in multiples of so many: oneDNN keeps a program for each shape

    def __init__(self, vectors: Vectors, kind: torch.dtype) -> None:
        still = vectors.cpu().float()  # the CPU's sums have one order
        centres, cell = _cells(still, max(1, len(vectors) // PER_CELL))
        order = cell.argsort(stable=True)
        sizes = torch.bincount(cell, minlength=len(centres))
        full = (sizes > 0).nonzero().squeeze(1)
        axes = torch.linalg.eigh((still.t() @ still).double())[1].flip(1)[:, :SKETCH]
        self.axes, self.centres = axes.to(vectors), centres[full].to(vectors)  # [C, S], [K, C]
        self.order = order.to(vectors.device)
        self.sizes = sizes[full].tolist()
        self.bounds = (sizes[full].cumsum(0) - sizes[full]).to(vectors.device)
        self.probes = min(PROBES, len(full))
        ordered = vectors[self.order]
        self.crew = side_by_side(1 if vectors.is_cuda else torch.get_num_threads())
        self.sketches = _Cells(ordered @ self.axes, self.sizes, kind, self.rows, self.grain)
        self.cells = _Cells(ordered, self.sizes, kind, self.rows, self.grain)

    def nearest(self, vectors: Vectors, k: int) -> Int[Tensor, "n k"]:
        blocks = vectors.chunk(self.crew.size * -(-len(vectors) // (self.crew.size * self.block)))
        return torch.cat(self.crew.map(partial(self._of_block, k=k), blocks))

    @torch.no_grad()
    def _of_block(self, vectors: Vectors, k: int) -> Int[Tensor, "n k"]:
        count = len(vectors)
        probed = (vectors @ self.centres.t()).topk(self.probes, sorted=False).indices  # [n, p]
        (largest,) = self.sketches.compared(vectors @ self.axes, probed, lambda cosines: (cosines.amax(1),))
        searched = min(k + SPARE, self.probes)
        cells = probed.gather(1, largest.view(count, -1).topk(searched).indices)  # [n, s]
        cosines, places = self.cells.compared(vectors, cells, partial(_largest, k=k))  # [n s, k]
        places += self.bounds[cells.view(-1, 1)]
        best = _largest(cosines.view(count, -1), k)[1]
        return self.order[places.view(count, -1).gather(1, best)]


class _Cells:
    """Vectors cell by cell, for queries to be compared with those of some cells each.

    Args:
        rows: queries that are compared with a cell at once.
        grain: queries and vectors come in multiples of so many.
    """

    def __init__(self, vectors: Vectors, sizes: list[int], kind: torch.dtype, rows: int, grain: tuple[int, int]):
        self.sizes, self.rows, self.grain = sizes, rows, grain[0]
        self.vectors = [_padded(cell, grain[1]) for cell in vectors.to(kind).split(sizes)]

    def compared(
        self, queries: Vectors, cells: Int[Tensor, "n w"], take: Callable[[Tensor], tuple[Tensor, ...]]
    ) -> list[Float[Tensor, "nw ..."]]:
        """Each query with the vectors of its cells: what `take` makes, row by row, of the inner products [m, size of
        the cell] of some queries with one cell, for every one of `cells`."""
        queries, flat = queries.to(self.vectors[0].dtype), cells.flatten()
        pairs = (flat.short() if len(self.sizes) < 2**15 else flat).argsort(stable=True)
        many = torch.bincount(flat, minlength=len(self.sizes)).tolist()
        asked = queries.new_zeros(self.rows, queries.shape[1])
        products = queries.new_empty(self.rows * max(map(len, self.vectors)))
        taken = []
        for cell, mine in enumerate((pairs // cells.shape[1]).split(many)):
            vectors, size = self.vectors[cell], self.sizes[cell]
            for some in mine.split(self.rows) if len(mine) else ():
                torch.index_select(queries, 0, some, out=asked[: len(some)])
                rows = -(-len(some) // self.grain) * self.grain
                out = products[: rows * len(vectors)].view(rows, -1)
                taken.append(take(torch.mm(asked[:rows], vectors.t(), out=out)[: len(some), :size]))
        return [
            torch.empty_like(made := torch.cat(parts)).index_copy_(0, pairs, made) for parts in zip(*taken, strict=True)
        ]


def _padded(vectors: Vectors, grain: int) -> Vectors:
    """With zeros, to a multiple of so many."""
    return functional.pad(vectors, (0, 0, 0, -len(vectors) % grain))


def _largest(scores: Float[Tensor, "n m"], k: int) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """The k largest of each row, and where they are; where there are fewer, -inf follows."""
    if k == 1:
        return scores.max(1, keepdim=True)
    return (
        scores if k <= scores.shape[1] else functional.pad(scores, (0, k - scores.shape[1]), value=-torch.inf)
    ).topk(k)


def _cells(vectors: Vectors, count: int) -> tuple[Float[Tensor, "k c"], Int[Tensor, " n"]]:
    """Centres of `count` cells by k-means on the sphere, and the cell of each vector."""
    some = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))[:count]
    centres = vectors[some]
    for _ in range(ROUNDS):
        centres = unit(torch.zeros_like(centres).index_add_(0, _nearest(vectors, centres), vectors))
    return centres, _nearest(vectors, centres)


def _nearest(vectors: Vectors, centres: Float[Tensor, "k c"]) -> Int[Tensor, " n"]:
    rows = max(1, BLOCK_BYTES // (4 * len(centres)))
    return torch.cat([(block @ centres.t()).argmax(1) for block in vectors.split(rows)])

"""Features tile by tile, for pictures larger than memory: exactly those of the whole picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from arf.style.encoder import Encoder

Planes = Float[Tensor, "1 3 h w"]


@dataclass(frozen=True)
class Tile:
    """Part of a picture that is looked at by itself.

    Attributes:
        window: index into [3, H, W] of what the encoder sees, the tile and a margin; None for the whole picture.
        top, left: of the window, in the picture.
        rows, columns: first and last + 1 pixel of the tile, in the picture.
    """

    window: tuple[Tensor, Tensor, Tensor] | None
    top: int
    left: int
    rows: tuple[int, int]
    columns: tuple[int, int]

    def cut(self, picture: Planes) -> Planes:
        """The window's pixels."""
        return picture if self.window is None else picture[0][self.window][None]

    def within_picture(self, stride: int) -> tuple[slice, slice]:
        """The tile's positions at a stride, in the picture's features."""
        return slice(*(p // stride for p in self.rows)), slice(*(p // stride for p in self.columns))

    def within_window(self, stride: int) -> tuple[slice, slice]:
        """The tile's positions at a stride, in the window's features."""
        rows, columns = [[p - self.top for p in self.rows], [p - self.left for p in self.columns]]
        return slice(*(p // stride for p in rows)), slice(*(p // stride for p in columns))


class Tiling:
    """How an encoder looks at a picture for some taps: at once, or in tiles with margins as wide as the taps reach.

    Args:
        side: of a tile in pixels, rounded up to the deepest stride; 0 for the whole picture.
    """

    def __init__(self, encoder: Encoder, taps: Sequence[str], side: int = 0) -> None:
        self.encoder, self.taps = encoder, list(taps)
        self.stride = max(encoder.stride(tap) for tap in taps)
        self.side = -(-side // self.stride) * self.stride
        self.margin = -(-max(encoder.reach(tap) for tap in taps) // self.stride) * self.stride

    def tiles(self, height: int, width: int) -> Iterator[Tile]:
        """Tiles whose windows begin and end at multiples of the deepest stride, or at the picture's borders."""
        if not self.side or max(height, width) < self.side + self.stride:
            yield Tile(None, 0, 0, (0, height), (0, width))
            return
        for top, bottom, rows in self._spans(height):
            for left, right, columns in self._spans(width):
                window = torch.arange(3)[:, None, None], (rows % height)[:, None], columns % width
                yield Tile(window, int(rows[0]), int(columns[0]), (top, bottom), (left, right))

    def features(self, window: Planes, tile: Tile) -> dict[str, Float[Tensor, "1 c h w"]]:
        """Features at a tile's own positions, of what it cuts from the picture."""
        found = self.encoder(window, self.taps)
        return {tap: f[(..., *tile.within_window(self.encoder.stride(tap)))] for tap, f in found.items()}

    def _spans(self, length: int) -> Iterator[tuple[int, int, Tensor]]:
        """First and last + 1 pixel of every tile along a side, and the pixels of its window."""
        first, last = (-self.margin, length + self.margin) if self.encoder.padding == "circular" else (0, length)
        starts = [start for start in range(0, length, self.side) if not start or length - start >= self.stride]
        for start, stop in pairwise([*starts, length]):
            yield start, stop, torch.arange(max(start - self.margin, first), min(stop + self.margin, last))


@torch.no_grad()
def encode(
    encoder: Encoder, picture: Planes, taps: Sequence[str], side: int = 0
) -> dict[str, Float[Tensor, "1 c h w"]]:
    """The features of a picture, looked at in tiles of a side; they themselves are kept whole."""
    tiling = Tiling(encoder, taps, side)
    shapes = {tap: [s // encoder.stride(tap) for s in picture.shape[2:]] for tap in taps}
    found = {tap: picture.new_empty(1, encoder.width(tap), *shape) for tap, shape in shapes.items()}
    for tile in tiling.tiles(*picture.shape[2:]):
        for tap, f in tiling.features(tile.cut(picture), tile).items():
            found[tap][(..., *tile.within_picture(encoder.stride(tap)))] = f
    return found

"""Nearest-neighbour feature matching between two pictures, to be looked at: where each feature found its like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from arf.media import image
from arf.media.image import Picture
from arf.style.encoder import Encoder
from arf.style.neighbours import FeatureBank

SEARCH = 2**22  # similarities at once; they then stay in the processor's cache
CELLS = 3  # side of a patch, in strides of the tap: its own cell and the neighbours that its first convolution reads
DRAWN = 640  # smaller pictures are enlarged to about this long side before lines are drawn
GAP = 0.08  # between the two pictures, in widths of the first
LINE = 6  # pixels, at twice the size that is kept
GOLDEN = (sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Matches:
    """For every position of a tap in one picture, the position in another whose feature is nearest.

    Attributes:
        stride: pixels between neighbouring positions; position (y, x) stands for the cell of stride × stride pixels
            whose first pixel is (y · stride, x · stride).
        nearest: the position chosen in the other picture, as row · width + column.
        size: height and width of the other picture, in positions.
        distance: cosine distance 1 - cos to what was chosen.
    """

    stride: int
    nearest: Int[Tensor, "h w"]
    size: tuple[int, int]
    distance: Float[Tensor, "h w"]

    @property
    def mean_distance(self) -> float:
        """The NNFM loss between the two pictures at this tap."""
        return float(self.distance.double().mean())

    @property
    def used(self) -> float:
        """Share of the other picture's positions that anything chose."""
        return self.nearest.unique().numel() / (self.size[0] * self.size[1])


@torch.no_grad()
def match(
    encoder: Encoder, photo: Picture, other: Picture, tap: str, progress: Callable[[int, int], None] = lambda *_: None
) -> Matches:
    """Match each feature of `photo` at a tap with the one of `other` of largest cosine similarity (ARF, sec. 3.2).

    Args:
        progress: called with the positions done and their number.
    """
    features, bank = (encoder(p.permute(2, 0, 1)[None], [tap])[tap] for p in (photo, other))  # [1, C, h, w]
    height, width = features.shape[2:]
    vectors = features[0].permute(1, 2, 0).flatten(0, 1)  # [h·w, C]
    size, bank = tuple(bank.shape[2:]), FeatureBank(bank, exact=True)
    nearest, cosine = [], []
    for rows in vectors.split(max(1, SEARCH // len(bank))):
        chosen = bank.nearest(rows)[:, 0]  # [rows]
        nearest.append(chosen)
        cosine.append(functional.cosine_similarity(rows, bank.vectors[chosen]))  # [rows]
        progress(sum(map(len, nearest)), len(vectors))
    nearest, cosine = (torch.cat(parts).reshape(height, width).cpu() for parts in (nearest, cosine))  # [h, w]
    return Matches(encoder.stride(tap), nearest, size, (1 - cosine).clamp_min(0))


def recompose(matches: Matches, photo: Picture, other: Picture) -> Picture:
    """`photo` made anew from the patches of `other` that its features chose.

    A patch is the chosen position's cell and its eight neighbours, three strides a side. Patches overlap; where they
    do, they are averaged with weights that fall off linearly from a patch's middle, so that seams do not show and
    detail is not blurred as much as by a plain mean. Beyond its border `other` is continued by its border pixels.

    Args:
        photo: gives the size only; its colours are not used.
    """
    stride, side = matches.stride, CELLS * matches.stride
    margin = (CELLS // 2) * stride
    planes = functional.pad(other.cpu().permute(2, 0, 1)[None], (margin,) * 4, mode="replicate")  # [1, 3, H', W']
    patches = functional.unfold(planes, side, stride=stride)[:, :, matches.nearest.flatten()]  # [1, 3·side², h·w]
    ramp = 1 - (torch.arange(side) + 0.5 - side / 2).abs() / (side / 2)  # [side], positive
    window = torch.outer(ramp, ramp).flatten().repeat(3)[None, :, None]  # [1, 3·side², 1]
    height, width = photo.shape[0] + 2 * margin, photo.shape[1] + 2 * margin
    total, weight = (
        functional.fold(columns, (height, width), side, stride=stride)[0, :, margin:-margin, margin:-margin]
        for columns in (patches * window, window.expand_as(patches))
    )  # [3, H, W]
    return (total / weight).permute(1, 2, 0).contiguous()  # [H, W, 3]


def draw(matches: Matches, photo: Picture, other: Picture, lines: int) -> Picture:
    """The two pictures side by side, with lines from positions of `photo`, evenly spread, to those they chose.

    The squares at the ends of a line are the patches that `recompose` takes.
    """
    zoom = max(1, round(DRAWN / max(*photo.shape[:2], *other.shape[:2])))
    fine = 2 * zoom  # drawn at twice the size and shrunk, which smooths the lines
    gap = round(GAP * photo.shape[1])
    height, width = max(photo.shape[0], other.shape[0]), photo.shape[1] + gap + other.shape[1]
    corners = [(0, (height - photo.shape[0]) // 2), (photo.shape[1] + gap, (height - other.shape[0]) // 2)]  # x, y
    sheet = Image.new("RGB", (width * fine, height * fine), "white")
    for picture, corner in zip((photo, other), corners, strict=True):
        large = image.resize(picture.cpu(), picture.shape[0] * fine, picture.shape[1] * fine)
        sheet.paste(Image.fromarray(image.to_bytes(large).numpy()), tuple(c * fine for c in corner))
    connections = []
    for y, x in spread(*matches.nearest.shape, lines):
        row, column = divmod(int(matches.nearest[y, x]), matches.size[1])
        connections.append(
            [
                tuple((c + (p + 0.5) * matches.stride) * fine for c, p in zip(corner, position, strict=True))
                for corner, position in zip(corners, ((x, y), (column, row)), strict=True)
            ]
        )
    pen, reach = ImageDraw.Draw(sheet), max(CELLS * matches.stride * fine / 2, LINE)
    for ends in connections:
        _connect(pen, ends, reach + LINE // 2, 2 * LINE, (0, 0, 0))  # a dark rim, so that it shows on any picture
    for index, ends in enumerate(connections):
        _connect(pen, ends, reach, LINE, _color(index))
    return torch.from_numpy(np.asarray(sheet.reduce(2), dtype=np.float32) / 255)  # [H, W, 3]


def spread(height: int, width: int, count: int) -> list[tuple[int, int]]:
    """`count` positions (y, x) of a grid, or all where there are fewer, in rows about as far apart as the columns."""
    count = min(count, height * width)
    if not count:
        return []
    rows = min(count, height, max(round(sqrt(count * height / width)), ceil(count / width)))
    in_row = [count // rows + (row < count % rows) for row in range(rows)]
    return [
        (int((row + 0.5) * height / rows), int((column + 0.5) * width / columns))
        for row, columns in enumerate(in_row)
        for column in range(columns)
    ]


def _connect(
    pen: ImageDraw.ImageDraw, ends: Sequence[tuple[float, float]], reach: float, width: int, ink: tuple[int, ...]
) -> None:
    """A line with a square about each end."""
    pen.line(ends, ink, width)
    for x, y in ends:
        pen.rectangle([x - reach, y - reach, x + reach, y + reach], outline=ink, width=width)


def _color(index: int) -> tuple[int, ...]:
    """Hues a golden section apart: neighbours differ, and no hue comes twice."""
    return tuple(round(255 * value) for value in hsv_to_rgb(index * GOLDEN % 1, 0.7, 1.0))

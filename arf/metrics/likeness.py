"""How near a picture comes to a style, and how much it keeps of a photograph.

A mask says which of a picture's pixels count. The encoder sees the others, too; a position of its features counts by
the share of its pixels that do. Where nothing counts the figure is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from arf.style.encoder import Encoder, block_of
from arf.style.losses import gram, nnfm_loss, shrink_weight
from arf.style.neighbours import FeatureBank

Picture = Float[Tensor, "h w 3"]
Mask = Bool[Tensor, "h w"]
NNFM_LAYERS = ("relu3_1", "relu3_2", "relu3_3")  # those of ARF
GRAM_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
STRUCTURE_LAYER = "relu4_1"
DIRECTIONS = 64  # in which colours are looked at
BINS = 2048  # of the colours along one, from where to where
REACH = 3**0.5
PIXELS = 1 << 15  # whose colours are counted at once
HALF = 0.5 - 1e-6  # of a position's pixels, but for rounding
POSITIONS = 1024  # of a picture's features, at most, that are compared with each other


@torch.no_grad()
def features(picture: Picture, encoder: Encoder, layers: Sequence[str]) -> list[Float[Tensor, "1 c h w"]]:
    """An encoder's features of a picture in [0, 1], one tensor for each layer."""
    planes = picture.to(encoder.mean.device).permute(2, 0, 1)[None]  # [1, 3, h, w]
    found = encoder(planes, list(layers))
    return [found[layer] for layer in layers]


def nnfm_bank(style: Picture, encoder: Encoder, layers: Sequence[str] = NNFM_LAYERS) -> FeatureBank:
    """A style's features for `nnfm_distance`, searched exactly."""
    return FeatureBank(_together(style, encoder, layers), exact=True)


@torch.no_grad()
def nnfm_distance(
    picture: Picture,
    style: Picture | FeatureBank,
    encoder: Encoder,
    layers: Sequence[str] = NNFM_LAYERS,
    mask: Mask | None = None,
) -> float:
    """Mean cosine distance from each feature of the picture to the nearest one of the style, in [0, 2] (Zhang et al.,
    ARF, ECCV 2022, eq. 3).

    Args:
        style: a picture, or `nnfm_bank` of one where it serves several pictures.
        layers: of one block; their channels are taken together.

    Raises:
        ValueError: layers of several blocks.
    """
    bank = style if isinstance(style, FeatureBank) else nnfm_bank(style, encoder, layers)
    found = _together(picture, encoder, layers)
    return math.nan if _empty(mask) else float(nnfm_loss(found, bank, _shares(mask, found)))


def gram_matrices(
    picture: Picture, encoder: Encoder, layers: Sequence[str] = GRAM_LAYERS, mask: Mask | None = None
) -> list[Float[Tensor, "1 c c"]]:
    """The Gram matrix of each layer's features, over the number of positions (Gatys et al., 2016)."""
    return [gram(f, "positions", _shares(mask, f)) for f in features(picture, encoder, layers)]


def gram_distance(
    picture: Picture,
    style: Picture | Sequence[Float[Tensor, "1 c c"]],
    encoder: Encoder,
    layers: Sequence[str] = GRAM_LAYERS,
    mask: Mask | None = None,
) -> float:
    """‖G - Ĝ‖² / ‖Ĝ‖² of the Gram matrices of picture and style, the mean over the layers: 0 where they agree, about 1
    where they have nothing in common.

    Args:
        style: a picture, or `gram_matrices` of one where it serves several pictures.
    """
    if _empty(mask):
        return math.nan
    wanted = gram_matrices(style, encoder, layers) if isinstance(style, Tensor) else style
    pairs = zip(gram_matrices(picture, encoder, layers, mask), wanted, strict=True)
    return sum(float((g - w).square().sum() / w.square().sum()) for g, w in pairs) / len(wanted)


def color_shares(picture: Float[Tensor, "*n 3"]) -> Float[Tensor, "d b"]:
    """For `color_distance`: along each direction, the share of a picture's colours up to each of `BINS` bounds."""
    k = torch.arange(DIRECTIONS, dtype=torch.float64) + 0.5  # a spiral over the sphere: evenly spread
    height, turn = 1 - 2 * k / DIRECTIONS, torch.pi * (1 + 5**0.5) * k
    radius = (1 - height.square()).sqrt()
    directions = torch.stack([radius * turn.cos(), radius * turn.sin(), height], 0).float()  # [3, d]
    colors, counts = picture.reshape(-1, 3), torch.zeros(DIRECTIONS * BINS, dtype=torch.long)
    for some in colors.split(PIXELS):
        along = some.float().cpu() @ directions  # [n, d]
        bins = ((along / REACH + 1) / 2 * BINS).long().clamp(0, BINS - 1) + BINS * torch.arange(DIRECTIONS)
        counts += torch.bincount(bins.flatten(), minlength=len(counts))
    return counts.view(DIRECTIONS, BINS).cumsum(1).double() / len(colors)


def color_distance(picture: Float[Tensor, "*n 3"], other: Float[Tensor, "*m 3"]) -> float:
    """How far the colours of one picture have to be moved to be those of the other, RGB in [0, 1]: the sliced
    Wasserstein distance of order 1 (Rabin et al., 2011), over fixed directions.

    A shift of all colours by d counts as about |d| / 2: a direction sees a part of it.
    """
    return shares_distance(color_shares(picture), color_shares(other))


def shares_distance(shares: Float[Tensor, "d b"], others: Float[Tensor, "d b"]) -> float:
    """`color_distance` of two pictures' `color_shares`."""
    return float((shares - others).abs().mean()) * 2 * REACH


def structure_distance(
    picture: Picture,
    photograph: Picture,
    encoder: Encoder,
    layer: str = STRUCTURE_LAYER,
    mask: Mask | None = None,
) -> float:
    """How differently two pictures of one size are like themselves: mean absolute difference of the matrices of cosine
    distances between all positions of a picture, each column over its sum (Kolkin et al., STROTSS, CVPR 2019), in
    proportion to the mean distance. Colours and brushwork count for little, what lies where for much. Of a mask those
    positions count half of whose pixels do; NaN of fewer than two.

    Raises:
        ValueError: pictures of different sizes.
    """
    if picture.shape != photograph.shape:
        raise ValueError(f"structure is compared of one size, not {list(picture.shape)} and {list(photograph.shape)}")
    first, second = (_own_distances(p, encoder, layer, mask) for p in (picture, photograph))
    return float((first - second).abs().mean()) * len(first) if len(first) > 1 else math.nan


def _own_distances(picture: Picture, encoder: Encoder, layer: str, mask: Mask | None) -> Float[Tensor, "n n"]:
    (found,) = features(picture, encoder, [layer])
    height, width = found.shape[-2:]
    shrink = (POSITIONS / (height * width)) ** 0.5
    if shrink < 1:
        found = interpolate(found, [max(1, int(side * shrink)) for side in (height, width)], mode="area")
    vectors = normalize(found.flatten(2)[0].t(), dim=1)  # [n, c]
    if mask is not None:
        vectors = vectors[_shares(mask, found).flatten() >= HALF]
    distances = (1 - vectors @ vectors.t()).clamp_min(0)
    return distances / distances.sum(0).clamp_min(1e-9)


def _empty(mask: Mask | None) -> bool:
    return mask is not None and not mask.any()


def _shares(mask: Mask | None, features: Float[Tensor, "1 c h w"]) -> Float[Tensor, "h w"] | None:
    """How much of each position's pixels counts."""
    return None if mask is None else shrink_weight(mask.to(features), (features.shape[2], features.shape[3]))


def _together(picture: Picture, encoder: Encoder, layers: Sequence[str]) -> Float[Tensor, "1 c h w"]:
    if len({block_of(layer) for layer in layers}) != 1:
        raise ValueError(f"features are taken together of one block, not of {', '.join(layers)}")
    return torch.cat(features(picture, encoder, layers), 1)

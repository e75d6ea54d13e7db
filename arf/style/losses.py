"""Losses of style transfer over encoder features, shared by the 2D methods and the 3D pipeline.

Features are [B, C, H, W] or, for one picture, [C, N]: channels by positions.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

BLOCK_BYTES = 128 * 2**20  # of similarities at once; smaller blocks are slower, larger ones are not faster
TINY = 1e-6  # norm below which a feature vector has no direction

Features = Float[Tensor, "..."]
GramNormalization = Literal["positions", "elements"]


def gram(features: Features, normalization: GramNormalization) -> Float[Tensor, "*b c c"]:
    """Gram matrix G = F Fᵀ / n of features [B, C, H, W] or [C, N].

    Args:
        features: F, channels by positions.
        normalization: n is the number of "positions" H·W (Gatys et al. 2016; pictures of different size compare), or
            of "elements" C·H·W (Johnson et al. 2016).

    Raises:
        ValueError: another shape or normalisation.
    """
    rows = _rows(features)  # [B, N, C]
    counts = {"positions": rows.shape[1], "elements": rows.shape[1] * rows.shape[2]}
    if normalization not in counts:
        raise ValueError(f"normalization is one of {', '.join(counts)}, not {normalization!r}")
    matrix = _InnerProducts.apply(rows) / counts[normalization]  # [B, C, C]
    return matrix[0] if features.ndim == 2 else matrix


class _InnerProducts(torch.autograd.Function):
    """Rᵀ R of rows [B, N, C]. The product is symmetric, so that one product goes back where autograd takes two."""

    @staticmethod
    def forward(ctx, rows):
        ctx.save_for_backward(rows)
        return rows.transpose(1, 2) @ rows  # [B, C, C]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):
        (rows,) = ctx.saved_tensors
        return rows @ (grad_output + grad_output.transpose(1, 2))  # [B, N, C]


def gram_loss(
    features: Features, style_gram: Float[Tensor, "*b c c"], normalization: GramNormalization
) -> Float[Tensor, ""]:
    """Mean squared difference between the features' Gram matrix and the style's, of the same normalisation."""
    matrix = gram(features, normalization)
    return functional.mse_loss(matrix, style_gram.expand_as(matrix))


class FeatureBank:
    """Style features made ready for nearest-neighbour search: unit vectors, normalised once.

    Similarities are computed in blocks of at most `block_bytes`. `half` computes them in float16 (bfloat16 on a CPU);
    only the choice is affected, the distances stay in the features' own precision.

    Raises:
        ValueError: not the features of one picture, or none at all.
    """

    def __init__(self, style: Features, half: bool = False, block_bytes: int = BLOCK_BYTES) -> None:
        with torch.no_grad():
            self.vectors: Float[Tensor, "m c"] = _unit(_one_picture(style)).contiguous()
        if not len(self.vectors):
            raise ValueError("a style needs at least one feature")
        self.block_bytes = block_bytes
        kind = self.vectors.dtype if not half else torch.float16 if self.vectors.is_cuda else torch.bfloat16
        self._search = self.vectors.to(kind).t()  # [C, M]

    def __len__(self) -> int:
        return len(self.vectors)

    @torch.no_grad()
    def nearest(self, vectors: Float[Tensor, "n c"], k: int = 1) -> Int[Tensor, "n k"]:
        """Rows of the k vectors with the largest cosine similarity, nearest first. No gradient."""
        if not 1 <= k <= len(self):
            raise ValueError(f"k is between 1 and the {len(self)} style features, not {k}")
        vectors = _unit(vectors).to(self._search.dtype)  # unit, for raw features overflow half precision
        rows = max(1, self.block_bytes // (len(self) * self._search.element_size()))
        found = []
        for block in vectors.split(rows):
            similarity = block @ self._search  # [rows, M]
            found.append(similarity.argmax(1, keepdim=True) if k == 1 else similarity.topk(k).indices)
        return torch.cat(found)


def nnfm_loss(features: Features, style: Features | FeatureBank) -> Float[Tensor, ""]:
    """Nearest-neighbour feature matching (Zhang et al., ARF, ECCV 2022, sec. 3.2): mean over i of min_j D(f_i, s_j),
    with D the cosine distance. The choice of j carries no gradient.

    Args:
        features: of one picture, [1, C, H, W] or [C, N].
        style: of one picture likewise; a FeatureBank where it serves many steps.
    """
    return knn_loss(features, style, k=1)


def knn_loss(features: Features, style: Features | FeatureBank, k: int) -> Float[Tensor, ""]:
    """Mean cosine distance from each feature to its k nearest style features; k = 1 is NNFM. Larger k repeats less."""
    bank = style if isinstance(style, FeatureBank) else FeatureBank(style)
    vectors = _one_picture(features)  # [N, C]
    if vectors.shape[1] != bank.vectors.shape[1]:
        raise ValueError(f"features have {vectors.shape[1]} channels, the style's have {bank.vectors.shape[1]}")
    chosen = bank.vectors[bank.nearest(vectors.detach(), k)].mean(1)  # [N, C]; the mean of cosines is linear in s
    return 1 - (_unit(vectors) * chosen).sum(1).mean()


def content_loss(features: Features, content: Features) -> Float[Tensor, ""]:
    """Mean squared difference of features."""
    if features.shape != content.shape:
        raise ValueError(f"content features must have one shape, got {list(features.shape)} and {list(content.shape)}")
    return functional.mse_loss(features, content)


def moments(features: Features, eps: float = 1e-5) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """Mean and standard deviation sqrt(variance + eps) over positions, per picture and channel.

    The variance is the population's, where AdaIN's code divides by N - 1: a single position has one too.
    eps, in squared units of the features, keeps the root differentiable where a channel is constant.
    """
    rows = _rows(features)  # [B, N, C]
    variance, mean = torch.var_mean(rows, dim=1, correction=0)  # [B, C]
    return mean, (variance + eps).sqrt()


def moment_loss(features: Features, style: Features, eps: float = 1e-5) -> Float[Tensor, ""]:
    """AdaIN's style loss at one tap (Huang & Belongie, ICCV 2017, eq. 13): mean squared difference of the channels'
    means plus that of their standard deviations. The two pictures may differ in size."""
    mean, deviation = moments(features, eps)
    style_mean, style_deviation = (moment.expand_as(mean) for moment in moments(style, eps))
    return functional.mse_loss(mean, style_mean) + functional.mse_loss(deviation, style_deviation)


def total_variation(
    pictures: Float[Tensor, "b 3 h w"], beta: float = 2.0, reduction: Literal["mean", "sum"] = "mean"
) -> Float[Tensor, ""]:
    """TV_β = Σ (dx² + dy²)^(β/2) over pictures, channels and pixels (Mahendran & Vedaldi, CVPR 2015).

    dx and dy are forward differences, zero across the last column and row. "mean" divides by the number of values.
    Where β < 2 the power has no derivative at zero, so it is taken as (s + ε)^(β/2) - ε^(β/2) with ε = 1e-8: below
    differences of 1e-4, a fortieth of a step of 8 bits, it is smooth.

    Raises:
        ValueError: β is not positive, or an unknown reduction.
    """
    if beta <= 0 or reduction not in ("mean", "sum"):
        raise ValueError(f"beta must be positive and reduction mean or sum, got {beta} and {reduction!r}")
    if beta == 2:
        total = _SquaredSteps.apply(pictures)
        return total / pictures.numel() if reduction == "mean" else total
    dx = functional.pad(pictures.diff(dim=-1), (0, 1))  # [B, 3, H, W]
    dy = functional.pad(pictures.diff(dim=-2), (0, 0, 0, 1))  # [B, 3, H, W]
    variation = dx.square() + dy.square()
    shift = 1e-8 if beta < 2 else 0.0
    variation = (variation + shift) ** (beta / 2) - shift ** (beta / 2)
    return variation.mean() if reduction == "mean" else variation.sum()


class _SquaredSteps(torch.autograd.Function):
    """Σ (dx² + dy²), its gradient found on the way: a third of the memory that autograd takes on large pictures."""

    @staticmethod
    def forward(ctx, pictures):
        total, gradient = pictures.new_zeros(()), torch.zeros_like(pictures)
        for dim in (-1, -2):
            step = pictures.diff(dim=dim)  # [B, 3, H, W - 1], then [B, 3, H - 1, W]
            total += torch.linalg.vector_norm(step).square()
            gradient.narrow(dim, 1, step.shape[dim]).add_(step, alpha=2)
            gradient.narrow(dim, 0, step.shape[dim]).sub_(step, alpha=2)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):
        (gradient,) = ctx.saved_tensors
        return gradient * grad_output


def _rows(features: Features) -> Float[Tensor, "b n c"]:
    """[B, C, H, W] or [C, N] as batches of positions by channels; no copy where features are channels-last."""
    if features.ndim == 4:
        return features.permute(0, 2, 3, 1).flatten(1, 2)
    if features.ndim == 2:
        return features.t()[None]
    raise ValueError(f"features are [B, C, H, W] or [C, N], got {list(features.shape)}")


def _one_picture(features: Features) -> Float[Tensor, "n c"]:
    rows = _rows(features)
    if len(rows) != 1:
        raise ValueError(f"nearest neighbours need the features of one picture, got {list(features.shape)}")
    return rows[0]


def _unit(vectors: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    return functional.normalize(vectors, dim=1, eps=TINY)

"""Losses of style transfer over encoder features, shared by the 2D methods and the 3D pipeline.

Features are [B, C, H, W] or, for one picture, [C, N]: channels by positions. A weight says how much each position
counts, >= 0: [H, W], [1, 1, H, W] or [B, 1, H, W] of the former, [N] of the latter. What weighs 0 is in no sum and gets
no gradient; where all weigh 0, losses are 0.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from arf.style.neighbours import FeatureBank, Features, one_picture, rows_of, unit

TINY = 1e-6  # sum of weights that counts as none

Weight = Float[Tensor, "..."]
GramNormalization = Literal["positions", "elements"]


def shrink_weight(weight: Float[Tensor, "h w"], size: tuple[int, int]) -> Float[Tensor, "h2 w2"]:
    """A picture's weight [H, W] at the (height, width) of its features: the mean over what each position covers."""
    return functional.interpolate(weight[None, None], size, mode="area")[0, 0]


def gram(features: Features, normalization: GramNormalization, weight: Weight | None = None) -> Float[Tensor, "*b c c"]:
    """Gram matrix G = F Fᵀ / n of features [B, C, H, W] or [C, N]; with weights Σ w f fᵀ / n over positions.

    Args:
        features: F, channels by positions.
        normalization: n is the number of "positions" H·W (Gatys et al. 2016; pictures of different size compare), or
            of "elements" C·H·W (Johnson et al. 2016). With weights their sum takes the place of H·W.
        weight: how much each position counts.

    Raises:
        ValueError: another shape or normalisation.
    """
    rows = rows_of(features)  # [B, N, C]
    scales = {"positions": 1, "elements": rows.shape[2]}
    if normalization not in scales:
        raise ValueError(f"normalization is one of {', '.join(scales)}, not {normalization!r}")
    count = rows.shape[1]
    if weight is not None:
        shares = _weight_rows(weight, features)  # [B, N, 1]
        rows, count = rows * shares.sqrt(), shares.sum(1, keepdim=True).clamp_min(TINY)  # [B, N, C], [B, 1, 1]
    matrix = _InnerProducts.apply(rows) / (count * scales[normalization])  # [B, C, C]
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
    features: Features,
    style_gram: Float[Tensor, "*b c c"],
    normalization: GramNormalization,
    weight: Weight | None = None,
) -> Float[Tensor, ""]:
    """Mean squared difference between the features' Gram matrix and the style's, of the same normalisation."""
    matrix = gram(features, normalization, weight)
    return functional.mse_loss(matrix, style_gram.expand_as(matrix))


def nnfm_loss(features: Features, style: Features | FeatureBank, weight: Weight | None = None) -> Float[Tensor, ""]:
    """Nearest-neighbour feature matching (Zhang et al., ARF, ECCV 2022, sec. 3.2): mean over i of min_j D(f_i, s_j),
    with D the cosine distance. The choice of j carries no gradient.

    Args:
        features: of one picture, [1, C, H, W] or [C, N].
        style: of one picture likewise; a FeatureBank where it serves many steps.
        weight: of i in the mean.
    """
    return knn_loss(features, style, k=1, weight=weight)


def knn_loss(
    features: Features, style: Features | FeatureBank, k: int, weight: Weight | None = None
) -> Float[Tensor, ""]:
    """Mean cosine distance from each feature to its k nearest style features; k = 1 is NNFM. Larger k repeats less."""
    bank = style if isinstance(style, FeatureBank) else FeatureBank(style)
    vectors = one_picture(features)  # [N, C]
    if vectors.shape[1] != bank.vectors.shape[1]:
        raise ValueError(f"features have {vectors.shape[1]} channels, the style's have {bank.vectors.shape[1]}")
    shares = None if weight is None else _weight_rows(weight, features)[0, :, 0]  # [N]
    if shares is not None and not shares.is_cuda:  # no search for what does not count; a GPU's host would have to wait
        counted = (shares > 0).nonzero().squeeze(1)
        vectors, shares = vectors[counted], shares[counted]
    chosen = bank.vectors[bank.nearest(vectors.detach(), k)].mean(1)  # [N, C]; the mean of cosines is linear in s
    similarity = (unit(vectors) * chosen).sum(1)  # [N]
    if shares is None:
        return (1 - similarity).mean()  # not 1 - mean: cosines are near 1, and their mean is rounded at 1
    return ((1 - similarity) * shares).sum() / shares.sum().clamp_min(TINY)


def content_loss(features: Features, content: Features, weight: Weight | None = None) -> Float[Tensor, ""]:
    """Mean squared difference of features, over positions and channels."""
    if features.shape != content.shape:
        raise ValueError(f"content features must have one shape, got {list(features.shape)} and {list(content.shape)}")
    if weight is None:
        return functional.mse_loss(features, content)
    shares = _weight_rows(weight, features)  # [B, N, 1]
    distance = (rows_of(features) - rows_of(content)).square().mean(2, keepdim=True)  # [B, N, 1]
    return (distance * shares).sum() / shares.sum().clamp_min(TINY)


def moments(
    features: Features, eps: float = 1e-5, weight: Weight | None = None
) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """Mean and standard deviation sqrt(variance + eps) over positions, per picture and channel.

    The variance is the population's, where AdaIN's code divides by N - 1: a single position has one too.
    eps, in squared units of the features, keeps the root differentiable where a channel is constant. With weights both
    are weighted means.
    """
    rows = rows_of(features)  # [B, N, C]
    if weight is None:
        variance, mean = torch.var_mean(rows, dim=1, correction=0)  # [B, C]
    else:
        shares = _weight_rows(weight, features)  # [B, N, 1]
        mean = _weighted_mean(rows, shares)
        variance = _weighted_mean((rows - mean[:, None]).square(), shares)
    return mean, (variance + eps).sqrt()


def moment_loss(features: Features, style: Features, eps: float = 1e-5) -> Float[Tensor, ""]:
    """AdaIN's style loss at one tap (Huang & Belongie, ICCV 2017, eq. 13): mean squared difference of the channels'
    means plus that of their standard deviations. The two pictures may differ in size."""
    mean, deviation = moments(features, eps)
    style_mean, style_deviation = (moment.expand_as(mean) for moment in moments(style, eps))
    return functional.mse_loss(mean, style_mean) + functional.mse_loss(deviation, style_deviation)


def total_variation(
    pictures: Float[Tensor, "b 3 h w"],
    beta: float = 2.0,
    reduction: Literal["mean", "sum"] = "mean",
    weight: Weight | None = None,
) -> Float[Tensor, ""]:
    """TV_β = Σ (dx² + dy²)^(β/2) over pictures, channels and pixels (Mahendran & Vedaldi, CVPR 2015).

    dx and dy are forward differences, zero across the last column and row. "mean" divides by the number of values.
    Where β < 2 the power has no derivative at zero, so it is taken as (s + ε)^(β/2) - ε^(β/2) with ε = 1e-8: below
    differences of 1e-4, a fortieth of a step of 8 bits, it is smooth.

    With weights dx² and dy² count as the product of their two pixels' weights, so that differences between a pixel that
    counts and one that does not are none; the mean is over the sum of the weights.

    Raises:
        ValueError: β is not positive, or an unknown reduction.
    """
    if beta <= 0 or reduction not in ("mean", "sum"):
        raise ValueError(f"beta must be positive and reduction mean or sum, got {beta} and {reduction!r}")
    if beta == 2 and weight is None:
        total = _SquaredSteps.apply(pictures)
        return total / pictures.numel() if reduction == "mean" else total
    dx, dy = pictures.diff(dim=-1).square(), pictures.diff(dim=-2).square()  # [B, 3, H, W - 1], [B, 3, H - 1, W]
    if weight is not None:
        weight = weight.to(pictures)
        dx, dy = dx * (weight[..., :, 1:] * weight[..., :, :-1]), dy * (weight[..., 1:, :] * weight[..., :-1, :])
    variation = functional.pad(dx, (0, 1)) + functional.pad(dy, (0, 0, 0, 1))  # [B, 3, H, W]
    shift = 1e-8 if beta < 2 else 0.0
    flat = variation == 0  # exactly nothing, however a processor rounds powers
    variation = ((variation + shift) ** (beta / 2) - shift ** (beta / 2)).masked_fill(flat, 0.0)
    if weight is None:
        return variation.mean() if reduction == "mean" else variation.sum()
    return variation.sum() / (weight.expand_as(pictures).sum().clamp_min(TINY) if reduction == "mean" else 1)


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


def _weight_rows(weight: Weight, features: Features) -> Float[Tensor, "b n 1"]:
    """A weight as `rows_of` has the features that it is of.

    Raises:
        ValueError: it has another size.
    """
    plane = features[:, :1] if features.ndim == 4 else features[:1]
    try:
        return rows_of(weight.expand_as(plane)).to(features)
    except RuntimeError as error:
        raise ValueError(f"{list(weight.shape)} are no weights of features {list(features.shape)}") from error


def _weighted_mean(rows: Float[Tensor, "b n c"], shares: Float[Tensor, "b n 1"]) -> Float[Tensor, "b c"]:
    return (rows * shares).sum(1) / shares.sum(1).clamp_min(TINY)

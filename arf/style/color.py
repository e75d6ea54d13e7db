"""Colour transfer by affine maps of RGB, and of brightness alone. Everything acts on [..., 3]: pixels or vertices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SMALLEST, LARGEST = 1e-8, 1e8  # eigenvalues of a covariance are clamped to this range, as ARF does
NOISE = 2 / 255  # deviation that 8 bits and a JPEG may leave in a direction of no colour
LUMA = (0.299, 0.587, 0.114)  # BT.601, the Y of YIQ

Colors = Float[Tensor, "*n 3"]
Weight = Float[Tensor, "*n"]


@dataclass(frozen=True)
class Affine:
    """The colour map c ↦ M c + b, kept in float64."""

    matrix: Float[Tensor, "3 3"]
    bias: Float[Tensor, " 3"]

    @classmethod
    def identity(cls) -> Affine:
        return cls(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))

    def apply(self, colors: Colors) -> Colors:
        """Map colours [..., 3]. Not clamped, so that it stays exact on vertex colours and can be undone."""
        _check(colors)
        matrix = self.matrix.to(colors)
        return colors @ matrix.t() + self.bias.to(colors)  # [..., 3]

    def compose(self, first: Affine) -> Affine:
        """The map that applies `first` and then this one."""
        return Affine(self.matrix @ first.matrix, self.matrix @ first.bias + self.bias)

    def inverse(self) -> Affine:
        """The map that undoes this one.

        Raises:
            ValueError: the matrix is singular to working precision.
        """
        if not self.matrix.isfinite().all() or not torch.linalg.cond(self.matrix) < 1e12:  # of zeros it is NaN
            raise ValueError(f"a colour map must be invertible to be undone, its matrix is {self.matrix.tolist()}")
        matrix = torch.linalg.inv(self.matrix)
        return Affine(matrix, -matrix @ self.bias)


class Moments:
    """Mean and covariance of colours, gathered chunk by chunk in float64 (Chan et al., 1979: no cancellation)."""

    def __init__(self) -> None:
        self.count = 0  # of colours, or the sum of their weights
        self._mean = torch.zeros(3, dtype=torch.float64)
        self._scatter = torch.zeros(3, 3, dtype=torch.float64)  # sum of w (c - mean)(c - mean)ᵀ

    @classmethod
    def of(cls, pictures: Iterable[Colors | tuple[Colors, Weight | None]]) -> Moments:
        """Moments over all the colours of several pictures or chunks, each alone or with its weights."""
        moments = cls()
        for picture in pictures:
            moments.update(*picture) if isinstance(picture, tuple) else moments.update(picture)
        return moments

    def update(self, colors: Colors, weight: Weight | None = None) -> None:
        """Take in more colours [..., 3].

        Args:
            weight: [...] >= 0, how much each counts; 1 when left out. One that counts 0 may be anything, even NaN.

        Raises:
            ValueError: other shapes, or a weight below 0.
        """
        _check(colors)
        rows = colors.detach().reshape(-1, 3).to("cpu", torch.float64)  # [N, 3]
        if weight is not None:
            if weight.shape != colors.shape[:-1] or not bool((weight >= 0).all()):
                raise ValueError(f"colours {list(colors.shape)} have as many weights >= 0, not {list(weight.shape)}")
            shares = weight.detach().reshape(-1).to("cpu", torch.float64)  # [N]
            rows, shares = rows[shares > 0], shares[shares > 0]
        if not len(rows):
            return
        count = len(rows) if weight is None else float(shares.sum())
        mean = rows.mean(0) if weight is None else shares @ rows / count
        centred = rows - mean
        step = mean - self._mean
        total = self.count + count
        scatter = centred.t() @ (centred if weight is None else shares[:, None] * centred)
        self._scatter += scatter + torch.outer(step, step) * (self.count * count / total)
        self._mean += step * (count / total)
        self.count = total

    @property
    def mean(self) -> Float[Tensor, " 3"]:
        self._check_count()
        return self._mean.clone()

    @property
    def covariance(self) -> Float[Tensor, "3 3"]:
        """The population's, divided by N, or by the sum of the weights."""
        self._check_count()
        return self._scatter / self.count

    def _check_count(self) -> None:
        if not self.count:
            raise ValueError("no colours were gathered yet")


def matching(source: Moments, target: Moments) -> Affine:
    """The affine map that gives colours with the source's moments the target's mean and covariance.

    M = Σ_t^½ Σ_s^-½ with symmetric roots, b = μ_t - M μ_s (Zhang et al., ARF, ECCV 2022, sec. 3.3).

    Where we deviate: a direction of colour in which the source deviates by σ less than two levels of 255 (ε) is noise,
    which would come out as confetti. There 1/σ becomes σ/ε², so that the result deviates by σ_t (σ/ε)²: what is grey
    stays near grey. No direction is stretched more than σ_t/ε times, σ_t <= √3/2 being the target's largest deviation:
    110 at the utmost. All else is exact.
    """
    matrix = _on_deviations(target.covariance, lambda d: d) @ _on_deviations(source.covariance, _scarcely_stretching)
    return Affine(matrix, target.mean - matrix @ source.mean)


def recolor(picture: Colors, like: Moments) -> Colors:
    """The picture with the mean and covariance of `like`, clamped to [0, 1].

    Recolouring the style picture like the content is one of the two ways of keeping the content's colours (Gatys et
    al., Preserving color in neural artistic style transfer, 2016); `keep_color` is the other.
    """
    return matching(Moments.of([picture]), like).apply(picture).clamp(0, 1)


def match_histogram(picture: Colors, like: Colors) -> Colors:
    """The picture with the histogram of `like`, channel by channel.

    The k-th smallest of the picture's n values becomes the (k + ½)/n quantile of `like`. The two may differ in size.
    """
    source, target = picture.reshape(-1, 3), like.reshape(-1, 3)  # [N, 3], [M, 3]
    ordered = target.sort(0).values.t()[:, None]  # [3, 1, M]
    quantiles = functional.interpolate(ordered, len(source), mode="linear", align_corners=False)[:, 0]  # [3, N]
    matched = torch.empty_like(source)
    return matched.scatter_(0, source.argsort(dim=0, stable=True), quantiles.t()).view_as(picture)


def luma(colors: Colors) -> Float[Tensor, "*n"]:
    """Y = 0.299 R + 0.587 G + 0.114 B (BT.601)."""
    _check(colors)
    return colors @ torch.tensor(LUMA, dtype=colors.dtype, device=colors.device)  # [...]


def keep_color(result: Colors, content: Colors) -> Colors:
    """The content's chroma (I and Q of YIQ) with the result's luma.

    Adding the same amount to R, G and B changes Y by it and neither I nor Q, so this is content + (Y_result -
    Y_content): linear in both, so that on vertex colours it commutes with rendering. Not clamped.
    """
    return content + (luma(result) - luma(content))[..., None]


def recolored(content: Colors, styles: Sequence[Colors], preserve_color: str) -> tuple[Colors, list[Colors]]:
    """Content and styles as they are compared, so that the result has the content's colours (Gatys et al., Preserving
    Color in Neural Artistic Style Transfer, 2016).

    "affine" gives every style the content's mean and covariance of colour. "luminance" compares grey pictures, the
    style's brightness with the content's mean and deviation; the content's chroma is put back at the end. A style of
    one brightness but for noise stays so, as in `matching`.
    """
    if preserve_color == "none":
        return content, list(styles)
    if preserve_color == "affine":
        return content, [recolor(style, Moments.of([content])) for style in styles]
    grey = luma(content)
    deviation, mean = torch.std_mean(grey)
    greys = []
    for style in styles:
        lightness = luma(style)
        own_deviation, own_mean = torch.std_mean(lightness)
        matched = (lightness - own_mean) * (deviation * _scarcely_stretching(own_deviation)) + mean
        greys.append(matched.clamp(0, 1)[..., None].expand_as(style).contiguous())
    return grey[..., None].expand_as(content).contiguous(), greys


def _on_deviations(
    covariance: Float[Tensor, "3 3"], function: Callable[[Float[Tensor, " 3"]], Float[Tensor, " 3"]]
) -> Float[Tensor, "3 3"]:
    """A covariance's symmetric root, in float64, with a function of the deviations along its axes in their place."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return vectors @ torch.diag(function(values.clamp(SMALLEST, LARGEST).sqrt())) @ vectors.t()


def _scarcely_stretching(deviation: Tensor) -> Tensor:
    """1/σ, what brings a deviation to 1; below that of noise σ/ε², which falls to 0 and meets it there."""
    return torch.minimum(1 / deviation.clamp_min(1e-12), deviation / NOISE**2)


def _check(colors: Tensor) -> None:
    if not colors.ndim or colors.shape[-1] != 3:
        raise ValueError(f"colours are [..., 3], got {list(colors.shape)}")

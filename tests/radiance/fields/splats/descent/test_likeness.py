"""The loss of 3D Gaussian Splatting against autograd through convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from arf.radiance.fields.jit import ready
from arf.radiance.fields.splats.descent.likeness import C1, C2, REACH, SHARE, WINDOW, squared, structural


def ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Wang et al. (2004), of [h, w, 3]."""
    window = torch.from_numpy(WINDOW).double()
    kernel = (window[:, None] * window)[None, None].expand(3, 1, -1, -1)

    def mean(picture: torch.Tensor) -> torch.Tensor:
        return conv2d(picture.permute(2, 0, 1)[None], kernel, padding=REACH, groups=3)

    a, b = mean(x), mean(y)
    xx, yy, xy = mean(x * x) - a * a, mean(y * y) - b * b, mean(x * y) - a * b
    return (
        (2 * a * b + float(C1)) * (2 * xy + float(C2)) / ((a * a + b * b + float(C1)) * (xx + yy + float(C2)))
    ).mean()


@pytest.mark.parametrize("size", [(37, 50), (64, 16), (5, 3), (1, 1)])
def test_the_gradient_is_that_of_autograd(size):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(*size, 3, generator=g, dtype=torch.float64, requires_grad=True)
    y = (x.detach() + 0.1 * torch.randn(*size, 3, generator=g)).clamp(0, 1)
    loss = (1 - SHARE) * (x - y).abs().mean() + SHARE * (1 - ssim(x, y))
    loss.backward()
    with ready():
        found = structural(x.detach().float().numpy(), y.float().numpy())
    assert np.abs(found - x.grad.numpy()).max() < 1e-4 * float(x.grad.abs().max())


def test_the_gradient_of_squares():
    x, y = np.float32([[[0.5, 0.25, 1.0]]]), np.float32([[[0.0, 0.25, 0.5]]])
    assert squared(x, y).tolist() == [[[pytest.approx(1 / 3), 0.0, pytest.approx(1 / 3)]]]


def test_nothing_moves_a_picture_that_is_its_target():
    x = np.random.default_rng(0).random((20, 30, 3), np.float32)
    with ready():
        assert np.abs(structural(x, x.copy())).max() < 1e-9
    assert not squared(x, x).any()

"""The loss of 3D Gaussian Splatting against autograd through convolutions, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arf.radiance.fields.jit import ready
from arf.radiance.fields.splats.descent.likeness import squared, structural
from arf.radiance.fields.splats.descent.similarity import loss, slope, ssim


@pytest.mark.parametrize("size", [(37, 50), (64, 16), (5, 3), (1, 1)])
def test_the_gradient_is_that_of_autograd(size):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(*size, 3, generator=g, dtype=torch.float64, requires_grad=True)
    y = (x.detach() + 0.1 * torch.randn(*size, 3, generator=g)).clamp(0, 1)
    loss(x, y).backward()
    pair = x.detach().float(), y.float()
    with ready():
        found = structural(*(part.numpy() for part in pair))
    for gradient in (torch.from_numpy(found), slope(*pair)):
        assert float((gradient - x.grad).abs().max()) < 1e-4 * float(x.grad.abs().max())


def test_ssim_of_one_pixel_has_a_closed_form():
    """All around it is zero, so that each mean is the value times the window's middle."""
    middle = 1 / sum(np.exp(-(k**2) / 4.5) for k in range(-5, 6)) ** 2
    x, y = 0.2, 0.7
    a, b, spread = middle * x, middle * y, middle - middle**2
    wanted = (2 * a * b + 1e-4) * (2 * spread * x * y + 9e-4)
    wanted /= (a * a + b * b + 1e-4) * (spread * (x * x + y * y) + 9e-4)
    one, other = (torch.full((1, 1, 3), value, dtype=torch.float64) for value in (x, y))
    assert float(ssim(one, other)) == pytest.approx(wanted, rel=1e-5)
    assert float(loss(one, other)) == pytest.approx(0.8 * 0.5 + 0.2 * (1 - wanted), rel=1e-5)
    assert float(loss(one, one)) == pytest.approx(0, abs=1e-7)


def test_the_gradient_of_squares():
    x, y = np.float32([[[0.5, 0.25, 1.0]]]), np.float32([[[0.0, 0.25, 0.5]]])
    assert squared(x, y).tolist() == [[[pytest.approx(1 / 3), 0.0, pytest.approx(1 / 3)]]]


def test_nothing_moves_a_picture_that_is_its_target():
    x = np.random.default_rng(0).random((20, 30, 3), np.float32)
    with ready():
        assert np.abs(structural(x, x.copy())).max() < 1e-9
    assert not squared(x, x).any()

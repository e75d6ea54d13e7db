"""Metrics against values worked out by hand."""

import pytest
import torch

from arf.radiance.evaluate.metrics import psnr, ssim


def test_psnr_of_a_constant_error():
    assert psnr(torch.full((4, 5, 3), 0.6), torch.full((4, 5, 3), 0.5)) == pytest.approx(20.0, abs=1e-4)


def test_equal_pictures():
    picture = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(0))
    assert psnr(picture, picture) == pytest.approx(120.0)
    assert ssim(picture, picture) == pytest.approx(1.0, abs=1e-5)


def test_ssim_falls_with_noise_and_ignores_the_order_of_arguments():
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(16, 16, 3, generator=generator)
    noisy = (picture + 0.3 * torch.randn(16, 16, 3, generator=generator)).clamp(0, 1)
    assert ssim(picture, noisy) < 0.9
    assert ssim(picture, noisy) == pytest.approx(ssim(noisy, picture), abs=1e-5)


def test_what_is_masked_out_counts_in_neither():
    generator = torch.Generator().manual_seed(0)
    picture, truth, wild = (torch.rand(40, 30, 3, generator=generator) for _ in range(3))
    mask = torch.ones(40, 30, dtype=torch.bool)
    mask[12:20, 7:] = False
    changed = [torch.where(mask[..., None], p, wild) for p in (picture, truth)]
    assert psnr(*changed, mask) == psnr(picture, truth, mask) == pytest.approx(psnr(picture[mask], truth[mask]))
    assert ssim(*changed, mask) == pytest.approx(ssim(picture, truth, mask), abs=1e-6)
    assert ssim(picture, truth, torch.ones_like(mask)) == pytest.approx(ssim(picture, truth), abs=0.02)
    assert ssim(picture, picture, mask) == pytest.approx(1.0, abs=1e-5)
    thin = torch.zeros_like(mask)
    thin[3] = True
    assert -1 <= ssim(picture, truth, thin) <= 1

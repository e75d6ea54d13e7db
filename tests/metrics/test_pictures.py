"""Metrics against values worked out by hand."""

import pytest
import torch

from arf.metrics import psnr, ssim


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


@pytest.mark.parametrize("size", [(16, 16), (61, 37), (120, 90)])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.3, 1.0])
def test_ssim_is_that_of_torchmetrics(size, noise):
    reference = pytest.importorskip("torchmetrics.functional.image").structural_similarity_index_measure
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*(torch.linspace(0, 1, side) for side in size), indexing="ij")
    truth = torch.stack([x, (9 * y).sin().abs(), (x * y > 0.3).float()], 2)
    picture = (truth + noise * torch.randn(*size, 3, generator=generator)).clamp(0, 1)
    wanted, where = reference(*(p.permute(2, 0, 1)[None] for p in (picture, truth)), data_range=1.0), None
    assert ssim(picture, truth) == pytest.approx(float(wanted), abs=1e-5)
    thin = torch.zeros(size, dtype=torch.bool)
    thin[3] = True  # a whole window lies nowhere in it
    _, where = reference(*(p.permute(2, 0, 1)[None] for p in (picture, truth)), data_range=1.0, return_full_image=True)
    assert ssim(picture, truth, thin) == pytest.approx(float(where[0].mean(0)[thin].mean()), abs=1e-5)


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

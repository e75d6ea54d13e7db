from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch.nn import functional

from arf.networks.video.smooth import Motion, Smoother, TemporalError, blend, motion


def texture(height: int = 96, width: int = 128, seed: int = 0) -> torch.Tensor:
    """Soft coloured spots, uint8 [H, W, 3]."""
    noise = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    planes = functional.interpolate(noise, (height, width), mode="bicubic", align_corners=False)
    return (planes[0].permute(1, 2, 0).clamp(0, 1) * 255).byte().contiguous()


def still(height: int, width: int, trust: float = 1.0) -> Motion:
    """Nothing moves."""
    valid = torch.ones(height, width, dtype=torch.bool)
    return Motion(torch.zeros(height, width, 2), valid, valid.float() * trust)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (0, -5), (4, 2)])
def test_a_known_shift_is_found_and_undone(dx, dy):
    """The camera pans: what lies at p in the later frame lay at p + (dx, dy) in the earlier one."""
    big = texture(128, 160)
    earlier = big[16:112, 16:144].contiguous()
    later = big[16 + dy : 112 + dy, 16 + dx : 144 + dx].contiguous()
    along = motion(earlier, later)
    inner = slice(12, -12)
    error = (along.flow - torch.tensor([dx, dy])).abs()[inner, inner]
    assert error.mean() < 0.1
    moved = along.move(earlier.float())
    assert (moved - later)[inner, inner].abs().mean() < 2
    assert (later.float() - earlier)[inner, inner].abs().mean() > 10 or (dx, dy) == (0, 0)
    assert along.valid[inner, inner].float().mean() > 0.98


def test_large_frames_have_their_flow_in_their_own_pixels():
    big = texture(160, 1100)
    along = motion(big[:, :1000].contiguous(), big[:, 8:1008].contiguous())
    assert along.flow.shape == (160, 1000, 2)
    assert along.flow[20:-20, 40:-40].mean((0, 1)).tolist() == pytest.approx([8, 0], abs=0.2)


def test_what_leaves_the_frame_is_not_valid():
    big = texture(96, 160)
    along = motion(big[:, :128].contiguous(), big[:, 6:134].contiguous())
    assert along.valid[:, -3:].float().mean() < 0.3
    assert along.valid[:, 10:100].float().mean() > 0.9


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (33, 7), (47, 63)])
def test_any_size_goes(size):
    frame = texture(64, 64)[: size[0], : size[1]].contiguous()
    along = motion(frame, frame)
    assert along.flow.shape == (*size, 2)
    assert along.valid.all()
    assert along.flow.abs().max() < 0.01


def test_frames_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\[96, 128, 3\] and \[96, 64, 3\]"):
        motion(texture(), texture(96, 64))


def test_uncovered_ground_has_no_ghost():
    """A dark square moves 10 pixels to the right over a texture; each is painted in its own colour."""
    ground = texture(seed=1).clone()
    frames, painted = [], []
    for x in (30, 40):
        frame, paint = ground.clone(), torch.zeros(96, 128, 3) + 0.9
        frame[30:66, x : x + 36] = texture(36, 36, seed=2) // 4
        paint[30:66, x : x + 36] = 0.1
        frames.append(frame)
        painted.append(paint)
    smoother = Smoother(0.8)
    smoother(frames[0], painted[0])
    result = smoother(frames[1], painted[1])
    uncovered, square, beyond = result[32:64, 30:39], result[34:62, 42:74], result[:20]
    assert (uncovered - 0.9).abs().mean() < 0.02  # where the square was
    assert (square - 0.1).abs().mean() < 0.02  # it took its paint along
    assert torch.allclose(beyond, torch.tensor(0.9), atol=1e-3)
    ghost = torch.lerp(painted[1], painted[0], 0.8)[32:64, 30:39]
    assert (ghost - 0.9).abs().mean() > 0.5


def test_a_cut_begins_anew():
    smoother = Smoother(0.8)
    smoother(texture(seed=1), torch.rand(96, 128, 3))
    after = torch.rand(96, 128, 3)
    assert torch.equal(smoother(texture(seed=2), after), after)
    assert smoother.figures == {}  # no two frames show the same


@pytest.mark.parametrize("strength", [0.5, 0.8])
def test_noise_falls_as_an_exponential_average_has_it(strength):
    """y_t = (1-s) x_t + s y_t-1 of white noise: RMS (y_t - y_t-1) is (1-s)/√(1+s) of RMS (x_t - x_t-1)."""
    generator = torch.Generator().manual_seed(0)
    smoother, frame = Smoother(strength), texture(48, 64)
    for _ in range(40):
        smoother(frame, 0.5 + 0.1 * torch.randn(48, 64, 3, generator=generator).clamp(-3, 3))
    figures = smoother.figures
    assert figures["input"] == 0
    assert figures["painted"] == pytest.approx(0.1 * sqrt(2), rel=0.02)
    # the first frames have not settled: the second differs by (1-s)√2 of the noise
    settled = figures["painted"] * (1 - strength) / sqrt(1 + strength)
    assert settled < figures["smoothed"] < settled * 1.05


def test_blending_weighs_by_strength_and_trust():
    before, now = torch.full((4, 4, 3), 1.0), torch.zeros(4, 4, 3)
    assert torch.allclose(blend(now, before, still(4, 4), 0.7), torch.tensor(0.7))
    assert torch.allclose(blend(now, before, still(4, 4, 0.5), 0.7), torch.tensor(0.35))


def test_the_temporal_error_is_the_rms_over_what_is_valid():
    along = still(2, 2)
    along.valid[0] = False
    error = TemporalError()
    assert error.value is None
    later = torch.zeros(2, 2, 3)
    later[0] = 9.0  # not valid
    later[1] = torch.tensor([0.1, 0.2, 0.3])
    error.add(torch.zeros(2, 2, 3), later, along)
    error.add(torch.zeros(2, 2, 3), torch.zeros(2, 2, 3), still(2, 2))
    assert error.value == pytest.approx(sqrt(2 * (0.01 + 0.04 + 0.09) / (3 * (2 + 4))))


def test_without_strength_it_only_measures():
    smoother = Smoother()
    painted = torch.rand(96, 128, 3)
    assert smoother(texture(), painted) is painted
    assert smoother(texture(), 1 - painted).equal(1 - painted)
    assert set(smoother.figures) == {"input", "painted"}

"""Colours from pictures of views."""

from __future__ import annotations

from dataclasses import replace
from math import log10

import pytest
import torch

from arf.radiance.paint.lifting.lifted import lifted, nearness
from arf.radiance.paint.lifting.pictures import ViewPicture
from arf.radiance.paint.subject import Subject
from arf.radiance.settings import LiftSettings

CPU = torch.device("cpu")
LIFT = LiftSettings(size=64, device="cpu", drop_weight=0.0, passes=60)


def colors(subject: Subject) -> torch.Tensor:
    """Some that no recolouring makes."""
    return torch.rand(subject.photoreal.shape, generator=torch.Generator().manual_seed(0))


def seen(subject: Subject, theta: torch.Tensor, i: int) -> torch.Tensor:
    return subject.operators[i].apply(theta, subject.field.background)


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return -10 * log10(float((one - other).square().mean()))


def test_a_scene_comes_back_from_pictures_of_it(subject):
    wanted = [seen(subject, colors(subject), i) for i in range(len(subject))]
    pictures = {i: ViewPicture.of(picture) for i, picture in enumerate(wanted)}
    look = lifted(subject, pictures, LIFT)
    assert nearness(subject, pictures, look) > 33
    shown = seen(subject, look.theta, 3)
    assert psnr(shown, wanted[3]) > 33
    assert psnr(seen(subject, subject.photoreal, 3), wanted[3]) < 15  # it was far away


def test_one_painted_view_comes_back_as_painted(subject):
    wanted = seen(subject, colors(subject), 4).clamp(0, 1)
    look = lifted(subject, {4: ViewPicture.of(wanted)}, LIFT)
    shown = subject.operators[4].apply(look.theta, look.background).clamp(0, 1)
    assert psnr(shown, wanted) > 30


@pytest.mark.parametrize("elsewhere", ["photograph", "recolor"])
def test_what_no_picture_shows_is_as_it_was_asked_for(subject, elsewhere):
    """Columns that a view does not see have no weight in it."""
    paler = 0.3 + 0.5 * seen(subject, subject.photoreal, 4).clamp(0, 1)
    look = lifted(subject, {4: ViewPicture.of(paler)}, replace(LIFT, elsewhere=elsewhere))
    weight = subject.operators[4].transpose(torch.ones(*subject.views.size(4), 1))[:, 0]
    unseen = weight == 0
    assert unseen.any()
    before = subject.photoreal if elsewhere == "photograph" else 0.3 + 0.5 * subject.photoreal
    difference = (look.theta - before)[unseen].abs()
    assert difference.max() < (1e-5 if elsewhere == "photograph" else 0.15)  # by no map; by two that are found
    assert difference.mean() < 0.02


def test_transparent_and_masked_pixels_say_nothing(subject):
    height, width = subject.views.size(4)
    wanted, alpha = torch.zeros(height, width, 3), torch.zeros(height, width)
    wanted[:, : width // 2] = seen(subject, subject.photoreal, 4)[:, : width // 2].clamp(0, 1)
    alpha[:, : width // 2] = 1
    settings = replace(LIFT, elsewhere="photograph")
    look = lifted(subject, {4: ViewPicture.of(wanted, alpha)}, settings)
    shown, own = (subject.operators[4].apply(theta, look.background) for theta in (look.theta, subject.photoreal))
    assert float((shown - own).abs().mean()) < 2 / 255


def test_preserve_color_keeps_the_chroma(subject):
    wanted = seen(subject, colors(subject), 4).clamp(0, 1)
    look = lifted(subject, {4: ViewPicture.of(wanted)}, replace(LIFT, preserve_color=True))
    change = look.theta - subject.field.colors
    assert torch.allclose(change, change[:, :1].expand(-1, 3), atol=1e-5)  # the same of red, green, blue
    assert change.abs().max() > 0.1

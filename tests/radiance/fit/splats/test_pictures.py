"""Photographs in several sizes."""

from __future__ import annotations

import torch

from arf.radiance.capture.cameras import Camera, Cameras
from arf.radiance.capture.photographs import Photograph
from arf.radiance.fit.splats.pictures import Pictures

WHITE = torch.ones(3)


class Shown:
    """One view that shows this."""

    background = (1.0, 1.0, 1.0)

    def __init__(self, photograph: Photograph) -> None:
        height, width = photograph.image.shape[:2]
        self.shown = photograph
        self.cameras = Cameras.of(torch.eye(4)[None, :3], 20.0, 20.0, width / 2, height / 2, width, height)

    def photograph(self, i: int) -> Photograph:
        return self.shown


def of(photograph: Photograph, *shares: float) -> Pictures:
    return Pictures(Shown(photograph), shares)


def test_each_pixel_is_the_mean_of_its_area():
    image = torch.rand(6, 8, 3, generator=torch.Generator().manual_seed(0))
    pictures = of(Photograph(image), 0.5, 1.0)
    assert len(pictures) == 1
    small, whole = pictures.at(0, 0), pictures.at(1, 0)
    assert (whole.over(WHITE, WHITE) - image).abs().max() <= 0.5 / 255 + 1e-6
    means = image.view(3, 2, 4, 2, 3).mean((1, 3))
    assert (small.over(WHITE, WHITE) - means).abs().max() <= 1 / 255 + 1e-6
    assert isinstance(small.camera, Camera)
    assert (small.camera.width, small.camera.height, small.camera.fx, small.camera.cx) == (4, 3, 10.0, 2.0)
    assert small.mask is small.alpha is None


def test_a_pixel_counts_where_all_of_it_does():
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[0, 0] = mask[3, 2] = False
    small = of(Photograph(torch.zeros(4, 4, 3), mask), 0.5).at(0, 0)
    assert small.mask.tolist() == [[False, True], [True, False]]


def test_another_background_shows_through_as_much_as_the_usual_one_did():
    alpha = torch.tensor([[0.0, 0.2], [0.6, 1.0]])
    own, red = torch.tensor([0.2, 0.4, 0.6]), torch.tensor([1.0, 0, 0])
    image = alpha[..., None] * own + (1 - alpha[..., None]) * WHITE
    picture = of(Photograph(image, None, alpha), 1.0).at(0, 0)
    wanted = alpha[..., None] * own + (1 - alpha[..., None]) * red
    assert (picture.over(red, WHITE) - wanted).abs().max() < 1 / 255 + 1e-6


def test_nothing_becomes_smaller_than_a_pixel():
    assert of(Photograph(torch.zeros(1, 2, 3)), 0.25).at(0, 0).colors.shape == (1, 1, 3)

"""Pictures of a painted field: the same with a trace and without."""

from __future__ import annotations

import pytest
import torch
from voxels import around, ball_model

from arf.radiance.looks.look import Look
from arf.radiance.looks.painted import painting, picture, shade
from arf.style.color import Affine


@pytest.mark.parametrize(("strength", "preserve_color"), [(1.0, False), (0.3, False), (0.7, True)])
@pytest.mark.parametrize("count", [1, 2])
def test_a_voxel_picture_is_that_of_its_trace(strength, preserve_color, count):
    model, camera = ball_model(), around(3)[1]
    generator = torch.Generator().manual_seed(0)
    looks = [
        Look(torch.rand(model.count, 3, generator=generator), torch.rand(3, generator=generator), Affine.identity())
        for _ in range(count)
    ]
    look = Look.beside(looks)
    wanted = shade(model.trace(camera), look, strength, preserve_color).clamp(0, 1).view(14, 20, -1)
    found = picture(model, look, camera, strength, preserve_color)
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-4)
    assert torch.equal(painting(model, look, camera, strength, preserve_color), found[..., -3:])
    assert found.flatten(0, 1).std(0).min() > 0.03  # something is to be seen


def test_without_a_look_it_is_the_fields_own():
    model, camera = ball_model(background="last"), around(3)[1]
    for found in (picture(model, None, camera), painting(model, None, camera)):
        torch.testing.assert_close(found.flatten(0, 1), model.shoot(camera).color)

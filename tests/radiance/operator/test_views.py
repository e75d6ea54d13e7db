"""All views' operators together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from voxels import ball_model, views_around

from arf.errors import UserError
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.matrix import build
from arf.radiance.operator.views import OperatorSet

CPU = torch.device("cpu")
VIEWS = views_around(4)
BACKGROUND = torch.tensor([0.3, 0.1, 0.7])


@pytest.fixture(scope="module")
def model():
    return ball_model()


def operators_of(model, folder: Path, budget: int = 1 << 30) -> OperatorSet:
    return OperatorSet(model, VIEWS, ViewCache(budget, folder, CPU), 0.002)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_view_renders_as_its_own_operator(model, tmp_path):
    operators = operators_of(model, tmp_path)
    assert operators.count == model.count
    assert operators.entries == 0  # none is traced before it is asked for
    whole = [build(model.trace(camera, 0.002), *camera.size, model.count, 0.002) for camera in VIEWS.cameras]
    theta = random(model.count, 3)
    for i, single in enumerate(whole):
        assert single.values.dtype == torch.uint16
        found = operators[i].apply(theta, BACKGROUND)
        torch.testing.assert_close(found, single.apply(theta, BACKGROUND), rtol=0, atol=1e-6)
    assert operators.entries == sum(len(o.values) for o in whole)
    assert operators.nbytes == sum(operators[i].nbytes for i in range(4))
    assert operators.pixels == 4 * 14 * 20
    assert len(operators) == 4


def test_a_resolution_for_a_field_that_has_its_own_is_refused(model, tmp_path):
    with pytest.raises(UserError, match="--color-resolution is for nerfacto"):
        OperatorSet(model, VIEWS, ViewCache(1 << 30, tmp_path, CPU), resolution=64)


def test_operators_from_disk_are_the_ones_in_memory(model, tmp_path):
    inside, outside = operators_of(model, tmp_path / "a"), operators_of(model, tmp_path / "b", budget=0)
    for i in range(4):
        assert torch.equal(inside[i].values, outside[i].values)
    assert (inside.cache.on_disk, outside.cache.in_memory) == (0, 0)
    assert outside.cache.on_disk == inside.cache.in_memory == inside.nbytes
    theta = random(inside.count, 3)
    for i in range(4):
        for name, tensor in inside[i].tensors().items():
            assert torch.equal(outside[i].tensors()[name], tensor)
        assert torch.equal(outside[i].transpose(outside[i].apply(theta, BACKGROUND)),
                           inside[i].transpose(inside[i].apply(theta, BACKGROUND)))  # fmt: skip

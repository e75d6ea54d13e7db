"""Steps towards pictures, and more splats on the way."""

from __future__ import annotations

import pytest
import torch
from gaussians import camera, random_splats, sphere

from arf.radiance.fields.splats.descent.by_numba import Numba
from arf.radiance.fields.splats.descent.growth import FADED, divided, grow
from arf.radiance.fields.splats.descent.likeness import squared, structural
from arf.radiance.fields.splats.descent.tuning import Tuning
from arf.radiance.fields.splats.field import SplatField

GREY = torch.full((3,), 0.5)
CPU = torch.device("cpu")
VIEWS = [camera(48, 40, angle=float(angle)) for angle in torch.linspace(0, 6, 6)]


def pictures() -> list[torch.Tensor]:
    field = SplatField(sphere(300), GREY, CPU)
    return [field.render(view, field.colors, GREY) for view in VIEWS]


def moved(steps: int, targets: list[torch.Tensor], unlike=structural, mask=None) -> tuple[Tuning, list[float]]:
    tuning = Tuning.of(random_splats(200, size=0.1), Numba(unlike), steps)
    errors = []
    for k in range(steps):
        errors.append(tuning.advance(VIEWS[k % 6], targets[k % 6], GREY, mask))
        if k == steps // 3:
            grow(tuning, 250, torch.Generator().manual_seed(k))
    return tuning, errors


@pytest.mark.parametrize("unlike", [squared, structural])
def test_pictures_come_nearer(unlike):
    _, errors = moved(60, pictures(), unlike)
    assert sum(errors[-6:]) < sum(errors[:6]) / 4


def test_the_bits_do_not_depend_on_the_number_of_threads():
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(moved(12, pictures())[0].raw)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_what_is_masked_moves_nothing():
    nowhere = torch.zeros(40, 48, dtype=torch.bool)
    tuning = Tuning.of(random_splats(200), Numba(structural), 5)
    before = tuning.splats()
    assert tuning.advance(VIEWS[0], pictures()[0], GREY, nowhere) == 0
    after = tuning.splats()
    assert all(torch.equal(value, after.tensors()[name]) for name, value in before.tensors().items())


def test_a_mask_keeps_its_target_out():
    targets, mask = pictures(), torch.zeros(40, 48, dtype=torch.bool)
    mask[:, :24] = True
    spoilt = [torch.where(mask[..., None], target, torch.rand(3)) for target in targets]
    one, other = moved(8, targets, mask=mask)[0].raw, moved(8, spoilt, mask=mask)[0].raw
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_none_gets_larger_than_is_asked_for():
    sizes = {}
    for largest in (1.2, 100.0):
        tuning = Tuning.of(sphere(300), Numba(structural), 30, largest=largest)
        for k in range(30):
            tuning.advance(VIEWS[k % 6], torch.full((40, 48, 3), 0.5), torch.zeros(3))
        sizes[largest] = (tuning.splats().scales / tuning.units[:, None]).max()
    assert sizes[1.2] == pytest.approx(1.2)
    assert sizes[100.0] > 1.5


def test_a_step_is_in_units_of_each_splat():
    """All twice as far and twice as large: the same picture, and twice the step."""
    splats = random_splats(100)
    twice = splats.moved(torch.eye(3), torch.zeros(3), 2.0)
    view = camera(48, 40)
    far = camera(48, 40, distance=5.0)
    target = torch.rand(40, 48, 3, generator=torch.Generator().manual_seed(0))
    near, wide = Tuning.of(splats, Numba(squared), 5), Tuning.of(twice, Numba(squared), 5)
    errors = [float(t.advance(v, target, GREY)) for t, v in ((near, view), (wide, far))]
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)
    moves = [(t.splats().means - s.means) for t, s in ((near, splats), (wide, twice))]
    moving = moves[0].abs().amax(1) > 0
    assert moving.sum() > 50
    assert (2 * moves[0] - moves[1])[moving].abs().median() < 1e-3 * moves[1][moving].abs().median()


@pytest.mark.parametrize("many", [1, 2, 3, 8])
def test_several_in_one_place_weigh_as_one_did(many):
    """Along a ray through the middle: their opacities together, and the integral of the weight over space."""
    opacity = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    share, factor = divided(opacity, torch.full((3,), many))
    assert torch.allclose(1 - (1 - share) ** many, opacity)
    x = torch.linspace(-8, 8, 20001, dtype=torch.float64)[:, None]
    one = (opacity * torch.exp(-(x**2) / 2)).sum(0)
    each = share * torch.exp(-((x / factor) ** 2) / 2)
    assert torch.allclose((1 - (1 - each) ** many).sum(0), one, rtol=1e-6)


def test_the_faded_take_the_places_of_others():
    tuning = Tuning.of(random_splats(200), Numba(squared), 10)
    tuning.raw["opacities"].data[:50] = torch.tensor(0.5 * FADED).logit()
    tuning.raw["means"].data[:50] += 1000
    tuning.advance(VIEWS[0], pictures()[0], GREY)
    grow(tuning, 210, torch.Generator().manual_seed(0))
    assert len(tuning) == 210
    splats = tuning.splats()
    assert splats.means.abs().max() < 100
    assert (splats.opacities > FADED / 10).all()
    assert all(len(value) == 210 for value in (*tuning.raw.values(), tuning.units))
    moments = [tuning.optimizer.state[value] for value in tuning.raw.values()]
    assert all(not state["exp_avg"][:50].any() and not state["exp_avg"][200:].any() for state in moments)
    assert any(state["exp_avg"][50:200].any() for state in moments)
    assert tuning.advance(VIEWS[1], pictures()[1], GREY) < 1


def test_no_more_than_are_asked_for():
    tuning = Tuning.of(random_splats(200), Numba(squared), 10)
    for _ in range(5):
        grow(tuning, 203, torch.Generator().manual_seed(0))
    assert len(tuning) == 203


def test_nothing_grows_where_all_has_faded():
    tuning = Tuning.of(random_splats(20), Numba(squared), 10)
    tuning.raw["opacities"].data[:] = -20
    grow(tuning, 100, torch.Generator())
    assert len(tuning) == 20

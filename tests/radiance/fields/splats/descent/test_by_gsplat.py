"""Slopes through what gsplat offers against our own; gsplat's conventions against its own code and on a GPU."""

from __future__ import annotations

import inspect

import pytest
import standin
import torch
from gaussians import camera, random_splats
from torch._subclasses.fake_tensor import FakeTensorMode

from arf.radiance.fields.splats.descent import by_gsplat
from arf.radiance.fields.splats.descent.by_gsplat import Gsplat, matrices_of
from arf.radiance.fields.splats.descent.by_numba import Numba
from arf.radiance.fields.splats.descent.engines import engine_on
from arf.radiance.fields.splats.descent.growth import grow
from arf.radiance.fields.splats.descent.likeness import structural
from arf.radiance.fields.splats.descent.tuning import Tuning
from arf.radiance.fields.splats.kernels.projection import HALF_LOG2E, lens_of, project

CPU, META = torch.device("cpu"), torch.device("meta")
GREY = torch.tensor([0.2, 0.5, 0.7])
VIEW = camera(48, 40)
LEFT = (torch.arange(48) < 20).expand(40, 48)
TARGET = torch.rand(40, 48, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mask", [None, LEFT])
@pytest.mark.parametrize("antialiased", [False, True])
def test_a_step_is_that_of_our_kernels(antialiased, mask):
    engines = Numba(structural, antialiased), Gsplat(standin.rasterization, CPU, antialiased)
    splats = random_splats(300, size=0.08)
    (found, error), (wanted, right) = (engine.slopes(splats, VIEW, TARGET, GREY, mask) for engine in engines)
    assert float(error) == pytest.approx(float(right), rel=1e-4)
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() < 1e-4 * gradient.norm(), name
    one, other = (Tuning.of(splats, engine, 10) for engine in engines)
    for tuning in (one, other):
        tuning.advance(VIEW, TARGET, GREY, mask)
    for name, value in one.splats().tensors().items():
        moved = (value - splats.tensors()[name]).norm()  # Adam's first step is a sign, and that of almost 0 is chance
        assert (other.splats().tensors()[name] - value).norm() <= 0.02 * moved, name


def test_gsplat_has_the_arguments_that_are_used():
    gsplat = pytest.importorskip("gsplat")
    theirs = inspect.signature(gsplat.rasterization).parameters
    for name, ours in inspect.signature(standin.rasterization).parameters.items():
        assert (theirs[name].kind, theirs[name].default) == (ours.kind, ours.default), name


@pytest.mark.parametrize("antialiased", [False, True])
def test_ellipses_are_those_of_gsplats_own_torch_code(antialiased):
    theirs = pytest.importorskip("gsplat.cuda._torch_impl")
    splats = random_splats(300, size=0.08)
    view, lens = (torch.from_numpy(array)[None] for array in matrices_of(VIEW))
    covariances, _ = theirs._quat_scale_to_covar_preci(splats.quats, splats.scales, True, False)
    radii, centres, depths, conics, shares = theirs._fully_fused_projection(
        splats.means, covariances, view, lens, VIEW.width, VIEW.height, calc_compensations=True
    )
    ours = project(splats, VIEW, antialiased)
    both = (torch.from_numpy(ours.tiles[:, 1] > ours.tiles[:, 0])) & (radii[0].view(300, -1).amin(1) > 0)
    assert both.sum() > 150
    x, y, l0, l1, l2, peak = torch.from_numpy(ours.ellipses)[both].unbind(1)
    inverse = torch.stack([l0 * l0, l0 * l1, l1 * l1 + l2 * l2], 1) / HALF_LOG2E
    torch.testing.assert_close(torch.stack([x, y], 1), centres[0, both], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(torch.from_numpy(ours.depths)[both], depths[0, both], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(inverse, conics[0, both], atol=1e-4, rtol=1e-3)
    opacities = splats.opacities * (shares[0] if antialiased else 1)
    torch.testing.assert_close(peak.exp2(), opacities[both], atol=1e-3, rtol=1e-3)


def elsewhere(**arguments: object) -> tuple[torch.Tensor, torch.Tensor, dict]:
    """A picture of no sense, made of all tensors at once."""
    tensors = [value for value in arguments.values() if isinstance(value, torch.Tensor)]
    assert {tensor.device for tensor in tensors} == {META}
    total = sum(tensor.sum() for tensor in tensors)
    picture = total.expand(1, arguments["height"], arguments["width"], 3) * 1
    return picture, picture[..., :1], {}


@pytest.mark.parametrize("masked", [False, True])
def test_slopes_stay_on_their_device_and_the_host_waits_for_none(monkeypatch, masked):
    """Tensors without values, on no device of this machine: one that is on another, or is looked at, raises."""
    lens = lens_of(VIEW)
    monkeypatch.setattr(by_gsplat, "lens_of", lambda _: lens)
    with FakeTensorMode():
        splats = random_splats(50).to(META)
        target, background = torch.zeros(40, 48, 3, device=META), torch.zeros(3, device=META)
        mask = torch.ones(40, 48, dtype=torch.bool, device=META) if masked else None
        engine = Gsplat(elsewhere, META, True)
        found, error = engine.slopes(splats, VIEW, target, background, mask)
        assert {tensor.device for tensor in (*found.values(), error)} == {META}
        with pytest.raises(RuntimeError, match="device"):
            engine.slopes(splats, VIEW, target.cpu(), background, mask)


class Still:
    """An engine by which nothing moves."""

    device = torch.device("cuda", 0)

    def slopes(self, splats, camera, target, background, mask=None):
        assert {t.device for t in (*splats.tensors().values(), target, background)} == {self.device}
        return {name: torch.zeros_like(getattr(splats, name)) for name in Tuning.SHAPES}, target.sum()


def test_a_step_stays_on_its_device_and_the_host_waits_for_none():
    with FakeTensorMode():
        tuning = Tuning.of(random_splats(50), Still(), 10, largest=2.0)
        target, background = torch.zeros(40, 48, 3).to(Still.device), torch.zeros(3).to(Still.device)
        for _ in range(2):
            error = tuning.advance(VIEW, target, background)
        rows = torch.arange(3).to(Still.device)
        fresh = {name: value.detach()[:5] for name, value in tuning.raw.items()}
        tuning.place(fresh, tuning.units[:5], rows, rows + 3)
        tuning.advance(VIEW, target, background)
        moments = [value for state in tuning.optimizer.state.values() for value in state.values()]
        assert len(moments) == 15
        kept = (*tuning.raw.values(), tuning.units, error, *moments)
        assert {tensor.device for tensor in kept} == {Still.device}
        assert len(tuning) == 52


@pytest.mark.cuda
@pytest.mark.parametrize("antialiased", [False, True])
def test_real_pictures_and_slopes_are_near_ours(antialiased):
    """By gsplat's rules summed densely they are 0.003 apart at most: a pixel leaves out the splat that closes it."""
    device = torch.device("cuda", 0)
    engine = engine_on(device, antialiased)
    if not isinstance(engine, Gsplat):
        pytest.skip("no usable gsplat")
    splats = random_splats(2000, size=0.04)
    view = camera(160, 120)
    target = torch.rand(120, 160, 3, generator=torch.Generator().manual_seed(0))
    picture = engine.render(splats.to(device), view, GREY.to(device)).cpu()
    wanted = standin.rendered(splats, view, GREY, antialiased)
    assert (picture - wanted).abs().mean() < 5e-4
    assert (picture - wanted).abs().max() < 0.02
    found, error = engine.slopes(splats.to(device), view, target.to(device), GREY.to(device))
    slopes, right = Numba(structural, antialiased).slopes(splats, view, target, GREY)
    assert float(error) == pytest.approx(float(right), rel=1e-3)
    for name, gradient in slopes.items():
        near = torch.nn.functional.cosine_similarity(found[name].cpu().flatten(), gradient.flatten(), dim=0)
        assert near > 0.97, (name, float(near))


@pytest.mark.cuda
def test_steps_and_growth_on_a_gpu():
    device = torch.device("cuda", 0)
    engine = engine_on(device, True)
    if not isinstance(engine, Gsplat):
        pytest.skip("no usable gsplat")
    tuning, generator = Tuning.of(random_splats(200, size=0.1), engine, 30), torch.Generator().manual_seed(0)
    errors = []
    for _ in range(30):
        errors.append(float(tuning.advance(VIEW, TARGET.to(device), GREY.to(device), LEFT.to(device))))
        grow(tuning, 260, generator)
    assert errors[-1] < errors[0]
    assert len(tuning) == 260
    assert all(value.is_cuda and bool(value.isfinite().all()) for value in tuning.raw.values())

"""The whole chain on a GPU against the CPU's, and a step for which the host never waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from arf.radiance.fields.trace import Trace, trace
from encoders import tiny_encoder
from nerfactos import small_nerfacto
from tiny import FIT, STYLIZE
from voxels import around, ball_model

from arf.media import image
from arf.radiance.capture.views import Views
from arf.radiance.film.render import render
from arf.radiance.fit.loop import fit
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.deferred import DeferredSet
from arf.radiance.operator.matrix import build, compact
from arf.radiance.operator.views import OperatorSet
from arf.radiance.paint.stylize import Painter, stylize
from arf.radiance.settings import RenderSettings

pytestmark = pytest.mark.cuda
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
VIEWS = Views(around(3), [Path()] * 3)
BACKGROUND = torch.tensor([0.3, 0.1, 0.7])
MODELS = {
    "voxel": lambda: ball_model(),
    "unbounded voxel": lambda: ball_model(24, kind="unbounded"),
    "voxel, last sample": lambda: ball_model(background="last"),
    "nerfacto": lambda: small_nerfacto(),
    "nerfacto in a box": lambda: small_nerfacto(disable_scene_contraction=True, background_color="white"),
}
PLACES = {"on the GPU": (1 << 30, 0), "pinned": (0, 1 << 30), "on disk": (0, 0)}  # budgets of GPU and host


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def moved(traced: Trace, device: torch.device) -> Trace:
    return Trace(**{name: getattr(traced, name).to(device) for name in Trace.__dataclass_fields__})


@pytest.mark.parametrize("backbone", ["voxel", "nerfacto"])
def test_fit(room, tmp_path, monkeypatch, backbone):
    monkeypatch.setattr("arf.radiance.fields.backbones.has_tcnn", lambda: False)
    tiny = {"steps": 20, "hash_size": 8, "rays": 48, "background": "auto", "learning_rate": 0.01}
    settings = replace(FIT, device="cuda", backbone=backbone, save_every=10, **(tiny if backbone == "nerfacto" else {}))
    run = fit(room, settings, tmp_path)
    curve = [row["rgb"] for row in run.curves()]
    assert curve[-1] < curve[0]
    pictures = []
    for device in (GPU, CPU):  # and what it learnt there is the same here
        model, capture = open_photoreal(run, device)
        traced = trace(model, *capture.train.rays(0))
        pictures.append(traced.composite(traced.rgb, model.background).cpu())
    assert ((pictures[0] - pictures[1]).abs() < 5e-3).float().mean() > 0.98


@pytest.mark.parametrize("name", MODELS)
def test_a_trace_is_the_cpus(name):
    found, wanted = (trace(MODELS[name]().to(device), *VIEWS.rays(0), 0.002) for device in (GPU, CPU))
    assert found.weight.device.type == "cuda"
    assert len(found.weight) == pytest.approx(len(wanted.weight), rel=0.01)
    pictures = [t.composite(t.rgb, BACKGROUND.to(t.rgb)).cpu() for t in (found, wanted)]
    near = (pictures[0] - pictures[1]).abs().amax(1) < 1e-3  # a sample on the border of a cell may fall to either side
    assert near.float().mean() > 0.98
    assert (found.leftover.cpu() - wanted.leftover).abs().median() < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_an_operator_is_the_cpus(name):
    model = MODELS[name]()
    traced = trace(model, *VIEWS.rays(0), 0.002)
    here = build(traced, *VIEWS.size(0), model.color_shape)
    there = build(moved(traced, GPU), *VIEWS.size(0), model.color_shape)
    assert all(t.is_cuda for t in there.tensors().values())
    for key, tensor in here.tensors().items():
        torch.testing.assert_close(there.tensors()[key].cpu(), tensor, rtol=0, atol=1e-6)
    keys = here.columns.unique()
    here, there = compact(here, keys), compact(there, keys.to(GPU))
    theta, picture = random(len(keys), 3), random(*VIEWS.size(0), 3)
    device_theta = theta.to(GPU).requires_grad_()
    rendered = there.apply(device_theta, BACKGROUND.to(GPU))
    torch.testing.assert_close(rendered.detach().cpu(), here.apply(theta, BACKGROUND), rtol=0, atol=1e-5)
    torch.testing.assert_close(there.transpose(picture.to(GPU)).cpu(), here.transpose(picture), rtol=0, atol=1e-4)
    (gradient,) = torch.autograd.grad((rendered * picture.to(GPU)).sum(), device_theta)
    torch.testing.assert_close(gradient.cpu(), here.transpose(picture), rtol=0, atol=1e-4)


@pytest.mark.parametrize("place", PLACES)
def test_what_a_cache_gives_back_is_what_it_took(tmp_path, place):
    cache = ViewCache(PLACES[place][0], tmp_path / "cache", GPU, PLACES[place][1])
    groups = {f"view-{i}": {"a": random(50, 3, seed=i), "b": torch.arange(9 + i, dtype=torch.int32)} for i in range(4)}
    for name, group in groups.items():
        cache.put(name, group)
    held = {"on the GPU": cache.in_memory, "pinned": cache.on_host, "on disk": cache.on_disk}
    assert [key for key, size in held.items() if size] == [place]
    cache.prefetch("view-0")
    cache.prefetch("view-0")
    cache.prefetch("view-2")
    groups["view-2"]["a"] = torch.ones(2)
    cache.put("view-2", groups["view-2"])  # what is on its way is no longer true
    for name, group in (*groups.items(), *groups.items()):
        found = cache.get(name)
        assert found.keys() == group.keys()
        for key, tensor in group.items():
            assert found[key].is_cuda
            assert torch.equal(found[key].cpu(), tensor)
    cache.close()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", MODELS)
def test_deferred_back_propagation_is_the_operators(name, tmp_path):
    model = MODELS[name]().to(GPU)
    model.config.eval_num_rays_per_chunk = 100
    operators = OperatorSet(model, VIEWS, ViewCache(1 << 30, tmp_path, GPU), 0.002, lambda *_: None)
    deferred = DeferredSet(model, VIEWS, 0.002)
    assert torch.equal(deferred.keys, operators.keys)
    theta, background = random(len(deferred.keys), 3).to(GPU).requires_grad_(), BACKGROUND.to(GPU)
    pictures = [views[1].apply(theta, background) for views in (deferred, operators)]
    torch.testing.assert_close(*pictures, rtol=0, atol=1e-4)
    found, wanted = (torch.autograd.grad(p.diff(dim=0).square().mean(), theta)[0] for p in pictures)
    assert (found - wanted).norm() <= 1e-4 * wanted.norm()


def painter_of(fitted, paintings, folder: Path, place: str, **options) -> Painter:
    settings = replace(STYLIZE, device="cuda", steps=1000, **options)
    model, capture = open_photoreal(fitted, GPU)
    painter = Painter(model, capture, [image.read_style(paintings[0])], tiny_encoder().to(GPU), settings)
    painter.cache = ViewCache(PLACES[place][0], folder / "cache", GPU, PLACES[place][1])
    painter.prepare(lambda *_: None)
    return painter


@pytest.mark.parametrize("loss", ["nnfm", "gram", "knn"])
@pytest.mark.parametrize("place", ["on the GPU", "pinned"])
def test_the_host_waits_for_nothing_in_a_step(fitted, paintings, tmp_path, place, loss):
    painter = painter_of(fitted, paintings, tmp_path, place, loss=loss)
    for _ in range(3):
        painter.advance()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            painter.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert painter.theta.isfinite().all()
    painter.cache.close()


@pytest.mark.parametrize("options", [{}, {"cache_memory": 1e-9}, {"no_cache": True}])
def test_stylize_and_render(fitted, paintings, tmp_path, options):
    run = stylize(fitted, paintings[:1], replace(STYLIZE, device="cuda", **options), tmp_path)
    curve = [row["nnfm"] for row in run.curves()]
    assert curve[-1] < curve[0]
    for device in (GPU, CPU):
        model, _ = open_painted(run, device)
        assert model.colors.theta.device.type == device.type
        assert model.colors.theta.isfinite().all()
    settings = RenderSettings(path="orbit", frames=2, width=32, height=24, compare=True)
    films = {}
    for name in ("cuda", "cpu"):
        render(run, replace(settings, device=name), tmp_path / name)
        films[name] = torch.stack([image.read(tmp_path / name / f"{k:05d}.png") for k in range(2)])
    assert films["cuda"].shape == (2, 24, 64, 3)
    assert ((films["cuda"] - films["cpu"]).abs() < 0.02).float().mean() > 0.97

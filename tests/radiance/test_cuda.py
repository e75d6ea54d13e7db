"""The whole chain on a GPU against the CPU's, and a step for which the host never waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from encoders import tiny_encoder
from tiny import FIT, STYLIZE
from voxels import ball_model, views_around

from arf.media import image
from arf.radiance.fields.field import Trace
from arf.radiance.film.render import render
from arf.radiance.fit.loop import fit
from arf.radiance.looks.painted import picture
from arf.radiance.opening import open_painted, open_photoreal
from arf.radiance.operator.cache import ViewCache
from arf.radiance.operator.matrix import build
from arf.radiance.operator.views import OperatorSet
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.stylize import stylize
from arf.radiance.paint.subject import Subject
from arf.radiance.settings import RenderSettings

pytestmark = pytest.mark.cuda
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
VIEWS = views_around(3)
CAMERA = VIEWS.cameras[0]
BACKGROUND = torch.tensor([0.3, 0.1, 0.7])
MODELS = {
    "voxel": lambda: ball_model(),
    "unbounded voxel": lambda: ball_model(24, kind="unbounded"),
    "voxel, last sample": lambda: ball_model(background="last"),
}
PLACES = {"on the GPU": (1 << 30, 0), "pinned": (0, 1 << 30), "on disk": (0, 0)}  # budgets of GPU and host


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def moved(traced: Trace, device: torch.device) -> Trace:
    parts = {name: part.to(device) if isinstance(part, torch.Tensor) else part for name, part in vars(traced).items()}
    return Trace(**parts)


def test_fit(room, tmp_path):
    run = fit(room, replace(FIT, device="cuda", save_every=10), tmp_path)
    curve = [row["rgb"] for row in run.curves()]
    assert curve[-1] < curve[0]
    pictures = []
    for device in (GPU, CPU):  # and what it learnt there is the same here
        field, capture = open_photoreal(run, device)
        pictures.append(picture(field, None, capture.train.cameras[0]))
    assert ((pictures[0] - pictures[1]).abs() < 5e-3).float().mean() > 0.98


@pytest.mark.parametrize("name", MODELS)
def test_a_trace_is_the_cpus(name):
    found, wanted = (MODELS[name]().to(device).trace(CAMERA, 0.002) for device in (GPU, CPU))
    assert found.weights.device.type == "cuda"
    assert len(found.weights) == pytest.approx(len(wanted.weights), rel=0.01)
    near = (found.color.cpu() - wanted.color).abs().amax(1) < 1e-3  # a sample may fall to either side of a face
    assert near.float().mean() > 0.98
    assert (found.leftover.cpu() - wanted.leftover).abs().median() < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_an_operator_is_the_cpus(name):
    model = MODELS[name]()
    traced = model.trace(CAMERA, 0.002)
    here, there = (build(moved(traced, device), *CAMERA.size, model.count) for device in (CPU, GPU))
    assert all(t.is_cuda for t in there.tensors().values())
    for key, tensor in here.tensors().items():
        torch.testing.assert_close(there.tensors()[key].cpu(), tensor, rtol=0, atol=1e-6)
    theta, shown = random(model.count, 3), random(*CAMERA.size, 3)
    device_theta = theta.to(GPU).requires_grad_()
    rendered = there.apply(device_theta, BACKGROUND.to(GPU))
    torch.testing.assert_close(rendered.detach().cpu(), here.apply(theta, BACKGROUND), rtol=0, atol=1e-5)
    torch.testing.assert_close(there.transpose(shown.to(GPU)).cpu(), here.transpose(shown), rtol=0, atol=1e-4)
    (gradient,) = torch.autograd.grad((rendered * shown.to(GPU)).sum(), device_theta)
    torch.testing.assert_close(gradient.cpu(), here.transpose(shown), rtol=0, atol=1e-4)


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
    model.band = 100
    operators = OperatorSet(model, VIEWS, ViewCache(1 << 30, tmp_path, GPU))
    deferred = OperatorSet(model, VIEWS, None)
    assert deferred.count == operators.count
    theta, background = random(deferred.count, 3).to(GPU).requires_grad_(), BACKGROUND.to(GPU)
    pictures = [views[1].apply(theta, background) for views in (deferred, operators)]
    torch.testing.assert_close(*pictures, rtol=0, atol=1e-4)
    found, wanted = (torch.autograd.grad(p.diff(dim=0).square().mean(), theta)[0] for p in pictures)
    assert (found - wanted).norm() <= 1e-4 * wanted.norm()


def painter_of(fitted, paintings, folder: Path, place: str, **options) -> Painter:
    settings = replace(STYLIZE, device="cuda", steps=1000, **options)
    field, capture = open_photoreal(fitted, GPU)
    subject = Subject(field, capture.train, settings)
    painter = Painter(subject, [image.read_style(paintings[0])], tiny_encoder().to(GPU), settings)
    subject.open(ViewCache(PLACES[place][0], folder / "cache", GPU, PLACES[place][1]))
    painter.begin()
    for i in range(len(subject)):
        painter.content(i), painter.render(i)  # as in a first epoch
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
    painter.subject.cache.close()


@pytest.mark.parametrize("options", [{}, {"cache_memory": 1e-9}, {"no_cache": True}])
def test_stylize_and_render(fitted, paintings, tmp_path, options):
    run = stylize(fitted, paintings[:1], replace(STYLIZE, device="cuda", **options), tmp_path)
    curve = [row["nnfm"] for row in run.curves()]
    assert curve[-1] < curve[0]
    for device in (GPU, CPU):
        painted, _ = open_painted(run, device)
        assert painted.look.theta.device.type == device.type
        assert painted.look.theta.isfinite().all()
    settings = RenderSettings(path="orbit", frames=2, width=32, height=24, compare=True)
    films = {}
    for name in ("cuda", "cpu"):
        render(run, replace(settings, device=name), tmp_path / name)
        films[name] = torch.stack([image.read(tmp_path / name / f"{k:05d}.png") for k in range(2)])
    assert films["cuda"].shape == (2, 24, 64, 3)
    assert ((films["cuda"] - films["cpu"]).abs() < 0.02).float().mean() > 0.97

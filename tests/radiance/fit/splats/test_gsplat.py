"""A fit of splats by gsplat from end to end, its kernels played by ours; and a real one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import standin
import torch
from gaussians import random_splats
from torch._subclasses.fake_tensor import FakeTensorMode

from arf.jobs.runs import Run
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.fields import kinds
from arf.radiance.fields.place import Place
from arf.radiance.fields.splats.descent.by_gsplat import Gsplat
from arf.radiance.fields.splats.descent.tuning import Tuning
from arf.radiance.fit.loop import fit
from arf.radiance.fit.splats import start, state
from arf.radiance.fit.splats.state import SplatState
from arf.radiance.opening import open_photoreal
from arf.radiance.settings import FitSettings

CPU = torch.device("cpu")
SPLATS = FitSettings(backbone="splat", steps=30, splats=400, resolutions=(12,), save_every=10, device="cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(start, "STEPS", 10)
    monkeypatch.setitem(start.COARSE, "samples", 5_000)
    monkeypatch.setattr(state, "EVERY", 5)


class Played:
    """gsplat on the CPU, for as long as it is entered; how it was called."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch, self.calls = patch, []

    def rasterization(self, **arguments: object) -> tuple:
        self.calls.append(arguments["rasterize_mode"])
        return standin.rasterization(**arguments)

    def __enter__(self) -> Played:
        self.before = state.engine_on
        engine = Gsplat(self.rasterization, CPU, antialiased=True)
        self.patch.setattr(state, "engine_on", lambda device, antialiased: engine)
        return self

    def __exit__(self, *_: object) -> None:
        self.patch.setattr(state, "engine_on", self.before)


def stopped(room, folder, settings: FitSettings = SPLATS) -> Run:
    """A fit that was stopped after 20 steps."""

    def stop(now: str, at: int, *_: object) -> None:
        if (now, at) == ("fit", 20):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(room, settings, folder, stop)
    (run,) = Run.below(folder)
    return run


def model(run: Run) -> bytes:
    return (run.path / "model.safetensors").read_bytes()


def test_a_fit_goes_on_from_its_middle(room, tmp_path, monkeypatch):
    with Played(monkeypatch) as played:
        whole = fit(room, SPLATS, tmp_path / "whole")
        assert played.calls == ["antialiased"] * 30
        begun = stopped(room, tmp_path / "begun")
        assert model(fit(room, SPLATS, tmp_path, resume=begun)) == model(whole)
    curve = [row["rgb"] for row in whole.curves()]
    assert curve[-1] < curve[0]
    field, _ = open_photoreal(whole, CPU)
    assert 320 < field.count <= 400  # it has grown


def test_what_was_begun_there_goes_on_here(room, tmp_path, monkeypatch):
    here = fit(room, SPLATS, tmp_path / "here")
    with Played(monkeypatch):
        begun = stopped(room, tmp_path / "begun")
    done = fit(room, SPLATS, tmp_path, resume=begun)
    assert done.info["metrics"]["psnr"] == pytest.approx(here.info["metrics"]["psnr"], abs=0.2)
    begun = stopped(room, tmp_path / "other")
    with Played(monkeypatch) as played:
        done = fit(room, SPLATS, tmp_path, resume=begun)
        assert len(played.calls) == 10
    assert done.info["metrics"]["psnr"] == pytest.approx(here.info["metrics"]["psnr"], abs=0.2)


class Elsewhere:
    """An engine on a device that need not be there, by which nothing moves."""

    device = torch.device("cuda", 0)

    def slopes(self, splats, camera, target, background, mask=None):
        assert {part.device for part in (*splats.tensors().values(), target, background)} == {self.device}
        return {name: torch.zeros_like(getattr(splats, name)) for name in Tuning.SHAPES}, target.mean()


def test_all_is_on_the_device_of_the_steps_and_what_is_finished_is_not(room, monkeypatch):
    """Tensors without values: one that is on another device, or is looked at, raises."""
    capture, devices = load_capture(CaptureConfig(data=room)), []
    settings, place = SPLATS.for_kind("bounded"), Place.of(capture)
    field = kinds.build(kinds.plan(settings, place), place, CPU)
    monkeypatch.setattr(state, "engine_on", lambda device, antialiased: Elsewhere())
    fitted = SplatState(field, settings, capture.train, place)

    def build(plan: dict, place: Place, device: torch.device) -> None:
        devices.append(device)
        raise KeyboardInterrupt

    monkeypatch.setattr(kinds, "build", build)
    with pytest.raises(KeyboardInterrupt):
        fitted.begin(lambda: False, lambda *_: None)
    assert devices == [Elsewhere.device]
    with FakeTensorMode(allow_non_fake_inputs=True):
        fitted.begin_with(random_splats(40))
        for i in range(len(fitted.pictures)):
            picture = fitted.pictures.at(0, i)
            picture.alpha = torch.zeros(picture.camera.size, dtype=torch.uint8)
        figures = [fitted.advance() for _ in range(3)]
        assert {figure["rgb"].device for figure in figures} == {Elsewhere.device}
        assert {part.device for part in fitted.finished().splats.tensors().values()} == {CPU}


@pytest.mark.cuda
def test_a_fit_on_a_gpu_goes_on_on_a_cpu(room, tmp_path):
    on_gpu = replace(SPLATS, device="cuda")
    here = fit(room, SPLATS, tmp_path / "here").info["metrics"]["psnr"]
    there = fit(room, on_gpu, tmp_path / "there")
    assert there.info["metrics"]["psnr"] == pytest.approx(here, abs=1)
    begun = stopped(room, tmp_path / "begun", on_gpu)
    assert fit(room, SPLATS, tmp_path, resume=begun).info["metrics"]["psnr"] == pytest.approx(here, abs=1)
    begun = stopped(room, tmp_path / "other")
    assert fit(room, on_gpu, tmp_path, resume=begun).info["metrics"]["psnr"] == pytest.approx(here, abs=1)

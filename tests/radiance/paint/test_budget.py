"""Paintings of splats that have no room for all their matrices."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from tiny import FIT, STYLIZE

from arf.jobs.runs import Run
from arf.radiance.fit.loop import fit
from arf.radiance.fit.splats import start
from arf.radiance.operator.deferred import DeferredView
from arf.radiance.operator.views import OperatorSet
from arf.radiance.paint.stylize import stylize

SOME = 0.0006  # gigabytes: some of the eighteen views, not all


@pytest.fixture(scope="module")
def splatted(room, tmp_path_factory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "STEPS", 60)
        settings = replace(FIT, backbone="splat", steps=30, splats=600, resolutions=(16,), stages=())
        return fit(room, settings, tmp_path_factory.mktemp("splatted"))


@pytest.fixture
def kinds(monkeypatch) -> Counter:
    """How many operators were asked for that are rendered anew, and that are not."""
    counted, get = Counter(), OperatorSet.__getitem__

    def noted(self, i):
        found = get(self, i)
        counted[type(found) is DeferredView] += 1
        return found

    monkeypatch.setattr(OperatorSet, "__getitem__", noted)
    return counted


def test_a_painting_that_was_stopped_is_the_one_that_was_not(splatted, paintings, tmp_path, small_encoder, kinds):
    """Whichever views were asked for in between: the same have a matrix."""
    settings = replace(STYLIZE, cache_memory=SOME)
    whole = stylize(splatted, paintings[:1], settings, tmp_path / "whole")
    assert min(kinds[True], kinds[False]) > 30
    assert 0 < whole.info["metrics"]["operator_bytes"] <= SOME * 2**30

    def stop(phase, step, *_):
        if (phase, step) == ("paint", 20):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stylize(splatted, paintings[:1], settings, tmp_path / "stopped", stop)
    unfinished = Run.open(tmp_path / "stopped", "stylize", finished=False)
    done = stylize(splatted, paintings[:1], settings, tmp_path / "stopped", resume=unfinished)
    assert (done.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_a_run_keeps_the_memory_that_it_began_with(splatted, paintings, tmp_path, small_encoder, monkeypatch):
    monkeypatch.setattr("arf.radiance.paint.subject.free_memory", lambda device: 400_000)

    def stop(phase, step, *_):
        if (phase, step) == ("paint", 20):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stylize(splatted, paintings[:1], STYLIZE, tmp_path, stop)
    unfinished = Run.open(tmp_path, "stylize", finished=False)
    assert unfinished.info["memory"] == 200_000
    monkeypatch.setattr("arf.radiance.paint.subject.free_memory", lambda device: 1 << 40)
    done = stylize(splatted, paintings[:1], STYLIZE, tmp_path, resume=unfinished)
    assert done.info["metrics"]["cache_budget"] == 200_000

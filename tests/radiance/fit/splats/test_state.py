"""The file of an unfinished fit of splats: what it may not say."""

from __future__ import annotations

import shutil

import pytest
import torch
from gaussians import random_splats

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.jobs.tensors import load_tensors, save_tensors
from arf.radiance.capture.capture import CaptureConfig, load_capture
from arf.radiance.fields import kinds
from arf.radiance.fields.place import Place
from arf.radiance.fit.splats.state import SplatState
from arf.radiance.settings import FitSettings

FILE = "resume.safetensors"
COUNT = 40


@pytest.fixture(scope="module")
def made(room, tmp_path_factory):
    """A state after three steps, and what it wrote."""
    capture = load_capture(CaptureConfig(data=room))
    settings = FitSettings(backbone="splat", steps=30, splats=50).for_kind("bounded")

    def fresh() -> SplatState:
        place = Place.of(capture)
        field = kinds.build(kinds.plan(settings, place), place, torch.device("cpu"))
        return SplatState(field, settings, capture.train, place)

    state = fresh()
    state.begin_with(random_splats(COUNT))
    for _ in range(3):
        state.advance()
    run = Run.create(tmp_path_factory.mktemp("state"), "room", "arf-splat", kind="fit")
    state.save(run)
    return fresh, state, run


def test_it_goes_on_with_the_same_bits(made):
    fresh, state, run = made
    again = fresh()
    again.load(run)
    assert again.step == state.step == 3
    for _ in range(2):
        state.advance()
        again.advance()
    assert all(torch.equal(value, again.tuning.raw[name]) for name, value in state.tuning.raw.items())


def test_before_there_are_splats_nothing_is_written(made, tmp_path):
    fresh, *_ = made
    run = Run.create(tmp_path, "room", "arf-splat", kind="fit")
    state = fresh()
    state.save(run)
    assert not run.has("resume")
    state.load(run)
    assert (state.tuning, state.step) == (None, 0)


NONE = torch.zeros(0, 3)
CASES = {
    "a step too many": ({"step": 31}, {}, "step is 31, not between 0 and 30"),
    "a negative step": ({"step": -1}, {}, "step is -1"),
    "no step": ({"step": ...}, {}, "missing required field step"),
    "a word": ({"step": "x"}, {}, "step: expected int, got str"),
    "seconds": ({"seconds": float("nan")}, {}, "seconds is nan"),
    "curves": ({"curves": [{"step": 9, "rgb": 1.0}]}, {}, "no table of figures up to step 3"),
    "no splats": ({}, {"raw.means": NONE}, "it holds 0 splats, not between 1 and 50"),
    "no means": ({}, {"raw.means": None}, "it holds 0 splats"),
    "too many": ({}, {"raw.means": torch.zeros(51, 3)}, "it holds 51 splats"),
    "a number": ({}, {"raw.means": torch.tensor(1.0)}, "it holds 1 splats|raw.means has shape"),
    "another shape": ({}, {"raw.quats": torch.zeros(COUNT, 3)}, r"raw\.quats has shape \[40, 3\], not \[40, 4\]"),
    "whole numbers": ({}, {"raw.scales": torch.zeros(COUNT, 3, dtype=torch.int32)}, "raw.scales holds int32"),
    "no colours": ({}, {"raw.colors": None}, "lacks tensor 'raw.colors'"),
    "not finite": ({}, {"raw.opacities": torch.full((COUNT,), torch.nan)}, "raw.opacities holds numbers that are not"),
    "no units": ({}, {"units": None}, "lacks tensor 'units'"),
    "units of nothing": ({}, {"units": torch.zeros(COUNT)}, "units are not positive"),
    "a moment missing": ({}, {"adam.0.exp_avg": None}, "lacks tensor 'adam.0.exp_avg'"),
    "a moment's shape": ({}, {"adam.1.exp_avg": torch.zeros(2)}, r"adam\.1\.exp_avg has shape"),
    "something else": ({}, {"more": torch.zeros(2)}, "has an unknown tensor 'more'"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_no_fit_writes_is_one_line(made, tmp_path, case):
    fresh, _, run = made
    notes, tensors, message = CASES[case]
    shutil.copytree(run.path, tmp_path / "run")
    held, said = load_tensors(tmp_path / "run" / FILE, "")
    held = {name: value for name, value in (held | tensors).items() if value is not None}
    notes = {name: value for name, value in (said | notes).items() if value is not ...}
    save_tensors(tmp_path / "run" / FILE, held, **notes)
    state = fresh()
    with pytest.raises(UserError, match=message) as caught:
        state.load(Run.open(tmp_path / "run", "fit", finished=False))
    assert str(caught.value).endswith("fit again")
    assert "\n" not in str(caught.value)
    assert state.tuning is None

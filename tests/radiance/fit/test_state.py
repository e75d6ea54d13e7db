"""The file of an unfinished fit: what it may not say, and what is not written into it."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from tiny import FIT

from arf.errors import UserError
from arf.jobs.runs import Run
from arf.jobs.tensors import load_tensors, save_tensors
from arf.radiance.fields.voxel.field import VoxelField
from arf.radiance.fit.loop import fit

SHORT = replace(FIT, steps=30, stages=(0.9,))


@pytest.fixture(scope="module")
def stopped(room, tmp_path_factory) -> Run:
    """A fit that was stopped at step 20. Read only."""
    output = tmp_path_factory.mktemp("stopped")

    def stop(what: str, step: int, *_: object) -> None:
        if step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(room, SHORT, output, stop)
    return Run.open(output, "fit", finished=False)


def changed(run: Run, folder, notes: dict, tensors: dict | None = None, without: str = "") -> Run:
    """A copy of an unfinished run with another state."""
    shutil.copytree(run.path, folder)
    held, said = load_tensors(folder / "resume.safetensors", "")
    held = {k: v for k, v in (held | (tensors or {})).items() if not without or not k.startswith(without)}
    save_tensors(folder / "resume.safetensors", held, **{k: v for k, v in (said | notes).items() if v is not ...})
    return Run.open(folder, "fit", finished=False)


ROW = {"step": 10, "rgb": 1.0}


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"step": 31}, "step is 31, not between 0 and 30"),
        ({"step": -1}, "step is -1"),
        ({"step": 10**400}, "step is 100000000000…, not"),
        ({"step": "x"}, "step: expected int, got str"),
        ({"step": ...}, "missing required field step"),
        ({"rays": 0}, "rays is 0"),
        ({"rays": 10**9}, r"rays is 1e\+09"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"curves": "x"}, "curves: expected array, got str"),
        ({"curves": [{"step": 10, "rgb": "x"}]}, "curves"),
        ({"curves": [{"rgb": 1.0}]}, "no table of figures"),
        ({"curves": [ROW, {**ROW, "step": 15, "psnr": 1.0}]}, "no table of figures"),
        ({"curves": [ROW, ROW]}, "no table of figures"),
        ({"curves": [{**ROW, "step": 21}]}, "no table of figures up to step 20"),
        ({"curves": [{**ROW, "rgb": float("inf")}]}, "no table of figures"),
        ({"curves": [ROW]}, "its figures so far are step, rgb, and now step, rgb, distortion"),
    ],
)
def test_notes_that_no_fit_writes_are_one_line(stopped, room, tmp_path, notes, message):
    run = changed(stopped, tmp_path / "run", notes)
    with pytest.raises(UserError, match=message) as caught:
        fit(room, SHORT, tmp_path, resume=run)
    assert "\n" not in str(caught.value)
    assert not run.has("model")


TABLE, MOMENT = "model.voxels.table", "adam.0.exp_avg"


@pytest.mark.parametrize(
    ("tensors", "without", "message"),
    [
        ({TABLE: torch.zeros(3)}, "", "its weights do not fit"),
        ({}, TABLE, "its weights do not fit"),
        ({"model.voxels.grid.cells": torch.tensor([5, 4])}, "", "shape and cells are no grid's"),
        ({"model.voxels.grid.cells": torch.tensor([-1])}, "", "shape and cells are no grid's"),
        ({"model.voxels.shape": torch.tensor([2**40] * 3)}, "", "shape and cells are no grid's"),
        ({"model.background": torch.full((3,), torch.nan)}, "", "not finite"),
        ({"model.background": torch.ones(3).int()}, "", "holds torch.int32 in place of torch.float32"),
        ({"model.voxels.space.box": torch.zeros(2, 3)}, "", "another scene's"),
        ({MOMENT: torch.zeros(3)}, "", f"{MOMENT} has shape"),
        ({}, MOMENT, "lacks tensor 'adam.0.exp_avg'"),
        ({"adam.0.step": torch.tensor(1)}, "", "adam.0.step holds int64"),
        ({"adam.7.step": torch.tensor(1.0)}, "", "has an unknown tensor 'adam.7.step'"),
        ({"random": torch.zeros(5)}, "", "random has shape"),
        ({"random": torch.get_rng_state().float()}, "", "random holds float32"),
        ({"random": torch.zeros_like(torch.get_rng_state())}, "", "state of the random numbers is damaged"),
        ({}, "random", "lacks tensor 'random'"),
    ],
)  # fmt: skip
def test_tensors_of_another_fit_are_one_line(stopped, room, tmp_path, tensors, without, message):
    run = changed(stopped, tmp_path / "run", {}, tensors, without)
    with pytest.raises(UserError, match=message) as caught:
        fit(room, SHORT, tmp_path, resume=run)
    assert "\n" not in str(caught.value)
    assert not run.has("model")


def test_ctrl_c_after_a_nan_keeps_the_last_good_state(room, tmp_path, monkeypatch):
    """J6: between two looks at the losses."""
    after, step_of = VoxelField.after_step, []

    def poisoned(self, step, optimizer):
        after(self, step, optimizer)
        if step == 26:
            with torch.no_grad():
                self.voxels.table[0, 0] = float("nan")
            step_of.append(step)
            raise KeyboardInterrupt

    monkeypatch.setattr(VoxelField, "after_step", poisoned)
    with pytest.raises(UserError, match=r"became NaN or infinite at step 26; the last good state is in .*lower"):
        fit(room, SHORT, tmp_path)
    run = Run.open(tmp_path, "fit", finished=False)
    tensors, notes = run.load("resume")
    assert step_of == [26]
    assert notes["step"] == 25
    assert tensors[TABLE].isfinite().all()

"""The file of an unfinished painting: what it may not say, and curves that go on as if nobody had stopped it."""

from __future__ import annotations

import shutil

import pytest
import torch
from encoders import tiny_encoder
from tiny import STYLIZE

from arf.errors import UserError
from arf.jobs.runs import Curves, Run
from arf.jobs.tensors import load_tensors, save_tensors
from arf.radiance.brought.around import directions
from arf.radiance.capture.views import apart
from arf.radiance.paint.painter import Painter
from arf.radiance.paint.stylize import stylize


@pytest.fixture(autouse=True)
def _small(small_encoder):
    """No VGG here."""


@pytest.fixture(scope="module")
def stopped(fitted, paintings, tmp_path_factory) -> Run:
    """A painting that was stopped at step 14, between two rows of its curves. Read only."""
    output, losses = tmp_path_factory.mktemp("stopped"), Painter.losses

    def interrupted(self, picture, i):
        if self.step == 14:
            raise KeyboardInterrupt
        return losses(self, picture, i)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())
        patch.setattr(Painter, "losses", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stylize(fitted, paintings[:1], STYLIZE, output)
    return Run.open(output, "stylize", finished=False)


def changed(run: Run, folder, notes: dict, tensors: dict | None = None, without: str = "") -> Run:
    """A copy of an unfinished run with another state."""
    shutil.copytree(run.path, folder)
    held, said = load_tensors(folder / "resume.safetensors", "")
    held = {k: v for k, v in (held | (tensors or {})).items() if k != without}
    save_tensors(folder / "resume.safetensors", held, **{k: v for k, v in (said | notes).items() if v is not ...})
    return Run.open(folder, "stylize", finished=False)


def test_the_curves_of_a_resumed_job_are_those_of_one_that_nobody_stopped(
    stopped, stylized, fitted, paintings, tmp_path
):
    """J31: the mean over ten steps goes on where it was."""
    assert stopped.load("resume")[1]["step"] == 14
    run = changed(stopped, tmp_path / "run", {})
    stylize(fitted, paintings[:1], STYLIZE, tmp_path, resume=run)
    assert (run.path / "losses.csv").read_bytes() == (stylized.path / "losses.csv").read_bytes()
    assert (run.path / "model.safetensors").read_bytes() == (stylized.path / "model.safetensors").read_bytes()


def test_curves_are_drawn_before_the_run_is_finished(stopped, fitted, paintings, tmp_path, monkeypatch):
    """J31: killed in between, they would be missing for ever."""
    run = changed(stopped, tmp_path / "run", {})
    drawn = []
    monkeypatch.setattr(Curves, "draw", lambda self: drawn.append(Run.open(run.path, finished=False).info["finished"]))
    stylize(fitted, paintings[:1], STYLIZE, tmp_path, resume=run)
    assert drawn == [False]
    assert Run.open(run.path, "stylize").info["finished"]


def test_a_state_of_an_older_arf_has_no_recent_losses(stopped, fitted, paintings, tmp_path):
    run = changed(stopped, tmp_path / "run", {"recent": ...})
    assert stylize(fitted, paintings[:1], STYLIZE, tmp_path, resume=run).info["steps"] == 30


ROW = {"step": 10, "nnfm": 1.0, "content": 1.0, "tv": 1.0}


@pytest.mark.parametrize(
    ("notes", "tensors", "without", "message"),
    [
        ({"step": 31}, {}, "", "step is 31, not between 0 and 30"),
        ({"step": -5}, {}, "", "step is -5"),
        ({"step": ...}, {}, "", "missing required field step"),
        ({"curves": [{**ROW, "step": 15}]}, {}, "", "no table of figures up to step 14"),
        ({"curves": [{"step": 10, "gram": 1.0}]}, {}, "", "its figures so far are step, gram"),
        ({"recent": [[1.0, 1.0]] * 4}, {}, "", "no row of 3 losses for each of 4 steps"),
        ({"recent": [[1.0, 1.0, 1.0]]}, {}, "", "no row of 3 losses for each of 4 steps"),
        ({"recent": "x"}, {}, "", "recent: expected array, got str"),
        ({}, {"theta": torch.zeros(3)}, "", r"theta has shape \[3\]"),  # J37: was spread over all columns
        ({}, {"adam.exp_avg": torch.zeros(3)}, "", "adam.exp_avg has shape"),
        ({}, {"adam.step": torch.tensor(float("nan"))}, "", "adam.step holds numbers that are not finite"),
        ({}, {}, "adam.exp_avg_sq", "lacks tensor 'adam.exp_avg_sq'"),
        ({}, {"zzz": torch.zeros(1)}, "", "has an unknown tensor 'zzz'"),
    ],
)
def test_states_of_another_painting_are_one_line(
    stopped, fitted, paintings, tmp_path, notes, tensors, without, message
):
    run = changed(stopped, tmp_path / "run", notes, tensors, without)
    with pytest.raises(UserError, match=message) as caught:
        stylize(fitted, paintings[:1], STYLIZE, tmp_path, resume=run)
    assert "\n" not in str(caught.value)
    assert not run.has("model")


def test_a_preview_shows_all_sides_of_what_was_circled():
    chosen = apart(40, 4)
    assert chosen == [5, 15, 25, 35]
    sides = directions(40)[chosen]
    azimuths = torch.atan2(sides[:, 1], sides[:, 0]).sort().values
    around = torch.cat([azimuths, azimuths[:1] + 2 * torch.pi]).diff()
    assert around.max() < torch.pi / 2 + 0.01


def test_few_views_are_all_shown_and_none_twice():
    assert [apart(count, 4) for count in (1, 2, 3, 4, 5)] == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 3, 4]]

"""Some of scripts/soak.sh: jobs that are killed go on to the same bytes. And no half step is ever gone on from."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from commands import run
from good import CALLS, OF_PAINTED_SPLATS, OF_SPLATS, ending

from arf.jobs.interrupts import AtOnce
from arf.jobs.runs import Run

SOME = ["gatys"]  # fits, paintings, trainings and films have such tests of their own


def test_killed_jobs_go_on_to_the_same_bytes():
    soak = Path(__file__).with_name("kills.py")
    command = [sys.executable, str(soak), "--kills", "1", "--ways", "KILL", "TERM", "--commands", *SOME]
    environment = {**os.environ, "PYTHONPATH": str(soak.parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    assert [row[3] for row in rows if row[0] in SOME] == ["2"] * len(SOME), done.stdout


FIT_OF_SPLATS = CALLS["fit"].replace("--backbone voxel", "--backbone splat")
STEPS = {  # what a job is in the midst of
    FIT_OF_SPLATS: ("arf.radiance.fields.splats.descent.by_numba.backward", "--steps 2", "--steps 12 --save-every 4"),
    CALLS["fit"]: ("arf.radiance.fields.voxel.field.VoxelField.after_step", "--steps 2", "--steps 12 --save-every 4"),
    CALLS["stylize"]: ("arf.radiance.paint.painter.Painter.losses", "--steps 1", "--steps 12 --save-every 4"),
    OF_SPLATS["stylize"]: ("arf.radiance.paint.painter.Painter.losses", "--steps 1", "--steps 12 --save-every 4"),
    CALLS["train"]: ("arf.training.loop.Loop._learn", "--steps 1", "--steps 12 --save-every 4"),
}


@pytest.mark.parametrize("call", STEPS, ids=["fit", "fit voxel", "stylize", "stylize splats", "train"])
def test_the_second_signal_saves_no_half_step(call, good, tmp_path, capsys, monkeypatch):
    """J7: it comes at once, while the seventh step is half done. What was saved at the fourth is gone on from."""
    monkeypatch.setattr("arf.radiance.fit.splats.start.STEPS", 20)
    target, few, many = STEPS[call]
    line = call.replace(few, many)
    models = []
    for out in ("whole", "stopped"):
        words = line.format(**asdict(good), out=tmp_path / out).split()
        if out == "stopped":
            with monkeypatch.context() as patch:
                patch.setattr(target, _second_signal(target, at=7))
                code, _, said = run(capsys, *words)
            path = Run.open(tmp_path / out, finished=False).path
            assert (code, said) == (143, f"arf: stopped; what was done is saved, go on with --resume {path}\n")
            assert Run.open(path, finished=False).load("resume")[1]["step"] == 4
            words = [line.split()[0], "--resume", str(path)]
        assert run(capsys, *words)[0] == 0
        models.append(next((tmp_path / out).rglob("model.safetensors")).read_bytes())
    assert models[0] == models[1]


@pytest.mark.parametrize("name", ending(OF_PAINTED_SPLATS))
def test_ctrl_c_leaves_nothing_of_what_is_written_in_one_go(name, good, tmp_path, capsys, monkeypatch):
    """It comes when all is written and nothing has its name."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("arf.jobs.files._settle", stop)
    line = ending(OF_PAINTED_SPLATS)[name].format(**asdict(good), out=tmp_path)
    assert run(capsys, *line.split()) == (130, "", "arf: stopped\n")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_ctrl_c_leaves_nothing_of_a_grid_that_becomes_splats(good, tmp_path, capsys, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("arf.radiance.fields.splats.descent.tuning.Tuning.advance", stop)
    line = f"export {good.painted} --format html --count 50 --output {tmp_path / 'new' / 'o.html'}"
    assert run(capsys, *line.split()) == (130, "", "arf: stopped\n")
    assert not list(tmp_path.iterdir())


def _second_signal(target: str, at: int):
    """The function of this name, which is interrupted for good when it is called the `at`th time."""
    module, kind, name = target.rsplit(".", 2)
    function = getattr(getattr(__import__(module, fromlist=[kind]), kind), name)
    calls = []

    def interrupted(*arguments, **named):
        calls.append(name)
        if len(calls) == at:
            raise AtOnce(15)
        return function(*arguments, **named)

    return interrupted

"""What the tables spoil is good: every command takes it, and takes a copy that nobody spoiled."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from itertools import count

import judge as judges
import pytest
import spoil
from good import CALLS, OF_PAINTED_SPLATS, OF_SPLATS, ending

CAPTURE, RUN = CALLS["fit"].replace("{capture}", "{bad}"), CALLS["render"].replace("{fit}", "{bad}")


@pytest.fixture
def accepted(good, tmp_path, capfd, monkeypatch):
    """Calls a command that must end with 0, and change none of its inputs."""
    outs = (spoil.folder(tmp_path / f"out{i}") for i in count())

    def accepted(line, bad=""):
        out = next(outs)
        monkeypatch.chdir(out)
        before = judges.tree(good.root)
        code, trace = judges.call([word.format(**asdict(good), bad=bad, out=out) for word in line.split(" ")])
        assert (code, trace) == (0, ""), capfd.readouterr().err
        assert judges.tree(good.root) == before

    return accepted


@pytest.mark.parametrize("command", [c for c in CALLS if c not in ("demo", "view")])  # a minute, and without end
def test_calls(command, accepted):
    accepted(CALLS[command])


@pytest.mark.parametrize("command", ending(OF_SPLATS))
def test_calls_of_splats(command, accepted):
    accepted(ending(OF_SPLATS)[command])


@pytest.mark.parametrize("command", ending(OF_PAINTED_SPLATS))
def test_calls_of_painted_splats(command, accepted):
    accepted(ending(OF_PAINTED_SPLATS)[command])


def test_grids_as_splats(accepted, monkeypatch):
    monkeypatch.setattr("arf.radiance.share.convert.STEPS", 3)
    accepted("export {fit} {painted} --format html --count 50 --output {out}/o.html")


def test_copies(good, at, accepted):
    accepted(CAPTURE, spoil.capture(spoil.folder(at / "capture"), good.capture, lambda meta: None))
    run = spoil.run(spoil.folder(at / "run"), good.fit, lambda info: None)
    accepted(RUN, run)
    spoil.tensors(good.fit / "model.safetensors", run / "model.safetensors", lambda tensors, metadata: None)
    accepted(RUN, run)
    accepted(RUN, spoil.run(spoil.folder(at / "painted"), good.painted, lambda info: None))
    spoil.tensors(good.fast, at / "fast.safetensors", lambda tensors, metadata: None)
    accepted(f"{CALLS['fast']} --model {{bad}}", at / "fast.safetensors")


def test_other_inputs(good, at, accepted):
    """A mask of the right kind, a preset, a camera path."""
    accepted(f"{CALLS['gatys']} --mask {{photo}}")
    accepted(f"{CALLS['fit']} --config {{bad}}", spoil.file(at, "fit: {seed: 3}", "p.yaml"))
    camera = {"camera_to_world": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], "fov": 50, "aspect": 1}
    path = {"camera_type": "perspective", "render_width": 16, "render_height": 16, "fps": 8, "camera_path": [camera]}
    accepted(CALLS["render"].replace("--frames 1", "--path {bad}"), spoil.file(at, json.dumps(path), "path.json"))


def test_names_that_are_no_utf8(good, at, accepted):
    """As on old disks: they are names."""
    name = os.fsdecode(b"\xff")
    for path in (good.splats, good.style):
        shutil.copy(path, at / f"{name}{path.suffix}")
    bad = {"splats": at / f"{name}.ply", "style": at / f"{name}.png"}
    accepted(OF_SPLATS["stylize"].replace("{splats}", "{bad}"), bad["splats"])
    accepted(OF_SPLATS["stylize"].replace("{style}", "{bad}"), bad["style"])
    accepted(OF_SPLATS["export html"].replace("{splats}", "{bad}"), bad["splats"])
    accepted("gatys {bad} --style {bad} --size 48 --steps 1", bad["style"])
    accepted(CAPTURE, spoil.capture(spoil.folder(at / name), good.capture, lambda meta: None))


def test_every_command_has_a_call():
    from arf import cli

    assert CALLS.keys() == cli.COMMANDS.keys()

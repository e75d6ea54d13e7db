"""Runs of strangers, opened by every command that opens runs.

A new place in a run that names a file, a class or a program goes into `RUNS`, a new command into `OPENED_BY`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import spoil
from good import CALLS
from readers import configuration
from traps import ckpt, npy_pickle, npz_pickle, old_ckpt, yaml_lines
from tripwire import MARK

OPENED_BY = {
    name: CALLS[name].replace("{fit}", "{bad}/run") for name in ("evaluate", "stylize", "render", "export", "view")
}


def info(**values: object) -> Callable:
    """A run whose arf.json says something else."""
    return lambda good, at, done, secret: spoil.run(at / "run", good.fit, lambda held: held.update(values))


def captured(spoiled: Callable[[Path, Path], object], **values: object) -> Callable:
    """A run whose capture is somebody's."""

    def make(good, at, done, secret):
        data = spoil.folder(at / "data")
        shutil.copytree(good.capture / "images", data / "images")
        spoiled(data, done)
        parser = {"parser": {"data": str(data), **values}} if values else {}
        spoil.run(at / "run", good.fit, lambda held: held.update(data=str(data), **parser))

    return make


def leads_out(name: Callable[[Path], str]) -> Callable:
    """A run whose capture names pictures that are not its own."""

    def make(good, at, done, secret):
        spoil.capture(
            spoil.folder(at / "data"), good.capture,
            lambda meta: [frame.update(file_path=name(secret)) for frame in meta["frames"]],
        )  # fmt: skip
        spoil.run(at / "run", good.fit, lambda held: held.update(data=str(at / "data")))

    return make


def model(make: Callable[[Path, Path], object]) -> Callable:
    def spoiled(good, at, done, secret):
        spoil.run(at / "run", good.fit, lambda held: None)
        (at / "run" / "model.safetensors").unlink()
        make(at / "run" / "model.safetensors", done)

    return spoiled


def settings(**values: object) -> Callable:
    return lambda good, at, done, secret: spoil.run(at / "run", good.fit, lambda held: held["model"].update(values))


RUNS: dict[str, Callable] = {
    "minimal-parser": captured(lambda data, done: npz_pickle(data / "train.npz", done), name="minimal-parser"),
    "a parser of theirs": captured(lambda data, done: None, name=f"{MARK}.Parser"),
    "a parser that asks": captured(lambda data, done: None, name="colmap"),
    "a capture of a pickle": captured(lambda data, done: npy_pickle(data / "poses_bounds.npy", done)),
    "a model of a pickle": model(ckpt),
    "a model of an old pickle": model(old_ckpt),
    "a kind that is a path": info(kind="../../secret"),
    "a kind that is a module": info(kind=MARK),
    "a backbone that is a module": settings(backbone=f"{MARK}.voxel"),
    "a capture that leads out": leads_out(lambda secret: "../../secret/kept.png"),
    "a capture of names from the root": leads_out(lambda secret: str(secret / "kept.png")),
    "data in a protocol": info(data="http://127.0.0.1:9/"),
}
MAY = {  # need no photographs
    ("export", "a capture that leads out"), ("export", "a capture of names from the root"),
    ("export", "a capture of a pickle"), ("export", "data in a protocol"), ("export", "a parser that asks"),
    ("export", "minimal-parser"), ("export", "a parser of theirs"),
}  # fmt: skip


@pytest.mark.parametrize("command", OPENED_BY)
@pytest.mark.parametrize("what", RUNS)
def test_runs(command, what, opened, good, at, done, secret):
    (at / "run").mkdir()
    RUNS[what](good, at, done, secret)
    opened(OPENED_BY[command], at, may=(command, what) in MAY)


NAMES = {
    "scene": "../../../secret/scene",
    "method": "../../secret/method",
    "arf": "0.1\x1b[31m\n<script>alert(1)</script>",
}


@pytest.mark.parametrize("command", ["evaluate", "stylize", "render", "export"])
@pytest.mark.parametrize("key", NAMES)
def test_names_in_runs_lead_nowhere(command, key, opened, good, at):
    spoil.run(spoil.folder(at / "run"), good.fit, lambda held: held.update({key: NAMES[key]}))
    opened(OPENED_BY[command], at, may=True)


@pytest.mark.parametrize("name", ["", "/interpolate", "/interpolate.mp4", "/interpolate/00000.png"])
def test_films_stay_in_their_run(name, opened, good, at, secret):
    run = spoil.run(spoil.folder(at / "run"), good.fit, lambda held: None)
    link = run / f"renders{name}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(secret if "." not in name else secret / "kept.png")
    opened("render {bad} --path interpolate --frames 1", run, may="write")


@pytest.mark.parametrize("name", ["cloud.ply", "."])
def test_clouds_stay_in_their_run(name, opened, good, at, secret):
    run = spoil.run(spoil.folder(at / "run"), good.fit, lambda held: None)
    if name != ".":
        (run / name).symlink_to(secret / "kept.png")
    opened("export {bad} --points 100", run, may="write")


@pytest.mark.parametrize("name", ["preview.png", "losses.csv", "losses.png", "config.yml"])
def test_paintings_stay_in_their_run(name, opened, good, at, secret):
    """An unfinished painting that somebody prepared, gone on with."""
    run = spoil.run(spoil.folder(at / "run"), good.painted, lambda held: held.update(finished=False))
    (run / name).symlink_to(secret / "kept.png")
    opened("stylize --resume {bad} --quiet", run, may="write")


@pytest.mark.parametrize("what", yaml_lines(Path("done")))
@pytest.mark.parametrize("command", OPENED_BY)
def test_configurations(command, what, opened, at, done):
    """A run of ns-train whose config.yml calls things."""
    pytest.importorskip("nerfstudio")
    spoil.file(spoil.folder(at / "run"), f"method_name: {yaml_lines(done)[what]}\n", "config.yml")
    opened(OPENED_BY[command], at)


@pytest.mark.parametrize("command", OPENED_BY)
def test_laughs(command, opened, at):
    pytest.importorskip("nerfstudio")
    spoil.file(spoil.folder(at / "run"), spoil.LAUGHS, "config.yml")
    opened(OPENED_BY[command], at)


@pytest.fixture
def theirs(good, at) -> Path:
    """A run of ns-train whose configuration and checkpoint are read."""
    pytest.importorskip("nerfstudio")
    return configuration(good, spoil.folder(at / "run")).file.parent


@pytest.mark.parametrize("make", [ckpt, old_ckpt, npy_pickle], ids=["zip", "old", "bare"])
@pytest.mark.parametrize("command", OPENED_BY)
def test_checkpoints(command, make, opened, theirs, at, done):
    (checkpoint,) = (theirs / "nerfstudio_models").glob("*.ckpt")
    made = make(at / "payload.npy", done)
    made.replace(checkpoint)
    assert checkpoint.name in opened(OPENED_BY[command], at)


@pytest.mark.parametrize("command", OPENED_BY)
def test_frames_of_runs(command, opened, theirs, at, secret):
    """The recorded frame is somebody's too."""
    (theirs / "dataparser_transforms.json").write_text(json.dumps({"transform": str(secret), "scale": MARK}))
    assert "dataparser_transforms.json" in opened(OPENED_BY[command], at)

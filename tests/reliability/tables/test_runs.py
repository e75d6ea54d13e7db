"""Runs that somebody else wrote, or nobody finished: arf.json, tensors, states.

A new key of arf.json goes into `INFO`, a command that opens runs into `OPENED_BY`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import spoil
import torch
from good import CALLS
from safetensors.torch import save_file
from spoil import keys

RENDER, FIT_OF = CALLS["render"].replace("{fit}", "{bad}"), "{fit}"
OPENED_BY = {name: CALLS[name].replace("{fit}", "{bad}") for name in ("evaluate", "stylize", "view", "export")}


def settings(**values: Any) -> spoil.Change:
    return lambda info: info["settings"].update(values)


def model(**values: Any) -> spoil.Change:
    return lambda info: info["model"].update(values)


INFO: dict[str, spoil.Change] = {
    "empty": "",
    "a list": "[]",
    "an object": "{}",
    "truncated": '{"format": 1, ',
    "null": "null",
    "deep": "[" * 100_000,
    "bytes": b"\xff\xfe\x00",
    "format 99": keys('{"format": 99}'),
    "format a string": keys('{"format": "1"}'),
    "kind a number": keys('{"kind": 5}'),
    "kind unknown": keys('{"kind": "soup"}'),
    "kind an escape": keys('{"kind": "a\\u001b[31mb\\nc"}'),
    "finished no bool": keys('{"finished": "no"}'),
    "no data": lambda info: info.pop("data"),
    "data a number": keys('{"data": 5}'),
    "data null": keys('{"data": null}'),
    "data gone": keys('{"data": "/nowhere/at/all"}'),
    "data a device": keys('{"data": "/dev/zero"}'),
    "data with NUL": keys('{"data": "a\\u0000b"}'),
    "data with an escape": keys('{"data": "/nowhere/a\\u001b[31mb\\nc"}'),
    "data 5000 long": lambda info: info.update(data="a" * 5000),
    "no settings": lambda info: info.pop("settings"),
    "settings null": keys('{"settings": null}'),
    "settings a list": keys('{"settings": [1]}'),
    "unknown setting": settings(zzz=1),
    "downscale a string": settings(downscale="x"),
    "downscale NaN": settings(downscale=nan),
    "seed a string": settings(seed="x"),
    "held_out null": settings(held_out=None),
    "background a number": settings(background=7),
    "format of the capture unknown": settings(format="soup"),
    "scene unknown": settings(scene="soup"),
    "no model": lambda info: info.pop("model"),
    "model null": keys('{"model": null}'),
    "model a string": keys('{"model": "x"}'),
    "backbone unknown": model(backbone="soup"),
    "backbone a list": model(backbone=[]),
    "backbone nerfacto": model(backbone="nerfacto"),
    "unknown field of the model": model(zzz=1),
    "resolutions huge": model(resolutions=[10**9]),
    "resolutions negative": model(resolutions=[-4]),
    "resolutions strings": model(resolutions=["a"]),
    "resolutions a number": model(resolutions=4),
    "resolutions empty": model(resolutions=[]),
    "step NaN": model(step=nan),
    "step 0": model(step=0),
    "step a string": model(step="x"),
    "step 1e-12": model(step=1e-12),
    "background of the model a number": model(background=5),
    "background of the model words": model(background="soup"),
    "parser a number": keys('{"parser": 5}'),
    "parser unknown": keys('{"parser": {"name": "soup"}}'),
    "parser without data": keys('{"parser": {"name": "nerfstudio-data"}}'),
    "prune_below a string": model(prune_below="x"),
    "another resolution": model(resolutions=[16]),
}
UNREAD = {"prune_below a string", "another resolution"}  # of a finished run
FEW = ("empty", "data a number", "settings a list", "resolutions huge", "kind a number", "model null", "kind an escape")


@pytest.mark.parametrize("what", INFO)
def test_info(what, judge, good, at):
    judge(RENDER, spoil.run(at, good.fit, INFO[what]), may=what in UNREAD)


@pytest.mark.parametrize("command", OPENED_BY)
@pytest.mark.parametrize("what", FEW)
def test_info_for_every_command(command, what, judge, good, at):
    judge(OPENED_BY[command], spoil.run(at, good.fit, INFO[what]))


PAINTED: dict[str, spoil.Change] = {
    "no settings": lambda info: info.pop("settings"),
    "drop_weight a string": settings(drop_weight="x"),
    "drop_weight NaN": settings(drop_weight=nan),
    "no drop_weight": lambda info: info["settings"].pop("drop_weight"),
    "no fit": lambda info: info.pop("fit"),
    "fit a string": keys('{"fit": "x"}'),
    "fit without data": lambda info: info["fit"].pop("data"),
    "fit's settings null": lambda info: info["fit"].update(settings=None),
}


@pytest.mark.parametrize("what", PAINTED)
def test_info_of_paintings(what, judge, good, at):
    judge(RENDER, spoil.run(at, good.painted, PAINTED[what]), may="drop_weight" in what)  # a film drops nothing


PARSERS = ("minimal-parser", "blender-data", "nerfosr-data", "nuscenes-data", "colmap", "nerfstudio-data")


@pytest.mark.parametrize("name", PARSERS)
def test_parsers_of_an_empty_folder(name, judge, good, at):
    parser = {"name": name, "data": str(spoil.folder(at / "empty"))}
    run = spoil.run(spoil.folder(at / "run"), good.fit, lambda info: info.update(parser=parser))
    judge(RENDER, run, never="cannot write")


def floats(tensors: dict) -> list[str]:
    return [name for name, value in tensors.items() if value.is_floating_point() and value.dim()]


def filled(value: float, integers: bool = False) -> Callable[[dict, dict], object]:
    def fill(tensors: dict, _: dict) -> None:
        for tensor in tensors.values():
            if tensor.is_floating_point() != integers and tensor.dtype != torch.bool:
                tensor.fill_(value)

    return fill


TENSORS: dict[str, Callable[[dict, dict], object] | bytes] = {
    "empty": b"",
    "text": b"hello world, this is text",
    "header of 2^62": struct.pack("<Q", 2**62) + b"{}",
    "header no JSON": struct.pack("<Q", 8) + b"notjson!" + bytes(64),
    "header cut short": struct.pack("<Q", 500) + b'{"theta": {',
    "no tensors": lambda tensors, _: tensors.clear(),
    "a name missing": lambda tensors, _: tensors.pop(floats(tensors)[0]),
    "a name too many": lambda tensors, _: tensors.update(zzz=torch.zeros(2)),
    "NaN": filled(nan),
    "infinity": filled(inf),
    "wrong shape": lambda tensors, _: tensors.update({floats(tensors)[0]: torch.zeros(3, 5, 7)}),
    "integers": lambda tensors, _: tensors.update({name: tensors[name].int() for name in floats(tensors)}),
    "booleans": lambda tensors, _: tensors.update({name: tensors[name].bool() for name in floats(tensors)}),
    "scalars": lambda tensors, _: tensors.update({name: torch.tensor(1.0) for name in tensors}),
    "no rows": lambda tensors, _: tensors.update({name: t[:0] for name, t in tensors.items() if t.dim()}),
    "notes no JSON": lambda _, metadata: metadata.update(notes="{"),
    "notes a list": lambda _, metadata: metadata.update(notes="[]"),
    "notes 100000 deep": lambda _, metadata: metadata.update(notes="[" * 100_000),
    "all zero": filled(0),
    "indices out of range": filled(2**40, integers=True),
    "indices negative": filled(-(2**40), integers=True),
}
HARMLESS = {"notes no JSON", "notes a list", "notes 100000 deep", "all zero", "indices out of range"}
HARMLESS |= {"indices negative", "integers", "booleans"}


def of_tensors(at: Path, source: Path, what: str) -> Path:
    spoil.run(at, source, lambda info: None)
    spoil.tensors(source / "model.safetensors", at / "model.safetensors", TENSORS[what])
    return at


@pytest.mark.parametrize("what", TENSORS)
def test_tensors(what, judge, good, at):
    judge(RENDER, of_tensors(at, good.fit, what), may=what in HARMLESS)


@pytest.mark.parametrize("share", [0.5, 0.001])
def test_tensors_cut_short(share, judge, good, at):
    run = spoil.run(spoil.folder(at / "run"), good.fit, lambda info: None)
    (run / "model.safetensors").unlink()
    spoil.cut(run, good.fit / "model.safetensors", share)
    judge(RENDER, run)


@pytest.mark.parametrize("command", ["render", "export", "view"])
@pytest.mark.parametrize("what", ["empty", "NaN", "a name missing", "wrong shape", "no rows", "infinity"])
def test_tensors_of_paintings(command, what, judge, good, at):
    judge(CALLS[command].replace("{fit}", "{bad}"), of_tensors(at, good.painted, what))


@pytest.mark.parametrize("command", ["render", "export"])
@pytest.mark.parametrize("what", ["indices out of range", "indices negative"])
def test_indices_of_paintings(command, what, judge, good, at):
    judge(CALLS[command].replace("{fit}", "{bad}"), of_tensors(at, good.painted, what), may=True)


@pytest.mark.parametrize("command", OPENED_BY)
@pytest.mark.parametrize("what", ["NaN", "infinity", "wrong shape"])
def test_tensors_for_every_command(command, what, judge, good, at):
    judge(OPENED_BY[command], of_tensors(at, good.fit, what))


@pytest.mark.parametrize("what", spoil.NO_FILES)
@pytest.mark.parametrize("name", spoil.RUN_FILES)
def test_files_that_are_none(name, what, judge, good, at):
    spoil.run(at, good.fit, lambda info: None)
    (at / name).unlink()
    spoil.NO_FILES[what](at / name)
    judge(RENDER, at)


NO_RUNS = {
    "missing": RENDER, "a capture": RENDER.replace("{bad}", "{capture}"), "a file": RENDER.replace("{bad}", "{photo}"),
    "evaluate a painting against a fit": "evaluate {painted} --against {fit} --output {out}/o.html",
    "evaluate a fit against a painting": "evaluate {fit} --against {painted} --frames {bad} --output {out}/o.html",
    "stylize a painting": "stylize {painted} --style {style} --output {out}/o",
    "stylize without a style": "stylize {fit} --output {out}/o",
    "stylize nothing": "stylize --style {style} --output {out}/o",
    "fit nothing": "fit --output {out}/o",
    "fit: resume a finished one": "fit --resume {fit} --output {out}/o",
    "fit: resume a painting": "fit --resume {painted} --output {out}/o",
    "stylize: resume a fit": "stylize --resume {fit} --output {out}/o",
    "train: resume a fit": "train --resume {fit}",
    "train: resume nothing": "train --resume {bad}",
    "view a capture": "view {capture}", "view nothing": "view {bad}", "evaluate nothing": "evaluate {bad}",
    "export a picture": "export {photo} --output {out}/o.ply",
    "export two scenes": "export {fit} {painted_splats} --format html --output {out}/o.html",
    "export a scene and a file": "export {painted_splats} {fit} --format html --output {out}/o.html",
    "export several runs as points": "export {fit} {painted} --output {out}/o.ply",
    "export a run and nothing": "export {fit} {bad} --format html --output {out}/o.html",
    "export a run and a training": "export {fit} {fast} --format html --output {out}/o.html",
}  # fmt: skip


@pytest.mark.parametrize("what", NO_RUNS)
def test_no_runs(what, judge, at):
    judge(NO_RUNS[what], at / "none")


STATES: dict[str, Any] = {
    "empty": b"",
    "text": b"hello",
    "of another shape": lambda tensors, metadata: None,
    "no notes": lambda tensors, metadata: metadata.update(notes="{}"),
    "notes a list": lambda tensors, metadata: metadata.update(notes="[]"),
    "step a string": spoil.notes(step="x"),
    "step 10^9": spoil.notes(step=10**9),
    "step negative": spoil.notes(step=-5),
    "curves a string": spoil.notes(curves="x"),
    "seconds NaN": spoil.notes(seconds=nan),
}


def unfinished(at: Path, source: Path, change: spoil.Change = dict) -> Path:
    return spoil.run(at, source, lambda info: (info.update(finished=False), change(info)))


@pytest.mark.parametrize("command", ["fit", "stylize"])
@pytest.mark.parametrize("what", STATES)
def test_states(command, what, judge, good, at):
    run = unfinished(at, {"fit": good.fit, "stylize": good.painted}[command])
    notes = {"step": 1, "rays": 512, "seconds": 0.0, "curves": [], "scaler": {}, "schedule": {}}
    state, path = STATES[what], at / "resume.safetensors"
    if isinstance(state, bytes):
        path.write_bytes(state)
    else:
        tensors, metadata = {"theta": torch.zeros(3), "random": torch.get_rng_state()}, {"notes": json.dumps(notes)}
        state(tensors, metadata)
        save_file(tensors, path, metadata=metadata)
    judge(f"{command} --resume {{bad}}", run)


RESUMED: dict[str, tuple[str, spoil.Change]] = {
    "data gone": ("fit", keys('{"data": "/nowhere"}')),
    "settings null": ("fit", keys('{"settings": null}')),
    "steps a string": ("fit", settings(steps="x")),
    "steps NaN": ("fit", settings(steps=nan)),
    "samples a list": ("fit", settings(samples=[1])),
    "style gone": ("stylize", keys('{"styles": ["/nowhere.png"]}')),
    "styles a number": ("stylize", keys('{"styles": 5}')),
    "no styles": ("stylize", lambda info: info.pop("styles")),
    "fit gone": ("stylize", lambda info: info["fit"].update(run="/nowhere")),
    "fit a number": ("stylize", keys('{"fit": 5}')),
    "encoder unknown": ("stylize", settings(encoder="soup")),
    "layers a number": ("stylize", settings(layers=5)),
}


@pytest.mark.parametrize("what", RESUMED)
def test_resumed(what, judge, good, at):
    command, change = RESUMED[what]
    judge(f"{command} --resume {{bad}}", unfinished(at, {"fit": good.fit, "stylize": good.painted}[command], change))

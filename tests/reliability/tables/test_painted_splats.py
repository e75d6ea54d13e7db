"""Paintings of splats that somebody else wrote, or nobody finished: tensors, states.

A new tensor of splats goes into `TENSORS`, a new one of a state into `STATES`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import spoil
import torch
from good import OF_PAINTED_SPLATS, ending
from safetensors.torch import save_file
from splatfiles import some

from arf.radiance.fields.splats.files.ply import write_ply

OPENED_BY = {name: call.replace("{painted_splats}", "{bad}") for name, call in OF_PAINTED_SPLATS.items()}
SHOWING = ending(OPENED_BY)
COUNT = 200
Tensors = Callable[[dict, dict], object]


def filled(name: str, value: Any) -> Tensors:
    """Other numbers in the first row of a tensor, if it has rows."""
    return lambda tensors, _: tensors[name].view(-1, *tensors[name].shape[1:])[:1].copy_(torch.as_tensor(value))


def other(name: str, *shape: int) -> Tensors:
    """A tensor of another shape."""
    return lambda tensors, _: tensors.update({name: torch.full(shape, 0.5)})


def kind(name: str, dtype: torch.dtype) -> Tensors:
    return lambda tensors, _: tensors.update({name: tensors[name].to(dtype)})


def shorter(*names: str) -> Tensors:
    """Tensors of fewer splats."""
    return lambda tensors, _: tensors.update({name: tensors[name][: COUNT // 2] for name in names or list(tensors)})


OWN = ("means", "scales", "quats", "opacities", "colors", "rest", "background")
TENSORS: dict[str, Tensors | bytes] = {
    "empty": b"",
    "text": b"hello",
    "no tensors": lambda tensors, _: tensors.clear(),
    **{f"no {name}": lambda tensors, _, name=name: tensors.pop(f"field.{name}") for name in OWN},
    **{f"{name} of NaN": filled(f"field.{name}", nan) for name in OWN if name != "rest"},
    **{f"{name} of infinity": filled(f"field.{name}", inf) for name in OWN if name != "rest"},
    **{f"{name} of 1e30": filled(f"field.{name}", 1e30) for name in OWN if name != "rest"},
    **{f"{name} of doubles": kind(f"field.{name}", torch.float64) for name in OWN},
    **{f"{name} of integers": kind(f"field.{name}", torch.int32) for name in OWN},
    **{f"{name} of one number": other(f"field.{name}") for name in OWN},
    **{f"fewer {name}": shorter(f"field.{name}") for name in OWN if name != "background"},
    "an unknown tensor": other("field.zzz", 3),
    "an unknown tensor beside": other("zzz", 3),
    "an unknown tensor of the look": other("look.zzz", 3),
    "means of 2": other("field.means", COUNT, 2),
    "means in a row": other("field.means", COUNT * 3),
    "quats of 3": other("field.quats", COUNT, 3),
    "opacities in columns": other("field.opacities", COUNT, 1),
    "rest of 4": other("field.rest", COUNT, 4, 3),
    "rest of 16": other("field.rest", COUNT, 16, 3),
    "rest of 10^6": lambda tensors, _: tensors.update({"field.rest": torch.zeros(0, 10**6, 3)}),
    "rest of 2": other("field.rest", COUNT, 3, 2),
    "rest of NaN": lambda tensors, _: tensors.update({"field.rest": torch.full((COUNT, 3, 3), nan)}),
    "opacities above 1": filled("field.opacities", 1.5),
    "opacities below 0": filled("field.opacities", -0.5),
    "scales below 0": filled("field.scales", -1.0),
    "quats of length 0": filled("field.quats", 0.0),
    "quats of length 2": filled("field.quats", [2.0, 0, 0, 0]),
    "background of 4": other("field.background", 4),
    "no splats": lambda tensors, _: tensors.update({name: t[:0] for name, t in tensors.items() if len(t) == COUNT}),
    "no theta": lambda tensors, _: tensors.pop("look.theta"),
    "theta of fewer": shorter("look.theta"),
    "theta of more": other("look.theta", COUNT + 1, 3),
    "theta of 6 channels": other("look.theta", COUNT, 6),
    "theta of NaN": filled("look.theta", nan),
    "theta of integers": kind("look.theta", torch.int64),
    "a look's background of NaN": filled("look.background", nan),
    "a look's background of 6": other("look.background", 6),
    "complex": kind("look.theta", torch.complex64),
    "colours of an older arf": lambda tensors, _: tensors.update({"colors.keys": torch.zeros(3).long()}),
}
FEW = ("means of NaN", "quats of length 0", "theta of fewer")
CASES = [(command, what) for command in OPENED_BY for what in TENSORS if command == "export" or what in FEW]


@pytest.mark.parametrize(("command", "what"), CASES)
def test_tensors(command, what, judge, good, at):
    spoil.run(at, good.painted_splats, lambda info: None)
    spoil.tensors(good.painted_splats / "model.safetensors", at / "model.safetensors", TENSORS[what])
    judge(OPENED_BY[command], at)


LARGE: dict[str, Tensors] = {  # that pass for splats
    "far away": lambda tensors, _: tensors["field.means"].mul_(1e17),
    "huge": lambda tensors, _: tensors["field.scales"].fill_(1e18),
    "huge and far away": lambda tensors, _: (tensors["field.scales"].fill_(1e18), tensors["field.means"].mul_(1e17)),
    "needles": lambda tensors, _: (tensors["field.scales"].fill_(0), tensors["field.scales"][:, 0].fill_(1e18)),
    "of no size": lambda tensors, _: tensors["field.scales"].fill_(0),
    "transparent": lambda tensors, _: tensors["field.opacities"].fill_(0),
    "as faint as can be seen": lambda tensors, _: tensors["field.opacities"].fill_(1.00001 / 255),
    "opaque": lambda tensors, _: tensors["field.opacities"].fill_(1),
    "glaring": lambda tensors, _: tensors["field.colors"].fill_(1e18),
    "glaring paint": lambda tensors, _: tensors["look.theta"].fill_(3e38),
    "glaring harmonics": lambda tensors, _: tensors.update({"field.rest": torch.full((COUNT, 15, 3), 1e18)}),
    "a glaring background": lambda tensors, _: tensors["field.background"].fill_(1e18),
    "a recolouring of infinity": lambda tensors, _: tensors["look.matrix"].fill_(3e38),
    "all in one place": lambda tensors, _: tensors["field.means"].zero_(),
}


@pytest.mark.parametrize("command", ["render", "export html", "export points", "export spz"])
@pytest.mark.parametrize("what", LARGE)
def test_odd_tensors(what, command, judge, good, at):
    spoil.run(at, good.painted_splats, lambda info: None)
    spoil.tensors(good.painted_splats / "model.safetensors", at / "model.safetensors", LARGE[what])
    judge(SHOWING[command], at, may=True)


def unfinished(at: Path, source: Path, change: spoil.Change = dict) -> Path:
    return spoil.run(at, source, lambda info: (info.update(finished=False), change(info)))


def fit(**values: Any) -> spoil.Change:
    return lambda info: info["fit"].update(values)


def of_fit(path: Callable[[Any, Path], Any]) -> Callable[[Any, Path], spoil.Change]:
    """Another place where the splats are said to be."""
    return lambda good, at: lambda info: info["fit"].update(run=str(path(good, at)))


def just(change: spoil.Change) -> Callable[[Any, Path], spoil.Change]:
    return lambda good, at: change


RESUMED: dict[str, Callable[[Any, Path], spoil.Change]] = {
    "splats gone": of_fit(lambda good, at: "/nowhere/x.ply"),
    "a picture": of_fit(lambda good, at: good.photo),
    "a folder": of_fit(lambda good, at: good.folder),
    "a device": of_fit(lambda good, at: "/dev/zero"),
    "a fifo": of_fit(lambda good, at: spoil.fifo(at / "x.ply")),
    "a run": of_fit(lambda good, at: good.fit),
    "text": of_fit(lambda good, at: spoil.file(at, "hello", "x.ply")),
    "other splats": of_fit(lambda good, at: write_ply(at / "x.ply", some(200, seed=1)) or at / "x.ply"),
    "fewer splats": of_fit(lambda good, at: write_ply(at / "x.ply", some(100)) or at / "x.ply"),
    "a name of numbers": just(fit(run=5)),
    "a name with NUL": just(fit(run="a\0b.ply")),
    "a name of 5000": just(fit(run="a" * 5000 + ".ply")),
    "another fingerprint": just(fit(capture="0" * 16)),
    "no fingerprint": just(fit(capture=None)),
    "sight of NaN": just(lambda info: info["fit"]["sight"].update(scale=nan)),
    "sight of 10^9": just(lambda info: info["fit"]["sight"].update(sizes=[[10**9] * 2] * 2)),
    "no sight": just(fit(sight=None)),
    "style gone": just(lambda info: info.update(styles=["/nowhere.png"])),
    "no styles": just(lambda info: info.update(styles=[])),
    "layers unknown": just(lambda info: info["settings"].update(layers=["x"])),
    "a resolution": just(lambda info: info["settings"].update(color_resolution=64)),
}


@pytest.mark.parametrize("what", RESUMED)
def test_resumed(what, judge, good, at):
    run = spoil.folder(at / "run")
    judge("stylize --resume {bad}", unfinished(run, good.painted_splats, RESUMED[what](good, at)))


STATES: dict[str, Tensors | bytes] = {
    "empty": b"",
    "text": b"hello",
    "no tensors": lambda tensors, _: tensors.clear(),
    "no theta": lambda tensors, _: tensors.pop("theta"),
    "theta of fewer": lambda tensors, _: tensors.update(theta=tensors["theta"][:100]),
    "theta of 4": other("theta", COUNT, 4),
    "theta of NaN": filled("theta", nan),
    "theta of integers": kind("theta", torch.int32),
    "no memory": lambda tensors, _: tensors.pop("adam.exp_avg"),
    "memory of fewer": lambda tensors, _: tensors.update({"adam.exp_avg_sq": torch.zeros(100, 3)}),
    "memory of infinity": filled("adam.exp_avg_sq", inf),
    "an unknown tensor": other("zzz", 3),
    "no notes": lambda _, metadata: metadata.clear(),
    "notes a list": lambda _, metadata: metadata.update(notes="[]"),
    "step a string": spoil.notes(step="x"),
    "step 10^9": spoil.notes(step=10**9),
    "step negative": spoil.notes(step=-1),
    "curves of later": spoil.notes(curves=[{"step": 2, "style": 0.0}]),
    "curves a string": spoil.notes(curves="x"),
    "losses of others": spoil.notes(recent=[[1.0]]),
    "losses of more steps": spoil.notes(recent=[[1.0] * 3] * 5),
}


def begun(at: Path, source: Path) -> Path:
    """A painting that was stopped after its first step."""
    run = unfinished(at, source)
    memory = {
        "adam.step": torch.tensor(1.0),
        **{f"adam.exp_{name}": torch.zeros(COUNT, 3) for name in ("avg", "avg_sq")},
    }
    notes = {"step": 1, "curves": [], "recent": [[1.0, 1.0, 1.0]]}
    tensors = {"theta": torch.full((COUNT, 3), 0.5), **memory}
    save_file(tensors, run / "resume.safetensors", metadata={"notes": json.dumps(notes)})
    return run


@pytest.mark.parametrize("what", STATES)
def test_states(what, judge, good, at):
    run = begun(at, good.painted_splats)
    spoil.tensors(run / "resume.safetensors", run / "resume.safetensors", STATES[what])
    judge("stylize --resume {bad} --quiet", run)


def test_the_state_that_is_spoiled_is_good(good, judge, at):
    run = begun(at, good.painted_splats)
    judge("stylize --resume {bad} --quiet", run, may="write")
    assert json.loads((run / "arf.json").read_text())["finished"]

"""Networks, weights, folders to train on, presets, and states of paintings.

A new kind of network goes into `OWN`, with what only its files have.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from math import nan
from typing import Any

import pytest
import spoil
import torch
from good import CALLS
from safetensors.torch import save_file
from spoil import notes

OPENED = {name: f"{CALLS[name]} --model {{bad}}" for name in ("adain", "cast", "fast")}


def architecture(**values: Any) -> Callable[[dict, dict], object]:
    def change(_: dict, metadata: dict) -> None:
        held = json.loads(metadata["notes"])
        held["architecture"].update(values)
        metadata["notes"] = json.dumps(held)

    return change


SHARED: dict[str, Any] = {
    "empty": b"",
    "text": b"hello",
    "header of 2^62": struct.pack("<Q", 2**62) + b"{}",
    "no tensors": lambda tensors, _: tensors.clear(),
    "NaN": lambda tensors, _: [tensor.fill_(nan) for tensor in tensors.values()],
    "a name missing": lambda tensors, _: tensors.pop(next(iter(tensors))),
    "wrong shape": lambda tensors, _: tensors.update({next(iter(tensors)): torch.zeros(2, 3, 4)}),
    "no notes": lambda _, metadata: metadata.clear(),
    "notes a list": lambda _, metadata: metadata.update(notes="[]"),
    "notes no JSON": lambda _, metadata: metadata.update(notes="{"),
    "notes NaN": lambda _, metadata: metadata.update(notes="NaN"),
    "notes 100000 deep": lambda _, metadata: metadata.update(notes="[" * 100_000),
    "kind unknown": notes(arf_network="soup"),
    "kind a list": notes(arf_network=[]),
    "kind an escape": notes(arf_network="a\x1b[31m\nb"),
    "integers": lambda tensors, _: tensors.update({name: tensor.int() for name, tensor in tensors.items()}),
}
OWN: dict[str, dict[str, Any]] = {
    "fast": {
        "width 10^6": architecture(width=10**6),
        "width 0": architecture(width=0),
        "width a string": architecture(width="x"),
        "width 10^12": architecture(width=10**12),
        "styles -1": architecture(styles=-1),
        "styles 10^9": architecture(styles=10**9),
        "architecture null": notes(architecture=None),
        "names a number": notes(names=5),
        "names too few": notes(names=[]),
        "names with numbers": notes(names=[1] * 99),
        "unknown field": architecture(zzz=1),
    },
    "adain": {
        "widths 10^6": notes(widths=[10**6] * 9),
        "widths null": notes(widths=None),
        "widths strings": notes(widths=["a"]),
        "encoder unknown": notes(encoder="soup"),
        "encoder a path": notes(encoder="../../x"),
        "fingerprint of another": notes(fingerprint="00000000"),
        "encoder null": notes(encoder=None),
    },
    "cast": {"widths null": notes(widths=None), "encoder a path": notes(encoder="../../x")},
}
FEW = ("empty", "NaN", "no notes", "wrong shape", "notes 100000 deep")  # of cast, whose reader is adain's
MAY = {"integers", "names with numbers"}
CASES = [(kind, what) for kind in OWN for what in (*(FEW if kind == "cast" else SHARED), *OWN[kind])]


@pytest.mark.parametrize(("kind", "what"), CASES)
def test_models(kind, what, judge, good, at):
    change = {**SHARED, **OWN[kind]}[what]
    path = spoil.tensors(getattr(good, kind), at / "m.safetensors", change)
    judge(OPENED[kind], path, may=what in MAY)


@pytest.mark.parametrize("kind", OWN)
def test_models_cut_short(kind, judge, good, at):
    judge(OPENED[kind], spoil.cut(at, getattr(good, kind)))


WEIGHTS: dict[str, Callable] = {
    "missing": lambda good, at: at / "x.safetensors",
    "missing .pth": lambda good, at: at / "x.pth",
    "a picture": lambda good, at: good.photo,
    "empty .pth": lambda good, at: spoil.file(at, "", "x.pth"),
    "text .pth": lambda good, at: spoil.file(at, "hello", "x.pth"),
    "empty .safetensors": lambda good, at: spoil.file(at, "", "x.safetensors"),
    **{what: lambda good, at, make=make: make(at / "x.safetensors") for what, make in spoil.NO_FILES.items()},
    **{f"{what} .pth": lambda good, at, make=make: make(at / "x.pth") for what, make in spoil.NO_FILES.items()},
}
TAKE_WEIGHTS = {
    "fast --model": OPENED["fast"],
    "adain --model": OPENED["adain"],
    "video --model": f"{CALLS['video']} --model {{bad}}",
    "onnx --model": CALLS["onnx"].replace("{fast}", "{bad}"),
    "train --init": f"{CALLS['train']} --init {{bad}}",
    "gatys --encoder-weights": f"{CALLS['gatys']} --encoder-weights {{bad}}",
    "stylize --encoder-weights": f"{CALLS['stylize']} --encoder-weights {{bad}}",
}


@pytest.mark.parametrize("place", TAKE_WEIGHTS)
@pytest.mark.parametrize("what", WEIGHTS)
def test_weights(place, what, judge, good, at):
    judge(TAKE_WEIGHTS[place], WEIGHTS[what](good, at))


def test_a_model_of_another_kind(judge, good):
    judge(OPENED["fast"], good.adain)
    judge(OPENED["adain"], good.fast)
    judge(OPENED["cast"], good.adain)


def test_onnx_of_nothing(judge):
    judge("onnx fast --output {out}/o.onnx")


def pictures(of: Callable) -> Callable:
    def make(good, at):
        of(spoil.folder(at / "folder") / "a.png")
        return at / "folder"

    return make


FOLDERS: dict[str, Callable] = {
    "missing": lambda good, at: at / "x",
    "empty": lambda good, at: at,
    "a picture": lambda good, at: good.photo,
    "a loop": lambda good, at: spoil.loop(at / "x"),
    "a fifo": lambda good, at: spoil.fifo(at / "x"),
    "of text": pictures(lambda path: path.write_text("x")),
    "of a fifo": pictures(spoil.fifo),
    "of a folder": pictures(spoil.folder),
    "of a bomb": pictures(lambda path: path.write_bytes(spoil.png(100000, 100000))),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_folders_to_train_on(what, judge, good, at):
    judge(CALLS["train"].replace("{folder}", "{bad}"), FOLDERS[what](good, at))


@pytest.mark.parametrize("what", ["empty", "a loop", "a fifo", "of text", "of a fifo"])
@pytest.mark.parametrize("command", ["adain", "fast"])
def test_folders_to_paint(command, what, judge, good, at):
    judge(CALLS[command].replace("{photo}", "{bad}"), FOLDERS[what](good, at))


TOWER = "a0: &a0 {x: [x]}\n" + "".join(f"a{i}: &a{i} {{x: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9))
PRESETS = {
    "a value of a billion laughs": f"{TOWER}fit: {{steps: *a8}}\n",
    "a list": "[1, 2]",
    "no YAML": "a: [",
    "a Python tag": "fit: !!python/object/apply:os.system ['true']",
    "unknown setting": "fit: {zzz: 1}",
    "unknown section": "fitt: {steps: 1}",
    "steps a string": "fit: {steps: many}",
    "steps a bool": "fit: {steps: true}",
    "steps NaN": "fit: {steps: .nan}",
    "section a number": "fit: 5",
    "bytes": "\x00\x01",
    "recursive": "fit: &a {steps: *a}",
    "billion laughs": spoil.LAUGHS,
    "deep": "[" * 5000,
    "resolutions a string": "fit: {resolutions: abc}",
    "stages of strings": "fit: {stages: [a]}",
    "steps huge": "fit: {steps: 1" + "0" * 400 + "}",
    "a date": "fit: {steps: 2020-01-01}",
    "a key of a list": "? [fit]\n: {steps: 1}",
    "an escape": 'fit: {"a\\e[31m\\nb": 1}',
}


@pytest.mark.parametrize("what", PRESETS)
def test_presets(what, judge, at):
    call = CALLS["fit"].replace(" --steps 2", "")  # which would win
    judge(f"{call} --config {{bad}}", spoil.file(at, PRESETS[what], "p.yaml"))


@pytest.mark.parametrize("what", ["missing", *spoil.NO_FILES])
@pytest.mark.parametrize("command", ["fit", "render", "gatys", "video"])
def test_presets_that_are_no_file(command, what, judge, at):
    judge(f"{CALLS[command]} --config {{bad}}", spoil.NO_FILES.get(what, lambda path: path)(at / "p.yaml"))


def test_a_preset_that_is_a_picture(judge, good):
    judge(f"{CALLS['gatys']} --config {{bad}}", good.photo)


STATES: dict[str, Any] = {
    "text": b"x",
    "empty": b"",
    "no notes": lambda tensors, metadata: metadata.clear(),
    "notes empty": lambda tensors, metadata: metadata.update(notes="{}"),
    "notes a list": lambda tensors, metadata: metadata.update(notes="[]"),
    "wrong shape": lambda tensors, metadata: tensors.update(best=torch.zeros(3)),
    "no picture": lambda tensors, metadata: tensors.clear(),
    "step a string": notes(step="x"),
    "step 10^9": notes(step=10**9),
}


@pytest.mark.parametrize("command", ["gatys", "dream", "invert", "texture"])
@pytest.mark.parametrize("what", STATES)
def test_states(command, what, judge, at):
    state, path = STATES[what], at / "o.resume.safetensors"
    if isinstance(state, bytes):
        path.write_bytes(state)
    else:
        metadata = {"notes": json.dumps({"asked": {}, "scale": 0, "step": 0, "seconds": 0, "rows": []})}
        tensors = {"best": torch.zeros(1, 3, 8, 8)}
        state(tensors, metadata)
        save_file(tensors, path, metadata=metadata)
    judge(f"{CALLS[command]} --resume".replace("{out}", "{bad}"), at)

"""Places that nothing can be written to, and inputs that would be overwritten.

A new command's --output goes into `OUTPUTS`.
"""

from __future__ import annotations

import shutil

import pytest
import spoil
from good import CALLS, OF_PAINTED_SPLATS, OF_SPLATS

PICTURES = {
    "a folder": "{folder}", "below a file": "{photo}/x.png", "in /proc": "/proc/x.png", "/dev/full": "/dev/full",
    "no suffix": "{out}/o", "another suffix": "{out}/o.tga", "name of 300": "{out}/" + "a" * 300 + ".png",
    "name of 250": "{out}/" + "a" * 246 + ".png", "a loop": "{bad}/x.png", "empty": "", "a dot": ".", "root": "/",
    "the photograph": "{photo}", "the style": "{style}",
}  # fmt: skip
RUNS = {
    "a file": "{photo}", "below a file": "{photo}/o", "in /proc": "/proc/o", "name of 300": "{out}/" + "a" * 300,
    "a loop": "{bad}", "no UTF-8": "{out}/\udcff",
}  # fmt: skip
FILMS = {
    "a folder": "{folder}", "no .mp4": "{out}/o.avi", "below a file": "{photo}/o.mp4", "in /proc": "/proc/o.mp4",
    "no suffix": "{out}/o", "a loop": "{bad}/o.mp4",
}  # fmt: skip
OUTPUTS = {
    **dict.fromkeys(("gatys", "texture", "invert", "dream", "adain", "cast", "fast"), PICTURES),
    **dict.fromkeys(("cameras", "fit", "stylize", "lift", "blend", "train", "demo"), RUNS),
    **dict.fromkeys(("render", "video"), FILMS),
    "export": {"a folder": "{folder}", "in /proc": "/proc/o.ply", "below a file": "{photo}/o", "a loop": "{bad}/o"},
    "onnx": {"a folder": "{folder}", "in /proc": "/proc/o.onnx", "below a file": "{photo}/o", "the model": "{fast}"},
    "features": {"a file": "{style}", "below a file": "{photo}/o", "in /proc": "/proc/o", "a loop": "{bad}"},
}  # fmt: skip
ALWAYS = ("a folder", "a file", "no UTF-8", "in /proc", "below a file", "the photograph", "the style", "the model")
MAY = {  # a folder to write a picture into
    (command, what)
    for command in ("adain", "cast", "fast")
    for what in ("a folder", "no suffix", "empty", "a dot", "name of 250")
}
CASES = [
    (command, what)
    for command, places in OUTPUTS.items()
    for what in places
    if what in ALWAYS or command in ("gatys", "fit", "render", "video", "export", "onnx")
    if (command, what) not in MAY and not (what == "the style" and "{style}" not in CALLS[command])
]


@pytest.mark.parametrize(("command", "what"), CASES)
def test_outputs(command, what, judge, at):
    line, place = CALLS[command], OUTPUTS[command][what]
    before, _, _ = line.partition(" --output ")
    judge(f"{before} --output {place}", spoil.loop(at / "x"))


SHARED = {  # of every format
    "a folder": "{folder}", "in /proc": "/proc/o{end}", "below a file": "{photo}/o{end}", "a loop": "{bad}/o{end}",
    "no suffix": "{out}/o", "another suffix": "{out}/o.tga", "another format": "{out}/o.mp4", "a dot": ".", "root": "/",
    "a folder of that name": "{bad}.parent/folder{end}", "name of 300": "{out}/" + "a" * 300 + "{end}", "empty": "",
    "a file that is there": "{bad}.parent/there{end}", "a link to nowhere": "{bad}.parent/link{end}",
}  # fmt: skip
SUFFIXES = {"export": ".ply", "export html": ".html", "export points": ".ply"}
SHARED_CASES = [
    (calls[name], SUFFIXES[name], what)
    for calls in (OF_SPLATS, OF_PAINTED_SPLATS)
    for name in SUFFIXES
    for what in SHARED
    if calls is OF_SPLATS or what in ("in /proc", "a file that is there", "a folder of that name")
]


@pytest.mark.parametrize(("call", "end", "what"), SHARED_CASES)
def test_outputs_of_splats(call, end, what, judge, at):
    before, _, _ = call.partition(" --output ")
    place = SHARED[what].replace("{end}", end).replace("{bad}.parent", str(at))
    spoil.folder(at / f"folder{end}")
    spoil.file(at, "hello", f"there{end}")
    (at / f"link{end}").symlink_to("/nowhere/x")
    judge(f"{before} --output {place}", spoil.loop(at / "x"))


@pytest.mark.parametrize("end", [".splat", ".spz", ".SPLAT"])
@pytest.mark.parametrize("flag", ["--format html", "--format points", "--format ply"])
def test_formats_whose_names_end_otherwise(flag, end, judge):
    judge(f"{OF_SPLATS['export'].replace('.ply', end)} {flag}")


OTHERS = {
    "render --save-path: a folder": f"{CALLS['render']} --save-path {{folder}}",
    "render --save-path: in /proc": f"{CALLS['render']} --save-path /proc/x.json",
    "gatys --trace: a folder": f"{CALLS['gatys']} --trace {{folder}}",
    "gatys --trace: in /proc": f"{CALLS['gatys']} --trace /proc/x.csv",
    "gatys --trace: the photograph": f"{CALLS['gatys']} --trace {{photo}}",
    "gatys --trace: the style": f"{CALLS['gatys']} --trace {{style}}",
    "adain: a folder to a file": "adain {folder} --style {style} --output {style}",
    "adain: a folder to a new picture": "adain {folder} --style {style} --output {out}/o.png",
    "video: the video": "video {video} --style mosaic --output {video}",
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_places(what, judge):
    judge(OTHERS[what])


@pytest.mark.parametrize("make", [lambda new, old: new.symlink_to(old), lambda new, old: new.hardlink_to(old)])
@pytest.mark.parametrize("command", ["gatys", "adain", "fast"])
def test_another_name_of_the_photograph(command, make, judge, good, at):
    shutil.copy(good.photo, at / "photo.png")
    make(at / "link.png", at / "photo.png")
    judge(CALLS[command].replace("{photo}", "{bad}/photo.png").replace("{out}/o", "{bad}/link"), at)

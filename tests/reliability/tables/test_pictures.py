"""Pictures that are none, given to every command that takes one.

A new command's place for a picture goes into `PLACES`, a new kind of bad picture into `BAD`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import spoil
from good import CALLS
from PIL import Image

PLACES = {
    "gatys photo": CALLS["gatys"].replace("{photo}", "{bad}"),
    "gatys --style": CALLS["gatys"].replace("{style}", "{bad}"),
    "gatys --mask": CALLS["gatys"] + " --mask {bad}",
    "texture": CALLS["texture"].replace("{photo}", "{bad}"),
    "invert": CALLS["invert"].replace("{photo}", "{bad}"),
    "dream": CALLS["dream"].replace("{photo}", "{bad}"),
    "features photo": CALLS["features"].replace("{photo}", "{bad}"),
    "features --other": CALLS["features"].replace("{style}", "{bad}"),
    "adain photo": CALLS["adain"].replace("{photo}", "{bad}"),
    "adain --style": CALLS["adain"].replace("{style}", "{bad}"),
    "adain --mask": CALLS["adain"] + " --mask {bad}",
    "cast photo": CALLS["cast"].replace("{photo}", "{bad}"),
    "cast --style": CALLS["cast"].replace("{style}", "{bad}"),
    "fast": CALLS["fast"].replace("{photo}", "{bad}"),
    "video --style": CALLS["video"].replace("mosaic", "{bad} --method adain"),
    "stylize --style": CALLS["stylize"].replace("{style}", "{bad}"),
    "lift --style": CALLS["lift"].replace("{style}", "{bad}"),
    "lift --pictures": CALLS["lift"].replace("--with adain --style {style}", "--pictures {bad}"),
    "demo --style": CALLS["demo"].replace("{style}", "{bad}"),
    "cameras": CALLS["cameras"].replace("{place}", "{bad}"),
    "train --style": CALLS["train"].replace("{style}", "{bad}"),
    "train many --style": CALLS["train"].replace("fast", "many").replace("{style}", "{bad} --style {style}"),
}


def jpeg(good, at: Path) -> Path:
    Image.open(good.photo).save(at / "x.jpg")
    return spoil.cut(at, at / "x.jpg", 0.3)


BAD: dict[str, Callable] = {
    "missing": lambda good, at: at / "x.png",
    "empty": lambda good, at: spoil.file(at, "", "x.png"),
    "truncated PNG": lambda good, at: spoil.cut(at, good.photo),
    "truncated JPEG": jpeg,
    "text": lambda good, at: spoil.file(at, "hello", "x.png"),
    "only a signature": lambda good, at: spoil.cut(at, good.photo, 0.001),
    "header of 100000x100000": lambda good, at: spoil.file(at, spoil.png(100000, 100000), "x.png"),
    "header of 13000x13000": lambda good, at: spoil.file(at, spoil.png(13000, 13000), "x.png"),
    "header of 0x0": lambda good, at: spoil.file(at, spoil.png(0, 0), "x.png"),
    "folder": lambda good, at: spoil.folder(at / "x.png"),
    "loop": lambda good, at: spoil.loop(at / "x.png"),
    "fifo": lambda good, at: spoil.fifo(at / "x.png"),
    "socket": lambda good, at: spoil.server(at / "x.png"),
    "device": lambda good, at: Path("/dev/null"),
    "endless device": lambda good, at: Path("/dev/zero"),
    "long name": lambda good, at: at / ("a" * 300 + ".png"),
    "no UTF-8 in its name": lambda good, at: Path(os.fsdecode(os.fsencode(at) + b"/\xff\xfe.png")),
    "newline in its name": lambda good, at: at / "a\nb.png",
    "escape in its name": lambda good, at: at / "a\x1b[31mb.png",
    "escape in the name of text": lambda good, at: spoil.file(at, "hello", "a\x1b[31mb\r\n.png"),
    "floating point": lambda good, at: spoil.plain("F", (64, 64), "x.tiff")(at),
    "1x1": lambda good, at: spoil.plain("RGB", (1, 1), "x.png")(at),
    "strip of 2000x20": lambda good, at: spoil.plain("RGB", (2000, 20), "x.png")(at),
    "SVG": lambda good, at: spoil.file(at, "<svg xmlns='http://www.w3.org/2000/svg'/>", "x.svg"),
    "video": lambda good, at: good.video,
    "below a file": lambda good, at: good.photo / "x.png",
}
EVERYWHERE = {"missing", "truncated PNG", "header of 100000x100000", "fifo", "folder", "1x1", "strip of 2000x20"}
EVERYWHERE |= {"escape in the name of text"}
MAY = {  # be painted all the same
    "1x1": {"invert", "features photo", "features --other", "fast", "video --style"},
    "strip of 2000x20": PLACES.keys() - {"texture"},
}
CASES = [
    (place, what)
    for place in PLACES
    for what in BAD
    if what in EVERYWHERE or (place == "gatys photo")
    if not (what == "folder" and place in ("adain photo", "cast photo", "fast", "train many --style"))  # of pictures
    if not (what == "strip of 2000x20" and place in ("demo --style", "fast"))  # as good as any, and slow
]


@pytest.mark.parametrize(("place", "what"), CASES)
def test_no_picture(place, what, judge, good, at):
    judge(PLACES[place], BAD[what](good, at), may=place in MAY.get(what, ()))

"""The contact sheet of docs/photographs.md: how to walk around a place with a camera, and how not to.

    python scripts/make_advice.py docs/pictures/photographs.jpg

The place is the still life of make_scene.py.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from make_scene import TARGET, look_at, render_view
from PIL import Image, ImageDraw, ImageFilter, ImageFont

WIDE, HIGH, GAP, LABEL = 256, 192, 6, 34
COUNT = 6  # photographs of a row
GOOD, BAD = (30, 130, 60), (190, 40, 40)


def seen(degrees: float, turn: float = 0.0, radius: float = 1.32, height: float = 0.75) -> Image.Image:
    """From this far around the table, turned away from its middle by so many degrees."""
    a, b = math.radians(degrees), math.radians(turn)
    place = torch.tensor([radius * math.cos(a), radius * math.sin(a), height])
    to = torch.tensor(TARGET) - place
    c, s = math.cos(b), math.sin(b)
    aside = torch.stack([c * to[0] - s * to[1], s * to[0] + c * to[1], to[2]])
    picture = render_view(look_at(place, place + aside), WIDE, height=HIGH)
    return Image.fromarray((picture * 255).round().byte().numpy())


def rows() -> Iterator[tuple[bool, str, list[Image.Image]]]:
    """Whether it is good, what it is, and its photographs."""
    walk = [seen(-90 + 12 * i, height=0.65 + 0.1 * (i % 3)) for i in range(COUNT)]
    yield True, "Walk around; a step aside between photographs, and some from higher up", walk
    yield False, "Too far apart: hardly anything is in two of them", [seen(-90 + 65 * i) for i in range(COUNT)]
    yield False, "Turning on the spot: no depth in it", [seen(-90, 9 * (i - 2.5)) for i in range(COUNT)]
    blurred = [picture.filter(ImageFilter.BoxBlur(4 + 2 * i)) for i, picture in enumerate(walk[:3])]
    dark = [picture.point(lambda v: v // 9) for picture in walk[3:]]
    yield False, "Moved while the shutter was open, and too dark", blurred + dark
    yield False, "Plain walls from nearby: nothing to recognise", [wall(i) for i in range(COUNT)]


def wall(i: int) -> Image.Image:
    """Plaster, a little darker towards one side."""
    shade = Image.linear_gradient("L").resize((WIDE, HIGH)).rotate(60 * i, expand=False, fillcolor=128)
    shade = shade.resize((WIDE, HIGH), box=(60, 50, WIDE - 60, HIGH - 50)).point(lambda v: 170 + v // 6)
    return Image.merge("RGB", (shade, shade.point(lambda v: v * 95 // 100), shade.point(lambda v: v * 86 // 100)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="picture to write")
    out = parser.parse_args().out
    drawn = list(rows())
    sheet = Image.new("RGB", (COUNT * (WIDE + GAP) + GAP, len(drawn) * (HIGH + LABEL + GAP) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(22)
    for i, (good, text, pictures) in enumerate(drawn):
        top, color = GAP + i * (HIGH + LABEL + GAP), GOOD if good else BAD
        pen.text((2 * GAP, top + 4), text, color, font)
        for k, picture in enumerate(pictures):
            sheet.paste(picture, (GAP + k * (WIDE + GAP), top + LABEL))
        box = (GAP // 2, top + LABEL - GAP // 2, sheet.width - GAP // 2, top + LABEL + HIGH + GAP // 2)
        pen.rectangle(box, outline=color, width=GAP // 2)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, quality=88)


if __name__ == "__main__":
    main()

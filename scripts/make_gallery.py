"""docs/gallery.md: paintings of our own still life, each with the commands that made it.

    python scripts/make_gallery.py

The commands of the page are the ones that run here, word for word. What outputs/gallery has already is not made again.
A quarter of an hour on two cores that have nothing else to do, a third of it for photographs of the table.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arf.media import image

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "outputs" / "gallery"
HEIGHT = 270  # of the pictures on the page
FILM = "--frames 48 --width 480 --height 360"
SHOWN = 6, 30  # of its frames

SCENES = {
    "room": ("arf fit data/still-life --output outputs/gallery/fits",),
    "table": (
        "python scripts/make_scene.py outputs/gallery/table --cameras fan --size 480 --height 360 --train 18 --test 2",
        "arf fit outputs/gallery/table --output outputs/gallery/fits",
    ),
}
FITS = {"room": "outputs/gallery/fits/still-life", "table": "outputs/gallery/fits/table"}


@dataclass(frozen=True)
class Painting:
    """One picture of the page.

    Attributes:
        said: what is to be seen.
        scene: of `SCENES`.
        styles: names of our own paintings.
        flags: of `arf stylize`.
        film: of `arf render`.
    """

    title: str
    said: str
    scene: str
    styles: tuple[str, ...]
    flags: str = ""
    film: str = ""

    @property
    def name(self) -> str:
        return self.title.lower().replace(" ", "-")

    def commands(self) -> list[str]:
        place, painted = FITS[self.scene], f"outputs/gallery/{self.name}"
        styles = [f"--style data/styles/{style}.jpg" for style in self.styles]
        told = [["arf stylize", place, *styles, self.flags, "--output", painted]]
        told += [["arf render", painted, FILM, self.film, "--output", f"outputs/gallery/films/{self.name}.mp4"]]
        return [" ".join(filter(None, words)) for words in told]


PAINTINGS = [
    Painting("Stained glass", "Everything as it comes: lead follows outlines.", "table", ("stained_glass",)),
    Painting("Impasto", "Each stroke stays where it is while the camera moves.", "table", ("strokes",)),
    Painting("Woodcut", "Three inks: shading turns into hatching.", "table", ("woodcut",)),
    Painting("Pointillism", "A whole room in dots, from photographs of 160 pixels.", "room", ("pointillism",)),
    Painting("Shapes", "Patches of strong colour.", "room", ("geometric",)),
    Painting(
        "Mosaic by Gram matrices", "Another loss: the style's statistics, wherever they fit.", "table", ("mosaic",),
        "--loss gram",
    ),
    Painting(
        "Its own colours", "Strokes in the photographs' colours.", "table", ("strokes",), "--preserve-color",
    ),
    Painting(
        "Fine strokes", "Lower layers look at less at once.", "table", ("strokes",), "--layers relu2_1 relu2_2",
    ),
    Painting(
        "Two at once", "One part woodcut, two parts stained glass.", "table", ("woodcut", "stained_glass"),
        "--style-weights 1 2",
    ),
    Painting(
        "Half painted", "The photographs' colours shine through the tesserae.", "table", ("mosaic",),
        film="--strength 0.5",
    ),
]  # fmt: skip


def made(note: Path, commands: Sequence[str], leftovers: Sequence[Path], before: Sequence[str] = ()) -> None:
    """Run commands of the page, with this Python, unless these very ones have been run to their end, and after those
    that were run `before`."""
    wanted = "\n".join([*before, *commands])
    if note.exists() and note.read_text() == wanted:
        return
    for place in leftovers:
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    for command in commands:
        print(f"$ {command}", flush=True)
        first, *rest = shlex.split(command)
        start = [sys.executable, "-m", "arf"] if first == "arf" else [sys.executable]
        if code := subprocess.run([*start, *rest], cwd=ROOT).returncode:
            raise SystemExit(code)
    note.write_text(wanted)


def frames_of(painting: Painting) -> Path:
    """The folder of a painting's frames; made where it is not there."""
    frames = WORK / "films" / painting.name
    leftovers = [frames, frames.with_suffix(".mp4"), WORK / painting.name]
    made(WORK / f"{painting.name}.sh", painting.commands(), leftovers, SCENES[painting.scene])
    return frames


def picture(painting: Painting, place: Path) -> None:
    """The styles, and two frames of the film."""
    styles = [image.read_style(ROOT / "data" / "styles" / f"{style}.jpg") for style in painting.styles]
    frames = [image.read(frames_of(painting) / f"{k:05d}.png") for k in SHOWN]
    image.write(place / f"{painting.name}.jpg", image.contact_sheet([[*styles, *frames]], HEIGHT), quality=88)


def page() -> str:
    parts = [
        "# Gallery",
        "Our own still life in our own styles: first the style or styles, then two frames of the film. `python "
        "scripts/make_gallery.py` made every picture, by the commands below it.",
        "Two scenes: the room, all the way round the table, and the table from the front.",
        block([command for commands in SCENES.values() for command in commands]),
    ]
    for painting in PAINTINGS:
        file, styles = f"pictures/gallery/{painting.name}.jpg", " and ".join(painting.styles)
        parts += [f"## {painting.title}", painting.said, f"![{styles}; the still life in it, twice]({file})"]
        parts += [block(painting.commands())]
    return "\n\n".join(parts) + "\n"


def block(lines: Sequence[str]) -> str:
    return "\n".join(["```bash", *lines, "```"])


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    for name, commands in SCENES.items():
        made(WORK / f"{name}.sh", commands, [WORK / name, ROOT / FITS[name]])
    place = ROOT / "docs" / "pictures" / "gallery"
    place.mkdir(exist_ok=True)
    for painting in PAINTINGS:
        picture(painting, place)
    (ROOT / "docs" / "gallery.md").write_text(page())


if __name__ == "__main__":
    main()

"""docs/controls.md: what a painter can say, each with the commands and a picture that they made of our own still life.

    python scripts/make_controls.py

The commands of the page are the ones that run here, word for word. What outputs/controls has already is not made again.
A quarter of an hour on two cores that have nothing else to do, a third of it for photographs of the table.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from make_gallery import FILM, ROOT, block, made

from arf.media import image

WORK = ROOT / "outputs" / "controls"
HEIGHT, SHOWN = 270, 30  # of the pictures on the page; which frame of a film
SCENE = (
    "python scripts/make_scene.py outputs/controls/table --cameras fan --size 480 --height 360 --train 18 --test 2"
    " --objects vase torus",
    "arf fit outputs/controls/table --output outputs/controls/fits",
)
FIT = "outputs/controls/fits/table"
VASE, TORUS = (
    f'"outputs/controls/table/objects/{name}/frame_0000.png@frame_0000'
    f' outputs/controls/table/objects/{name}/frame_0019.png@frame_0019"'
    for name in ("vase", "torus")
)


@dataclass(frozen=True)
class Control:
    """A part of the page.

    Attributes:
        said: what it does.
        commands: that make a painting; PAINTED stands for the folder that it goes to.
        shows: files of the repository or of the work folder beside the film's frame.
    """

    title: str
    said: str
    commands: tuple[str, ...]
    shows: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.title.lower().replace(" ", "-")

    def lines(self) -> list[str]:
        place = f"outputs/controls/{self.name}"
        film = f"arf render {place} {FILM} --output outputs/controls/films/{self.name}.mp4"
        return [*(command.replace("PAINTED", place) for command in self.commands), film]


def style(name: str) -> str:
    return f"data/styles/{name}.jpg"


CONTROLS = [
    Control(
        "Any 2D method",
        "A method paints each photograph by itself, which flickers; what is lifted is the scene that comes nearest to "
        "all of them, by least squares. `--with cast`, `fast` and `gatys` are the others.",
        (f"arf lift {FIT} --with adain --style {style('strokes')} --output PAINTED",),
        (style("strokes"),),
    ),
    Control(
        "Any program",
        "The views go out as pictures, are painted by whatever you like, and come back: all of them or some, under "
        "their own names, also with something appended. What is transparent in them says nothing.",
        (
            f"arf lift {FIT} --export-views outputs/controls/views --size 384 --overwrite",
            "arf fast outputs/controls/views --style mosaic --output outputs/controls/painted --overwrite",
            f"arf lift {FIT} --pictures outputs/controls/painted --output PAINTED",
        ),
        ("outputs/controls/painted/frame_0006-mosaic-fast.png",),
    ),
    Control(
        "A painted view",
        "One view, painted: it comes back as painted, and the rest follows it, each place after what it resembles in "
        "the photograph (Ref-NPR). Several painted views are a folder.",
        (
            f"arf lift {FIT} --export-views outputs/controls/views --size 384 --overwrite",
            "arf gatys outputs/controls/views/frame_0006.png"
            f" --style {style('geometric')} --output outputs/controls/reference.png --overwrite --restart",
            f"arf stylize {FIT} --reference outputs/controls/reference.png --view frame_0006 --output PAINTED",
        ),
        ("outputs/controls/reference.png",),
    ),
    Control(
        "Regions",
        "Masks of one or two views, white where a style goes, are lifted to 3D and hold in all views. Everything else "
        "stays as photographed, or has one more style. `--show-regions FILE` shows where they are before anything is "
        "painted.",
        (
            f"arf stylize {FIT} --region {VASE} --style {style('mosaic')} --region {TORUS}"
            f" --style {style('stained_glass')} --output PAINTED",
        ),
        (style("mosaic"), style("stained_glass")),
    ),
    Control(
        "Near and far",
        "A range of depth: the nearest third stays as photographed, the rest is painted, with a soft border between "
        "them. Other words say a colour, a box or a sphere.",
        (f'arf stylize {FIT} --region "depth=0.33,1 soft=0.05" --style {style("woodcut")} --output PAINTED',),
        (style("woodcut"),),
    ),
    Control(
        "Begun elsewhere",
        "The steps may begin with a lifted scene: the motifs of the 2D method stay, the style loop sharpens them.",
        (f"arf stylize {FIT} --style {style('strokes')} --start adain --steps 100 --output PAINTED",),
        (style("strokes"),),
    ),
]
OTHERS = """## Which published system has which

| | arf | ARF-Plus | StylizedGS | ABC-GS | Ref-NPR | StyleRF | StyleGaussian | LAENeRF | SNeRF |
|---|---|---|---|---|---|---|---|---|---|
| any 2D method, lifted | ✓ | | | | | | | | ✓ |
| pictures from other programs | ✓ | | | | one | | | | |
| a painted view is followed | ✓ | | | | ✓ | | | | |
| regions from masks | ✓ | ✓ | ✓ | ✓ | | | | ✓ | |
| regions by colour, depth, box | ✓ | depth | | | | | | | |
| a style for each region | ✓ | ✓ | ✓ | ✓ | | ✓ | | | |
| stroke size | ✓ | ✓ | ✓ | | | | | | |
| strength afterwards, without painting again | ✓ | | | | | ✓ | ✓ | ✓ | |
| the photographs' colours kept | ✓ | ✓ | ✓ | | | | | ✓ | |

As their papers describe them."""


def picture(control: Control) -> image.Picture:
    """What it begins with, and a frame of the film."""
    film = WORK / "films" / control.name
    leftovers = [film, film.with_suffix(".mp4"), WORK / control.name]
    made(WORK / f"{control.name}.sh", control.lines(), leftovers, SCENE)
    shown = [image.read(ROOT / file) for file in control.shows]
    return image.contact_sheet([[*shown, image.read(film / f"{SHOWN:05d}.png")]], HEIGHT)


def page() -> str:
    parts = [
        "# The painter's hand",
        "What else can be said of a painting than its style: each with its commands, and what they made of our own "
        "still life. `python scripts/make_controls.py` made every picture.",
        "How large strokes are, `--style-scale` and `--layers`; colours, `--preserve-color`; several styles in one, "
        "`--style-weights`; how much of the paint shows, `arf render --strength`: the [gallery](gallery.md) has them.",
        block(SCENE),
    ]
    for control in CONTROLS:
        shown = f"![{control.title.lower()}](pictures/controls/{control.name}.jpg)"
        parts += [f"## {control.title}", control.said, shown, block(control.lines())]
    return "\n\n".join([*parts, OTHERS]) + "\n"


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    made(WORK / "table.sh", SCENE, [WORK / "table", ROOT / FIT])
    place = ROOT / "docs" / "pictures" / "controls"
    place.mkdir(exist_ok=True)
    for control in CONTROLS:
        image.write(place / f"{control.name}.jpg", picture(control), quality=88)
    (ROOT / "docs" / "controls.md").write_text(page())


if __name__ == "__main__":
    main()

"""A walk through splats as one HTML file that opens from disk, offline, in any browser with WebGL 2.

Everything is embedded: splats and their colours as base64 (see `packing`), the poster as a data: URI, style and scripts
in the page. Its Content-Security-Policy forbids its browser to fetch anything.

    drag                 turn around what the ride looks at; look around where it looks at nothing, or by the button
    shift- or right-drag, two fingers    move aside, up and down
    wheel, pinch         nearer and farther
    W A S D, Q E         walk, down and up, faster with shift;  ↑ ↓ walk, ← → turn;  space plays and pauses the ride
    slider               from the photographs' colours to the painting's; with several paintings, a list of them

The address may ask for a picture: #frame=K&mix=0.5&paint=J shows frame K of the ride (from 0; a fraction lies between
frames) through its camera, paint J (from 1) mixed in, and neither bar nor ride until somebody touches something. In a
window of the camera's shape it is the camera's very picture. In a wider one the height of its field of view is kept, in
a narrower one the field widens by half of what its sides would lose. The attribute data-ready of <html> is there while
what is shown is what was asked for, all splats in order, in full resolution: while the view moves, a slow device may
draw fewer pixels.

The picture is 3D Gaussian Splatting's: 2D covariance + 0.3 px, α ≤ 0.99, α < 1/255 skipped. It is summed up back to
front in half floats, where the browser has some: 55 dB against our own rasteriser, and 46 to 52 dB in 8 bits.
"""

from __future__ import annotations

import base64
import io
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import atomic_path
from arf.media.image import fit_long_side, to_bytes
from arf.radiance.capture.cameras import Cameras
from arf.radiance.fields.splats.splats import Splats
from arf.radiance.share.page.packing import pack
from arf.radiance.share.page.ride import frames, pivot, reach

WEB = Path(__file__).with_name("web")
SCRIPTS = ("camera.js", "picture.js", "walk.js", "ride.js", "main.js")  # one scope, in this order
SHADERS = ("splat.vert", "splat.frag", "copy.vert", "copy.frag")
NEAR = 0.01  # scene units: nearer splats are not drawn
POSTER, QUALITY = 1280, 85  # longest side; JPEG's
UNSAID = {"Cc", "Cs", "Zl", "Zp"}  # kinds of characters that text on a page has no use for: a space instead
TURNED = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # and those that turn around what follows


@dataclass
class Paint:
    """Colours of the splats.

    Attributes:
        name: shown beside the slider.
        colors: float32 [N, 3] RGB of each splat, from wherever it is seen.
        background: [3] RGB behind all splats.
    """

    name: str
    colors: Float[Tensor, "n 3"]
    background: Float[Tensor, "3"]


def write_page(
    path: Path,
    splats: Splats,
    paints: list[Paint],
    ride: Cameras,
    fps: float,
    poster: Float[Tensor, "h w 3"],
    title: str,
    antialiased: bool = False,
) -> int:
    """Write the page, atomically.

    Args:
        splats: in the scene's frame, z up; of their colours nothing is shown.
        paints: the photographs' colours, then those of paintings; the slider goes from the former to one of the latter.
        ride: pinholes along a path.
        fps: frames of the ride per second.
        poster: what is shown before the splats are ready, the ride's first frame perhaps.
        antialiased: the splats were fitted with opacities × √(det Σ₂ / det(Σ₂ + 0.3 I)).

    Returns:
        The file's size in bytes.

    Raises:
        UserError: there is nothing to be seen, or `path` cannot be written; it then keeps what it held.
        ValueError: no paint, colours of another number of splats, no camera, or none of the pinhole kind.
    """
    if not paints or any(len(paint.colors) != len(splats) for paint in paints):
        raise ValueError("a page needs paints, each with one colour for every splat")
    if not len(ride) or ride.kind != "pinhole":
        raise ValueError("the ride of a page is made of pinhole cameras")
    packed = pack(splats, [paint.colors for paint in paints])
    if not len(packed):
        raise UserError(f"there is no splat to show on {path}: all are transparent or not finite; fit the scene again")
    away = reach(splats, ride)
    middle = pivot(ride, away)
    scene = {
        "count": len(packed),
        "logarithms": packed.logarithms,
        "ranges": packed.ranges,
        "backgrounds": [paint.background.tolist() for paint in paints],
        "frames": frames(ride),
        "fps": fps,
        "reach": away,
        "pivot": None if middle is None else middle.tolist(),
        "near": NEAR,
        "antialiased": antialiased,
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_read("page.html.j2")).generate(
        title=_said(title),
        names=[_said(paint.name) for paint in paints],
        poster=_poster(poster),
        rim="rgb({}, {}, {})".format(*to_bytes(poster[:, [0, -1]].mean((0, 1), keepdim=True))[0, 0].tolist()),
        scene=Markup(json.dumps(scene, allow_nan=False)),  # numbers alone: nothing that could end the script
        blocks=(Markup(base64.b64encode(block).decode("ascii")) for block in packed.blocks()),
        style=Markup(_read("page.css")),
        shaders={name: Markup(_read(name)) for name in SHADERS},
        sorter=Markup(_read("sorter.js")),
        script=Markup("\n".join(map(_read, SCRIPTS))),
    )
    with atomic_path(path) as temporary:
        _write(temporary, page)
        return temporary.stat().st_size


def _write(path: Path, parts: Iterator[str]) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(parts)


def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _said(text: str) -> str:
    """Somebody's words, on one line and in letters that a page can hold; the template escapes them."""
    kinds, directions = unicodedata.category, unicodedata.bidirectional
    return "".join(" " if kinds(letter) in UNSAID or directions(letter) in TURNED else letter for letter in text)


def _poster(picture: Float[Tensor, "h w 3"]) -> str:
    buffer = io.BytesIO()
    smaller = fit_long_side(picture, POSTER) if max(picture.shape) > POSTER else picture
    Image.fromarray(to_bytes(smaller).numpy()).save(buffer, format="JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

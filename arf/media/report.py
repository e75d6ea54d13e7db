"""A run's pictures, videos, curves and figures as one HTML file that asks for nothing from elsewhere.

Everything is embedded: pictures and videos as data: URIs, curves as inline SVG, style and script in the page. The page
forbids its browser, by a Content-Security-Policy, to fetch anything. The same sections give the same bytes.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jaxtyping import Float
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from arf.errors import UserError
from arf.jobs.files import atomic_path, cannot_read
from arf.media import image

TEMPLATE = Path(__file__).with_name("report.html.j2")
NUMBER = re.compile(r"(-?\d+(\.\d+)?( %)?)?")  # as text; or a number that is not there
ROW = 4  # pictures beside each other at most
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}  # what is embedded byte for byte
COLORS = {"#010101": "var(--accent)", "#020202": "var(--quiet)", "#030303": "var(--rule)"}  # in a plot: in the page
LINE, TEXT, GRID = COLORS


@dataclass(frozen=True)
class Picture:
    """A picture: a file or a tensor in [0, 1]. A small one is scaled up smoothly, or with hard edges if `pixelated`.

    PNG and JPEG files go in byte for byte, with whatever their metadata says; other formats as PNG.
    """

    source: str | Path | Float[Tensor, "h w 3"]
    caption: str = ""
    pixelated: bool = False


@dataclass(frozen=True)
class Video:
    """An mp4 file, byte for byte. It plays by itself, silent and in a loop."""

    source: str | Path
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures beside each other, of one height in every row."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Table:
    """Rows of one length; each row's first cell names it. Columns of numbers, also as text, are set to the right."""

    rows: Sequence[Sequence[object]]
    header: Sequence[object] = ()
    caption: str = ""


@dataclass(frozen=True)
class Curves:
    """Figures over steps, one small plot for each name.

    Args:
        points: rows as `arf.jobs.runs.Curves` keeps them, {"step": 10, "loss": 0.3}; a row may lack a name.
        names: what to plot, in this order; by default every name of the first row.
        log: a logarithmic scale; values that are not positive are left out.
        caption: of all plots together.
    """

    points: Sequence[Mapping[str, float]]
    names: Sequence[str] = ()
    log: bool = False
    caption: str = ""


@dataclass(frozen=True)
class Commands:
    """Lines for a shell, each with a button that copies it; lines that begin with # are remarks."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Link:
    """A way to a file beside the report, by its name."""

    name: str
    text: str


Part = Picture | Video | Gallery | Table | Curves | Commands | Link


@dataclass(frozen=True)
class Section:
    """A heading (or none), text (blank lines part paragraphs) and what is shown below it."""

    heading: str = ""
    text: str = ""
    parts: Sequence[Part] = ()


def write_report(path: str | Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the page, atomically.

    Args:
        path: the HTML file.
        title: of the page.
        lead: a sentence or two below the title.
        sections: what follows, in order.

    Raises:
        UserError: a picture or video is missing, unreadable or of a kind that no browser shows, or `path` cannot be
            written. `path` then keeps what it held.
        ValueError: a tensor is no finite [H, W, 3] picture, rows of a table differ in length, or a curve has no points.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        lead=lead,
        sections=[
            {
                "heading": section.heading,
                "paragraphs": [p for p in re.split(r"\n\s*\n", section.text) if p.strip()],
                "parts": [_prepare(part) for part in section.parts],
            }
            for section in sections
        ],
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace", newline="\n")  # a file name may be no UTF-8


def _prepare(part: Part) -> dict[str, Any]:
    """What the template needs to know of a part."""
    match part:
        case Picture():
            return {"kind": "picture", **_picture(part)}
        case Video():
            return {"kind": "video", "uri": _video(Path(part.source)), "caption": part.caption}
        case Gallery():
            return {"kind": "gallery", "rows": _rows([_picture(picture) for picture in part.pictures])}
        case Table():
            return {"kind": "table", **_table(part)}
        case Curves():
            return {"kind": "curves", "plots": _plots(part), "caption": part.caption}
        case Commands():
            return {"kind": "commands", "lines": part.lines}
        case Link():
            return {"kind": "link", "target": quote(part.name), "text": part.text}
    raise TypeError(f"a section holds parts of a report, not {type(part).__name__}")


def _picture(picture: Picture) -> dict[str, Any]:
    if isinstance(picture.source, Tensor):
        uri, shape = _png(picture.source), picture.source.shape
    else:
        pixels = image.read(picture.source)  # also proves that it is whole
        content = Path(picture.source).read_bytes()
        media = next((media for start, media in SIGNATURES.items() if content.startswith(start)), None)
        uri, shape = _data_uri(content, media) if media else _png(pixels), pixels.shape
    height, width = shape[:2]
    return {
        "uri": uri,
        "width": width,
        "height": height,
        "aspect": f"{width / height:.4g}",
        "caption": picture.caption,
        "pixelated": picture.pixelated,
    }


def _png(picture: Float[Tensor, "h w 3"]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image.to_bytes(picture).numpy()).save(buffer, format="PNG")
    return _data_uri(buffer.getvalue(), "image/png")


def _video(path: Path) -> str:
    if refusal := cannot_read(path, "video"):
        raise refusal
    content = path.read_bytes()
    if content[4:8] != b"ftyp":
        raise UserError(f"{path} is not an mp4 video; convert it to H.264 in mp4")
    return _data_uri(content, "video/mp4")


def _data_uri(content: bytes, media: str) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"


def _rows(pictures: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of nearly one length, none longer than ROW: 5 pictures are 3, and 2 beside room for one of their aspect."""
    columns = math.ceil(len(pictures) / max(1, math.ceil(len(pictures) / ROW)))
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), max(1, columns))]
    return [{"pictures": row, "missing": columns - len(row), "aspect": row[-1]["aspect"]} for row in rows]


def _table(table: Table) -> dict[str, Any]:
    lengths = {len(row) for row in [*table.rows, *([table.header] if table.header else [])]}
    if len(lengths) > 1:
        raise ValueError(f"the rows of a table have one length, got {sorted(lengths)}")
    columns = range(max(lengths, default=0))
    return {
        "rows": [[_cell(value) for value in row] for row in table.rows],
        "header": [_cell(value) for value in table.header],
        "numeric": [all(_is_number(row[column]) for row in table.rows) for column in columns],
        "caption": table.caption,
    }


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return bool(NUMBER.fullmatch(value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else str(value)


def _plots(curves: Curves) -> list[dict[str, Any]]:
    names = curves.names or [name for name in (curves.points[0] if curves.points else ()) if name != "step"]
    plots = []
    for name in names:
        points = [(row["step"], float(row[name])) for row in curves.points if math.isfinite(row.get(name, math.nan))]
        if curves.log:
            points = [(step, value) for step, value in points if value > 0]
        if not points:
            raise ValueError(f"no points of {name} to draw")
        first, last = points[0][1], points[-1][1]
        plots.append({"name": name, "first": _cell(first), "last": _cell(last), "svg": _svg(points, curves.log)})
    return plots


def _svg(points: Sequence[tuple[float, float]], log: bool) -> Markup:
    """A plot without words of its caller's, as inline SVG in the page's colours and font."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(4.0, 2.2), layout="constrained", facecolor="none")
    canvas = FigureCanvasSVG(figure)
    axes = figure.subplots()
    axes.set_facecolor("none")
    marker = "o" if len(points) == 1 else ""
    axes.plot(*zip(*points, strict=True), color=LINE, linewidth=1.4, marker=marker, clip_on=False)  # a clip needs an id
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8, clip_on=False)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=TEXT, pad=6, which="both")
    axes.set_xlabel("step", color=TEXT, fontsize=9, loc="right")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.margins(x=0.01)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": "arf", "svg.fonttype": "none"}):  # the font is then the page's
        canvas.print_svg(buffer, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]  # the XML prologue has no place in HTML, nor have these:
    svg = re.sub(r'<defs>\s*<style.*?</defs>| xmlns(:\w+)?="[^"]*"| (width|height)="[\d.]+pt"', "", svg, flags=re.S)
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)  # text_1, of which every plot has one
    svg = re.sub("|".join(COLORS), lambda match: COLORS[match[0]], svg)
    return Markup(svg)

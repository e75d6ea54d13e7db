"""What quality.py has measured: kept in a file, written as a page, shown as sheets and loops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from PIL import Image

from arf.jobs.files import read_json, write_json

ONE_BY_ONE = "one by one"
LIFTED = "lifted"
ORDER = ["ours", "gram", "knn", "paper", LIFTED, ONE_BY_ONE]  # of rows; others come after them
FIGURES = {
    "short_rmse": "short RMSE", "long_rmse": "long RMSE", "nnfm": "NNFM", "gram": "Gram", "color": "colour",
    "structure": "structure", "content": "photographs",
}  # fmt: skip
COST = {"seconds": "seconds", "peak": "GiB"}
DIGITS = {"short_rmse": 4, "long_rmse": 4, "seconds": 0, "peak": 2}  # three of others
ABOUT_LIFTED = "\n* *lifted* is `arf lift --with adain`: the same method's pictures of the photographs, made one scene."
FRAMES, LOOPED = 24, 3  # of a loop: how many, and of how many paintings
WIDTH, SMALL = 240, 160  # of a picture on the sheet, and in motion
ABOUT = """# Results

Written by `scripts/benchmarks/quality.py`, whose first lines say how it is called.

{where}.

What the figures are: [evaluate.md](evaluate.md); smaller is better. Of each capture there is one field, fitted at all
defaults, which every method paints; means are over its paintings.

* Styles are judged by the compact encoder, by which all paint but paper and one by one: see evaluate.md.
* *paper* is the published recipe (`configs/arf-paper.yaml`) as its authors have it, but with VGG-19 for VGG-16: at half
  of the photographs, and with a content weight of 0.001 where they are forward-facing, 0.005 elsewhere. Ours is at 384
  pixels (512 with CUDA), or at all of a smaller photograph's.{lifted}
* *one by one* is `arf adain` of the unstylised frames of the path, all {length} of them; others' seconds are those of a
  painting, without a film.
* Seconds are means of the paintings that were made while the machine had nothing else to do."""
LENGTH = 120  # frames of the default path


@dataclass
class Table:
    """What has been measured, in a file that grows.

    Attributes:
        cells: figures by "capture/painting/method"; "capture" alone has those of the unstylised field.
    """

    file: Path
    cells: dict[str, dict[str, Any]]

    @classmethod
    def open(cls, file: Path) -> Table:
        return cls(file, read_json(file) if file.exists() else {})

    def put(self, key: str, cell: dict[str, Any]) -> None:
        self.cells[key] = cell
        write_json(self.file, self.cells)
        print(f"{key}: " + "  ".join(f"{n} {v:.4g}" for n, v in cell.items() if isinstance(v, float)), flush=True)

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """Capture, painting and method of each painting, by methods."""
        found = [parts for parts in map(_parts, self.cells) if parts[2]]
        return sorted(found, key=lambda parts: (*ORDER, parts[2]).index(parts[2]))

    def of(self, capture: str, method: str) -> dict[str, dict[str, Any]]:
        """A method's cells of a capture, by their paintings."""
        return {p: self.cells[f"{c}/{p}/{m}"] for c, p, m in self.keys if (c, m) == (capture, method)}


def results(table: Table, pictures: Path) -> str:
    """The page.

    Args:
        pictures: the folder of those that it can show.
    """
    captures, paintings, methods = (list(dict.fromkeys(names)) for names in zip(*table.keys, strict=True))
    cells = [cell for cell in table.cells.values() if "commit" in cell]
    commits = {
        cell["machine"]: sorted({c["commit"] for c in cells if c["machine"] == cell["machine"]}) for cell in cells
    }
    where = "; ".join(f"{machine}, painted by arf at {', '.join(found)}" for machine, found in commits.items())
    flags = {m: table.cells[f"{c}/{p}/{m}"]["flags"] for c, p, m in table.keys}
    parts = [ABOUT.format(where=where, length=LENGTH, lifted=ABOUT_LIFTED * (LIFTED in methods))]
    parts += [_lines([["method", "flags of `arf stylize`"], *([m, f"`{f}`"] for m, f in flags.items() if f)])]
    for capture in captures:
        parts += [f"## {capture}", _lines(_means(table, capture, methods))]
        shown = {
            ".jpg": "the paintings in their order, a row for each method",
            ".webp": "ours; frames one by one below",
        }
        for suffix, said in shown.items():
            if (pictures / f"results-{capture}{suffix}").exists():
                parts += [f"![{said}](pictures/results-{capture}{suffix})"]
    parts += ["## Where a rival is better than ours", "Of how many paintings a figure is smaller."]
    parts += [_lines(_better(table, captures, methods)), "## Every painting"]
    for capture in captures:
        for painting in paintings:
            found = {m: table.of(capture, m).get(painting) for m in methods}
            rows = [[m, *_said(cell)] for m, cell in found.items() if cell]
            parts += [f"### {capture}, {painting}", _lines([_head(), *rows])] if rows else []
    return "\n\n".join(parts) + "\n"


def _parts(key: str) -> tuple[str, str, str]:
    capture, painting, method, *_ = [*key.split("/"), "", ""]
    return capture, painting, method


def _head() -> list[str]:
    return ["method", *FIGURES.values(), *COST.values()]


def _means(table: Table, capture: str, methods: list[str]) -> list[list[str]]:
    rows = [["method", "paintings", *_head()[1:]], ["unstylised", "", *_said(table.cells.get(capture, {}))]]
    for method in methods:
        if cells := list(table.of(capture, method).values()):
            known = {n: [cell[n] for cell in cells if n in cell] for n in (*FIGURES, *COST)}
            rows.append([method, str(len(cells)), *_said({n: mean(found) for n, found in known.items() if found})])
    return rows


def _said(cell: dict[str, Any]) -> list[str]:
    return [f"{cell[n]:.{DIGITS.get(n, 3)}f}" if n in cell else "" for n in (*FIGURES, *COST)]


def _better(table: Table, captures: list[str], methods: list[str]) -> list[list[str]]:
    """How often, of the paintings of a capture, a method's figure is smaller than ours."""
    rows = [["capture", "method", *FIGURES.values()]]
    for capture in captures:
        ours = table.of(capture, "ours")
        for method in methods:
            pairs = [(ours[p], theirs) for p, theirs in table.of(capture, method).items() if p in ours]
            if method != "ours" and pairs:
                both = {n: [(a[n], b[n]) for a, b in pairs if n in a and n in b] for n in FIGURES}
                counts = [f"{sum(b < a for a, b in found)} of {len(found)}" if found else "" for found in both.values()]
                rows.append([capture, method, *counts])
    return rows


def _lines(rows: list[list[str]]) -> str:
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


# --- pictures ---------------------------------------------------------------------------------------------------------


def show(table: Table, capture: str, work: Path, to: Path) -> None:
    """A sheet (.jpg): a frame of every painting, a row for each method that has all of them; and a loop (.webp): some
    paintings of ours, and of single frames. Where a film is not in the work folder, what there is stays as it is."""
    paintings = list(dict.fromkeys(p for c, p, _ in table.keys if c == capture))
    methods = [m for m in dict.fromkeys(m for *_, m in table.keys) if set(table.of(capture, m)) == set(paintings)]
    films: dict[str, list[list[Path]]] = {method: [] for method in methods}
    for method in methods:
        for painting in paintings:
            place = work / capture / painting / method.replace(" ", "-")
            frames = sorted((place / ("frames" if method == ONE_BY_ONE else "film")).glob("*.png"))
            if not frames:
                print(f"no pictures of {capture}: none in {place}", flush=True)
                return
            films[method].append([frames[k * len(frames) // FRAMES] for k in range(FRAMES)])
    _grid([[film[FRAMES // 2] for film in row] for row in films.values()], WIDTH).save(f"{to}.jpg", quality=85)
    moving = [row[:LOOPED] for method, row in films.items() if method in ("ours", ONE_BY_ONE)]
    if moving:
        first, *rest = (_grid([[film[k] for film in row] for row in moving], SMALL) for k in range(FRAMES))
        first.save(f"{to}.webp", save_all=True, append_images=rest, duration=80, loop=0, quality=60)


def _grid(rows: list[list[Path]], width: int) -> Image.Image:
    """Pictures of one shape in rows, each so wide."""
    pictures = [[Image.open(file).convert("RGB") for file in row] for row in rows]
    height = round(width * pictures[0][0].height / pictures[0][0].width)
    whole = Image.new("RGB", (width * len(rows[0]), height * len(rows)))
    for y, row in enumerate(pictures):
        for x, picture in enumerate(row):
            whole.paste(picture.resize((width, height), Image.LANCZOS), (x * width, y * height))
    return whole

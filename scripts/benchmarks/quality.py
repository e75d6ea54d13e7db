"""Captures x paintings x methods in one harness: the tables of docs/results.md.

    python scripts/benchmarks/quality.py --captures DIR ... --paintings FILE ... --vgg FILE [--work DIR] [--methods ...]
    python scripts/benchmarks/quality.py --methods ours --also "ten epochs=--epochs 10" --also "size 256=--size 256"

Each capture is fitted once, at all defaults. Every method paints that same field, at all defaults too, and
`arf evaluate` measures it along one path. "paper" is configs/arf-paper.yaml, with VGG-19 for VGG-16, at half of the
photographs; "one by one" is `arf adain` of the unstylised frames, which knows nothing of the place. Minutes for each
painting and method on two cores.

Written are RESULTS (docs/results.md by default), its figures beside it (.json), and for each capture a sheet and a
loop: of our own still life in the folder pictures/ there, of others in the work folder. What the figures hold is not
measured again: a call that was stopped goes on, and one with another method adds its rows. Take a cell out, or the file
away, to have it measured anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from common import DEVICE, ROOT
from PIL import Image

from arf import bundled
from arf.errors import UserError
from arf.jobs.files import read_json, write_json
from arf.jobs.runs import Run
from arf.radiance.opening import capture_of

METHODS = {"ours": [], "gram": ["--loss", "gram"], "knn": ["--loss", "knn"]}
ALL = (*METHODS, "paper", "one by one")
FIGURES = {
    "short_rmse": "short RMSE", "long_rmse": "long RMSE", "nnfm": "NNFM", "gram": "Gram", "color": "colour",
    "structure": "structure",
}  # fmt: skip
COST = {"seconds": "seconds", "peak": "GiB"}
FRAMES, WIDTH, SMALL = 24, 240, 160  # of a loop: how many; pixels across, and in a moving picture
LOOPED = 3  # paintings that are shown in motion
PAIRS, PHOTOGRAPHS = 12, 6  # that are measured


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
        self.cells[key] = {**cell, "commit": commit(), "machine": machine()}
        write_json(self.file, self.cells)
        print(f"{key}: " + "  ".join(f"{n} {v:.4g}" for n, v in cell.items() if isinstance(v, float)), flush=True)


def commit() -> str:
    call = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(call, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def machine() -> str:
    place = torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.machine()
    return f"{place}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def called(*arguments: object) -> dict[str, Any]:
    """What a command of arf's tells, the seconds that it took and the GiB that it needed."""
    start = time.time()
    call = [sys.executable, "-m", "arf", *map(str, arguments), "--json"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(call)} failed")
    return {**json.loads(told), "seconds": time.time() - start, "peak": usage.ru_maxrss / 2**20}


def fit(data: Path, fits: Path) -> Run:
    """The newest fit of a capture, or a new one; in a process of its own, since memory that this one had would count as
    its children's."""
    try:
        return Run.open(fits / data.name, "fit")
    except UserError:
        return Run.open(called("fit", data, "--output", fits)["run"], "fit")


def painted(fitted: Run, painting: Path, method: str, place: Path, vgg: Path) -> dict[str, Any]:
    """Paint by a method, where that has not been done: what its command told, and the cost."""
    note = place / "cost.json"
    if note.exists():
        return read_json(note)
    shutil.rmtree(place, ignore_errors=True)
    cost = _paint(fitted, painting, method, place, vgg)
    write_json(note, cost)
    return cost


def _paint(fitted: Run, painting: Path, method: str, place: Path, vgg: Path) -> dict[str, Any]:
    if method == "one by one":
        frames = place.parent.parent / "unstylised"
        if not frames.exists():
            height, width = capture_of(fitted).train.within(384).size(0)
            size = ["--width", width, "--height", height]
            called("render", fitted.path, *size, "--output", frames.with_suffix(".mp4"), "--overwrite")
        return called("adain", *sorted(frames.glob("*.png")), "--style", painting, "--output", place / "frames")
    flags = METHODS.get(method, [])
    if method == "paper":
        half = max(capture_of(fitted).train.size(0)) // 2
        flags = ["--config", ROOT / "configs" / "arf-paper.yaml", "--encoder", "vgg19", "--encoder-weights", vgg]
        flags += ["--size", half]
    return called("stylize", fitted.path, "--style", painting, "--output", place, *flags)


def loop(run: str, place: Path) -> None:
    """Frames of a painting, small, for the sheet and the loop."""
    called("render", run, "--frames", FRAMES, "--width", WIDTH, "--output", place / "loop.mp4", "--overwrite")


def measured(table: Table, fitted: Run, capture: str, painting: Path, method: str, work: Path, vgg: Path) -> None:
    key = f"{capture}/{painting.stem}/{method}"
    if key in table.cells:
        return
    place = work / capture / painting.stem / method.replace(" ", "-")
    cost = painted(fitted, painting, method, place, vgg)
    if method == "one by one":
        what = [fitted.path, "--frames", place / "frames", "--style", painting]
    else:
        what = [cost["run"]]
        loop(cost["run"], place)
    what += ["--pairs", PAIRS, "--photographs", PHOTOGRAPHS, "--output", place / "evaluation.html", "--overwrite"]
    plain, *_, film = called("evaluate", *what)["films"]
    table.put(capture, {name: plain[name] for name in FIGURES if name in ("short_rmse", "long_rmse", "structure")})
    figures = {name: film[name] for name in FIGURES}
    table.put(key, {**figures, **{name: float(cost[name]) for name in COST}})


# --- what is written --------------------------------------------------------------------------------------------------


def results(table: Table, captures: list[str], paintings: list[str], methods: list[str], call: str) -> str:
    of = {f"{cell['machine']}, commit {cell['commit']}" for cell in table.cells.values()}
    parts = [
        "# Results",
        f"Written by `{call}`, on {'; '.join(sorted(of))}. Means over {', '.join(paintings)}. What the figures are: "
        '[evaluate.md](evaluate.md); smaller is better. "paper" is the published recipe on the same field '
        '(`configs/arf-paper.yaml`), "one by one" `arf adain` of single frames.',
    ]
    for capture in captures:
        parts += [f"## {capture}", _lines(_summary(table, capture, paintings, methods))]
        if capture == bundled.capture().name:
            parts += [f"![{', '.join(methods)}, in rows](pictures/results-{capture}.jpg)"]
            parts += [f"![ours, and frames painted one by one, in motion](pictures/results-{capture}.webp)"]
    parts += ["## Where a rival is better than ours", _worse(table, captures, paintings, methods)]
    parts += ["## Every painting"]
    for capture in captures:
        for painting in paintings:
            cells = {m: table.cells.get(f"{capture}/{painting}/{m}") for m in methods}
            rows = [[m, *_said(cell)] for m, cell in cells.items() if cell]
            parts += [f"### {capture}, {painting}", _lines([["method", *FIGURES.values(), *COST.values()], *rows])]
    return "\n\n".join(parts) + "\n"


def _summary(table: Table, capture: str, paintings: list[str], methods: list[str]) -> list[list[str]]:
    plain = table.cells.get(capture, {})
    rows = [["method", *FIGURES.values(), *COST.values()], ["unstylised", *_said(plain)]]
    for method in methods:
        cells = [table.cells[k] for p in paintings if (k := f"{capture}/{p}/{method}") in table.cells]
        if cells:
            means = {n: mean(cell[n] for cell in cells) for n in (*FIGURES, *COST)}
            rows.append([method, *_said(means)])
    return rows


def _said(cell: dict[str, float]) -> list[str]:
    digits = {"short_rmse": 4, "long_rmse": 4, "seconds": 0, "peak": 2}
    return [f"{cell[n]:.{digits.get(n, 3)}f}" if n in cell else "" for n in (*FIGURES, *COST)]


def _worse(table: Table, captures: list[str], paintings: list[str], methods: list[str]) -> str:
    """How often, of the paintings of a capture, a method's figure is smaller than ours."""
    rows = [["capture", "method", *FIGURES.values()]]
    for capture in captures:
        for method in methods:
            pairs = [
                (table.cells[f"{capture}/{p}/ours"], table.cells[f"{capture}/{p}/{method}"])
                for p in paintings
                if {f"{capture}/{p}/ours", f"{capture}/{p}/{method}"} <= table.cells.keys()
            ]
            if method != "ours" and pairs:
                counts = [sum(theirs[n] < ours[n] for ours, theirs in pairs) for n in FIGURES]
                rows.append([capture, method, *(f"{count} of {len(pairs)}" for count in counts)])
    return _lines(rows)


def _lines(rows: list[list[str]]) -> str:
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def frames_of(place: Path) -> list[Path]:
    """Frames of a painting, small, for the sheet and the loop; none where it is not there."""
    if (place / "frames").exists():
        theirs = sorted((place / "frames").glob("*.png"))
        return [theirs[k * len(theirs) // FRAMES] for k in range(FRAMES)]
    return sorted((place / "loop").glob("*.png"))


def show(capture: str, paintings: list[str], methods: list[str], work: Path, to: Path) -> None:
    """A sheet (.jpg) with a frame of every painting, a row for each method; and a loop (.webp) of the first method's
    and, if they are there, of single frames'."""
    films = {m: [frames_of(work / capture / p / m.replace(" ", "-")) for p in paintings] for m in methods}
    films = {m: row for m, row in films.items() if all(row)}
    if films:
        _grid([[film[FRAMES // 2] for film in row] for row in films.values()], WIDTH).save(f"{to}.jpg", quality=85)
        moving = [row[:LOOPED] for m, row in films.items() if m in (methods[0], "one by one")]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captures", type=Path, nargs="+", default=[bundled.capture()])
    parser.add_argument(
        "--paintings", type=Path, nargs="+", default=[bundled.style("strokes"), bundled.style("mosaic")]
    )
    parser.add_argument("--methods", nargs="+", choices=ALL, default=list(ALL))
    parser.add_argument("--vgg", type=Path, help="weights of VGG-19, for paper; torchvision's when left out")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "quality")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results.md")
    parser.add_argument("--also", action="append", default=[], help="NAME=FLAGS of arf stylize: another method")
    options = parser.parse_args()
    also = dict(method.split("=", 1) for method in options.also)
    METHODS.update({name: shlex.split(flags) for name, flags in also.items()})
    methods = [*(m for m in ALL if m in options.methods), *also]
    options.work.mkdir(parents=True, exist_ok=True)
    table = Table.open(options.results.with_suffix(".json"))
    names = [capture.name for capture in options.captures]
    for painting in options.paintings:  # all captures in one painting first: what is there says something early
        for data in options.captures:
            fitted = fit(data, options.work / "fits")
            for method in methods:
                measured(table, fitted, data.name, painting, method, options.work, options.vgg)
    paintings = [painting.stem for painting in options.paintings]
    pictures = options.results.parent / "pictures"
    for name in names:  # what is shown of others' photographs stays with the work
        ours = name == bundled.capture().name and pictures.exists()
        show(name, paintings, methods, options.work, pictures / f"results-{name}" if ours else options.work / name)
    call = f"python scripts/benchmarks/quality.py --captures {' '.join(names)} --paintings {' '.join(paintings)}"
    options.results.write_text(results(table, names, paintings, methods, call))


if __name__ == "__main__":
    main()

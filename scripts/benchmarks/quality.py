"""Captures x paintings x methods in one harness: the tables of docs/results.md.

    python scripts/benchmarks/quality.py --captures DIR ... --paintings FILE ... --vgg FILE [--work DIR] [--methods ...]
    python scripts/benchmarks/quality.py --methods ours --also "ten epochs=--epochs 10" --also "small=--size 256"

Each capture is fitted once, at all defaults. Every method paints that same field, at all defaults too, and
`arf evaluate` measures it along one path. "paper" is configs/arf-paper.yaml with VGG-19 for VGG-16, at half of the
photographs; "one by one" is `arf adain` of the unstylised frames, which knows nothing of the place, and "lifted" what
`arf lift` makes of the same method's pictures of the views; --also NAME=FLAGS is `arf stylize` with other flags.
Minutes for each painting and method on two cores. --untimed leaves the seconds out, where other work goes on beside.

Written are RESULTS (docs/results.md by default), its figures beside it (.json), and for each capture a sheet and a
loop: of our own still life in the folder pictures/ there, of others in the work folder. The page has all that the
figures hold. What they hold is not measured again, and what the work folder holds not painted: a call that was stopped
goes on, and one with another method, capture or painting adds its rows. Take a cell out, and its folder, to have it
made anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from common import DEVICE, ROOT
from quality_page import COST, FIGURES, LIFTED, ONE_BY_ONE, Table, results, show

from arf import bundled
from arf.errors import UserError
from arf.jobs.files import read_json, write_json
from arf.jobs.runs import Run
from arf.radiance.opening import capture_of

METHODS = {
    "ours": "",
    "gram": "--loss gram",
    "knn": "--loss knn",
    "paper": "--config configs/arf-paper.yaml --encoder vgg19",
    LIFTED: "--with adain",
    ONE_BY_ONE: "",
}
NAME = re.compile(r"(\w+(?: \w+)*)=(.*)")  # of another method, and its flags
SIDE = 384  # of frames that are measured: what `arf evaluate` takes
WIDTH = 240  # of frames that are shown
PAIRS, PHOTOGRAPHS = 12, 6  # that are measured


@dataclass
class Bench:
    """Where things are.

    Attributes:
        methods: flags of `arf stylize`, or of `arf lift`, by names.
        vgg: weights of VGG-19; torchvision's where None.
        timed: whether seconds are kept.
    """

    table: Table
    work: Path
    vgg: Path | None = None
    methods: dict[str, str] = field(default_factory=lambda: dict(METHODS))
    timed: bool = True

    def cell(self, data: Path, painting: Path, method: str) -> None:
        """Paint and measure, where the table has not got it."""
        key, flags = f"{data.name}/{painting.stem}/{method}", self.methods[method]
        if self.table.cells.get(key, {}).get("flags") == flags:
            return
        place = self.work / data.name / painting.stem / method.replace(" ", "-")
        fitted = self.fit(data)
        cost = self.painted(fitted, painting, method, place)
        if method == ONE_BY_ONE:
            what = [fitted.path, "--frames", place / "frames", "--style", painting]
        else:
            what = [cost["run"]]
            called("render", cost["run"], "--width", WIDTH, "--output", place / "film.mp4", "--overwrite")
        what += ["--pairs", PAIRS, "--photographs", PHOTOGRAPHS, "--output", place / "evaluation.html", "--overwrite"]
        plain, *_, film = called("evaluate", *what)["films"]
        of_place = ("short_rmse", "long_rmse", "structure", "content")
        self.table.put(data.name, {name: plain[name] for name in of_place if plain[name] is not None})
        figures = {name: film[name] for name in FIGURES if film[name] is not None}
        about = {**{name: cost[name] for name in ("flags", "commit", "machine")}, "measured": commit()}
        costs = {name: float(cost[name]) for name in COST if self.timed or name != "seconds"}
        self.table.put(key, {**figures, **costs, **about})

    def fit(self, data: Path) -> Run:
        """The newest fit of a capture, or a new one; in a process of its own, since memory that this one had would
        count as its children's."""
        fits = self.work / "fits" / data.name
        try:
            return Run.open(fits, "fit")
        except UserError:
            return Run.open(called("fit", data, "--output", fits)["run"], "fit")

    def painted(self, fitted: Run, painting: Path, method: str, place: Path) -> dict[str, Any]:
        """Paint by a method, where that has not been done: what its command told, the cost, and of which code."""
        note, flags = place / "cost.json", self.methods[method]
        if note.exists() and (cost := read_json(note))["flags"] == flags:
            return cost
        shutil.rmtree(place, ignore_errors=True)
        if method == ONE_BY_ONE:
            cost = called("adain", *self.unstylised(fitted, place.parent.parent), "--style", painting,
                          "--output", place / "frames")  # fmt: skip
        else:
            words = [*shlex.split(flags), *(self.of_paper(fitted) if method == "paper" else ())]
            command = "lift" if method == LIFTED else "stylize"
            cost = called(command, fitted.path, "--style", painting, "--output", place, *words)
        cost.update(flags=flags, commit=commit(), machine=machine())
        write_json(note, cost)
        return cost

    def of_paper(self, fitted: Run) -> list[object]:
        """What the published recipe leaves to the capture."""
        capture = capture_of(fitted)
        content = () if capture.kind == "forward" else ("--content-weight", 0.005)
        weights = ("--encoder-weights", self.vgg) if self.vgg else ()
        return ["--size", max(capture.train.size(0)) // 2, *content, *weights]

    def unstylised(self, fitted: Run, place: Path) -> list[Path]:
        """Frames of the default path without paint."""
        film = place / "unstylised.mp4"
        if not film.exists():  # written when all frames are
            shutil.rmtree(film.with_suffix(""), ignore_errors=True)
            height, width = capture_of(fitted).train.within(SIDE).size(0)
            called("render", fitted.path, "--width", width, "--height", height, "--output", film)
        return sorted(film.with_suffix("").glob("*.png"))


def called(*arguments: object) -> dict[str, Any]:
    """What a command of arf's tells, the seconds that it took and the GiB that it needed."""
    start = time.time()
    call = [sys.executable, "-m", "arf", *map(str, arguments), "--json"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(call)} failed")
    return {**json.loads(told), "seconds": time.time() - start, "peak": usage.ru_maxrss / 2**20}


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, cwd=ROOT).stdout.strip()

    changed = git("status", "--porcelain", "--", "arf", "configs")
    return git("rev-parse", "--short", "HEAD") + (" and more" if changed else "")


def machine() -> str:
    place = torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.machine()
    return f"{place}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def another(text: str) -> tuple[str, str]:
    """NAME=FLAGS."""
    found = NAME.fullmatch(text)
    if not found or found[1] in METHODS:
        raise argparse.ArgumentTypeError(f"{text!r}: NAME=FLAGS, and a NAME of words that is none of ours")
    return found[1], found[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captures", type=Path, nargs="+", default=[bundled.capture()])
    paintings = [bundled.style("strokes"), bundled.style("mosaic")]
    parser.add_argument("--paintings", type=Path, nargs="+", default=paintings)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--also", type=another, action="append", default=[], help="NAME=FLAGS of arf stylize")
    parser.add_argument("--vgg", type=Path, help="weights of VGG-19, for paper; torchvision's when left out")
    parser.add_argument("--untimed", action="store_true", help="leave the seconds out")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "quality")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results.md")
    options = parser.parse_args()
    captures, paintings = ([path.resolve() for path in paths] for paths in (options.captures, options.paintings))
    for names in ([path.name for path in captures], [path.stem for path in paintings]):
        if len(set(names)) < len(names):
            parser.error(f"two of one name among {', '.join(names)}")
    work, results_md = options.work.resolve(), options.results.resolve()
    work.mkdir(parents=True, exist_ok=True)
    table = Table.open(results_md.with_suffix(".json"))
    methods, vgg = {**METHODS, **dict(options.also)}, options.vgg and options.vgg.resolve()
    bench = Bench(table, work, vgg, methods, not options.untimed)
    for painting in paintings:  # all captures in one painting first: what is there says something early
        for data in captures:
            for method in [*options.methods, *(name for name, _ in options.also)]:
                bench.cell(data, painting, method)
    pictures = results_md.parent / "pictures"
    for data in captures:  # what is shown of others' photographs stays with the work
        ours = data == bundled.capture().resolve() and pictures.is_dir()
        show(table, data.name, work, pictures / f"results-{data.name}" if ours else work / data.name)
    results_md.write_text(results(table, pictures))


if __name__ == "__main__":
    main()

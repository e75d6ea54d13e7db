"""Kill every long command at random moments, go on, and compare with a job that nobody disturbed.

A job is a child of this process that has torch already, so that a kill falls into the work rather than into imports.
Called by scripts/soak.sh, which writes a report, and, for a few kills, by test_killed.py.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a child that is forked from a process with threads would wait for them for ever
HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE))
CAPTURE, STYLES = HOUSE / "data" / "still-life", HOUSE / "data" / "styles"
PHOTO, STYLE = CAPTURE / "images" / "frame_0000.png", STYLES / "mosaic.jpg"
LONGEST = 300  # seconds that a job may take
TRIES = 4
FIT = f"fit {CAPTURE} --downscale 4 --resolutions 24 --stages --samples 20000 --device cpu --save-every 7"
TRAIN = f"--content {CAPTURE / 'images'} --batch 2 --crop 64 --load 72 --workers 0 --device cpu --save-every 3"
PICTURE = "--size 96 --device cpu --preview-every 5 --trace {out}/trace.csv --output {out}/made.png"
WAYS = {  # signals one after the other, each to a job that goes on, or that is still there
    "KILL": [signal.SIGKILL], "TERM": [signal.SIGTERM], "INT": [signal.SIGINT],
    "KILL, KILL": [signal.SIGKILL, signal.SIGKILL], "TERM, TERM": [signal.SIGTERM, signal.SIGTERM],
}  # fmt: skip


@dataclass
class Command:
    """A command that takes long.

    Attributes:
        line: {out} is a folder of its own, {fit}, {splats} and {film} inputs.
        results: what is compared byte for byte, below {out}.
        kind: how it goes on: "run" by --resume RUN, "state" by --resume where there is a state, "anew" by itself.
    """

    line: str
    results: tuple[str, ...]
    kind: str = "anew"

    def go_on(self, out: Path) -> str | None:
        """The line that goes on; None where it has finished."""
        if self.kind == "run" and (infos := list(out.glob("*/*/*/arf.json"))):
            finished = json.loads(infos[0].read_text())["finished"]
            return None if finished else f"{' '.join(self.line.split()[:1])} --resume {infos[0].parent}"
        if self.kind == "state" and [*out.glob("*.resume.safetensors"), *out.glob("*.parts/state.safetensors")]:
            return f"{self.line} --resume"
        if any((out / f"made.{suffix}").exists() for suffix in ("png", "mp4", "ply", "html")):  # which are written last
            return None
        return f"{self.line} --overwrite" if self.kind == "state" else self.line  # a trace may be there


VIEWS = "--views 8 --view-size 128"
RUN, PICTURES = ("*/*/*/model.safetensors", "*/*/*/losses.csv"), ("*.png", "trace.csv")
COMMANDS = {
    "fit": Command(f"{FIT} --steps 120 --output {{out}}", RUN, "run"),
    "stylize": Command(
        f"stylize {{fit}} --style {STYLE} --steps 40 --layers relu2_1 --device cpu --save-every 7 --output {{out}}",
        (*RUN, "*/*/*/preview.png"), "run",
    ),
    "stylize splats": Command(
        f"stylize {{splats}} {VIEWS} --style {STYLE} --steps 40 --layers relu2_1 --device cpu --save-every 7 "
        "--output {out}", (*RUN, "*/*/*/preview.png"), "run",
    ),
    "gatys": Command(f"gatys {PHOTO} --style {STYLE} --steps 40 {PICTURE}", PICTURES, "state"),
    "texture": Command(f"texture {STYLE} --steps 40 {PICTURE}", PICTURES, "state"),
    "invert": Command(f"invert {PHOTO} --steps 60 {PICTURE}", PICTURES, "state"),
    "invert all": Command(f"invert {PHOTO} --layer all --steps 12 {PICTURE}", ("*.png", "trace*.csv"), "state"),
    "dream": Command(f"dream {PHOTO} --steps 12 {PICTURE}", PICTURES, "state"),
    "video": Command(
        "video {film} --style mosaic --smooth --save-every 4 --batch 2 --device cpu --output {out}/made.mp4",
        ("made.mp4",), "state",
    ),
    "train adain": Command(f"train adain --style {STYLES} --steps 8 {TRAIN} --output {{out}}", RUN, "run"),
    "train fast": Command(f"train fast --style {STYLE} --steps 12 {TRAIN} --output {{out}}", RUN, "run"),
    "train many": Command(f"train many --style {STYLES} --steps 8 {TRAIN} --output {{out}}", RUN, "run"),
    "train cast": Command(f"train cast --style {STYLES} --steps 8 {TRAIN} --output {{out}}", RUN, "run"),
    "render": Command(
        "render {fit} --path orbit --frames 40 --overwrite --output {out}/made.mp4", ("made.mp4", "made/*.png")
    ),
    "export": Command("export {fit} --points 20000 --output {out}/made.ply", ("made.ply",)),
    "export splats": Command(f"export {{splats}} {VIEWS} --output {{out}}/made.ply", ("made.ply",)),
    "export html": Command(f"export {{splats}} {VIEWS} --output {{out}}/made.html", ("made.html",)),
    "demo": Command(f"demo --style {STYLE} --device cpu --output {{out}}", (*RUN, "film.mp4", "sheet.png")),
}  # fmt: skip


@dataclass
class Tally:
    """What became of one command's jobs."""

    kills: int = 0
    resumed: int = 0
    identical: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def start(line: str, log: Path) -> int:
    """A job of its own process; its number."""
    if number := os.fork():
        return number
    code = 70
    try:
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from arf.cli import main

        code = main(line.split())
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:  # before main
        code = 128 + signal.SIGINT
    finally:
        if sys.exc_info()[0]:
            sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(code)


def ended(number: int, seconds: float) -> int | None:
    """The exit code of a job, negative for a signal; None where it still works after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(number, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.002)


def whole(line: str, log: Path) -> float:
    """Run a job to its end; the seconds that it took."""
    began = time.monotonic()
    number = start(line, log)
    if code := ended(number, LONGEST):
        raise RuntimeError(f"exit code {code}: {_last(log)}")
    if code is None:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        raise RuntimeError(f"no end after {LONGEST} s")
    return time.monotonic() - began


def results(out: Path, patterns: tuple[str, ...]) -> dict[str, bytes]:
    """What is compared: files by their name, less the names of runs and the seconds that steps took."""
    files = {path for pattern in patterns for path in out.glob(pattern)}
    return {"/".join(p for p in f.relative_to(out).parts if not p[:4].isdigit()): _plain(f) for f in sorted(files)}


def _plain(file: Path) -> bytes:
    if file.suffix != ".csv":
        return file.read_bytes()
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    return json.dumps([{k: v for k, v in row.items() if k != "seconds"} for row in rows]).encode()


def litter(out: Path) -> list[str]:
    """Temporary files, locks, previews and states that a finished job leaves."""
    return [p.name for p in out.rglob("*") if p.name.startswith(".") or ".parts" in p.name or "resume" in p.name]


def disturb(command: Command, names: dict, signals: list[int], rng: random.Random, lasts: float, tally: Tally) -> None:
    """Signals at random moments, then the way to the end."""
    out = Path(names["out"])
    line: str | None = command.line.format(**names)
    patient = [s for s in signals if s != signal.SIGKILL]  # both come to the same job
    for signals_of_one in [patient] if patient else [[s] for s in signals]:
        number = start(line, out.with_suffix(".log"))
        code = ended(number, rng.uniform(0, lasts))
        for i, sent in enumerate(signals_of_one):
            if code is None:
                tally.kills += 1
                os.kill(number, sent)
                code = ended(number, 0.6 if i + 1 < len(signals_of_one) else LONGEST)
        if code not in (0, *(-s for s in signals), *(128 + s for s in patient)):
            tally.faults.append(f"exit code {code}: {_last(out.with_suffix('.log'))}")
        if (line := command.go_on(out)) is None:
            return
        line = line.format(**names)
    tally.resumed += 1
    whole(line, out.with_suffix(".log"))


def soak(name: str, work: Path, names: dict, ways: dict[str, int], seed: int) -> Tally:
    """All kills of one command."""
    command, tally, rng, began = COMMANDS[name], Tally(), random.Random(f"{name} {seed}"), time.monotonic()
    undisturbed, out = work / "undisturbed", work / "out"
    _empty(undisturbed)
    lasts = whole(command.line.format(**names, out=undisturbed), work / "undisturbed.log")
    wanted = results(undisturbed, command.results)
    for way, count in ways.items():
        for k in range(count):
            kills = tally.kills
            try:
                for _ in range(TRIES):  # one that came too late is no kill
                    _empty(out)
                    disturb(command, {**names, "out": out}, WAYS[way], rng, lasts, tally)
                    if tally.kills > kills:
                        break
            except RuntimeError as error:
                tally.faults.append(f"{way} {k}: {error}")
                continue
            made = results(out, command.results)
            if differing := sorted(n for n in {*wanted, *made} if wanted.get(n) != made.get(n)):
                tally.faults.append(f"{way} {k}: other {', '.join(differing)}")
            elif left := litter(out):
                tally.faults.append(f"{way} {k}: left {', '.join(left)}")
            else:
                tally.identical += 1
    tally.seconds = time.monotonic() - began
    return tally


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def prepared(work: Path) -> dict[str, str]:
    """Inputs that commands share, and a demo that takes seconds."""
    import numpy as np
    import torch.utils.tensorboard  # noqa: F401 - what takes long to import, and is to be there before the first kill
    from matplotlib.backends import backend_agg  # noqa: F401

    import arf.radiance.brought.scene
    import arf.radiance.paint.stylize
    import arf.training.train  # noqa: F401
    from arf.media import image
    from arf.media.video import Writer
    from arf.radiance import settings

    fit, paint = settings.DemoSettings.fit, settings.DemoSettings.stylize
    rough = {"steps": 60, "downscale": 4, "resolutions": (24,), "stages": (), "samples": 20_000, "save_every": 7}
    settings.DemoSettings.fit = lambda self: replace(fit(self), **rough)
    settings.DemoSettings.stylize = lambda self: replace(paint(self), steps=20, layers=("relu2_1",), save_every=7)
    settings.DemoSettings.render = lambda self: settings.RenderSettings(
        "orbit", frames=8, fps=8, width=96, device="cpu"
    )
    whole(f"{FIT} --steps 60 --output {work / 'given'}", work / "given.log")
    photographs = [np.asarray(image.read(file, (72, 96))) for file in sorted((CAPTURE / "images").iterdir())[:20]]
    with Writer(work / "film.mp4", 10) as writer:
        for photograph in photographs:
            writer.write(photograph)
    write_splats(work / "splats.ply")
    given = {"fit": next((work / "given").glob("*/*/*")), "film": work / "film.mp4", "splats": work / "splats.ply"}
    return {name: str(path) for name, path in given.items()}


def write_splats(path: Path) -> None:
    """A ball of splats of all colours."""
    import torch
    from torch.nn.functional import normalize

    from arf.radiance.fields.splats.files.ply import write_ply
    from arf.radiance.fields.splats.splats import Splats

    count, g = 20_000, torch.Generator().manual_seed(0)
    means, quats = (normalize(torch.randn(count, size, generator=g), dim=1) for size in (3, 4))
    scales = 0.03 * torch.rand(count, 3, generator=g) + 0.001
    colors, opacities = torch.rand(count, 3, generator=g), torch.rand(count, generator=g)
    write_ply(path, Splats(means, scales, quats, opacities, colors, torch.zeros(count, 0, 3)))


def report(tallies: dict[str, Tally]) -> Iterator[str]:
    """A table in Markdown, and what went wrong."""
    yield "| command | kills | gone on with | identical results | faults | seconds |\n|---|---|---|---|---|---|"
    for name, t in tallies.items():
        yield f"| {name} | {t.kills} | {t.resumed} | {t.identical} | {len(t.faults)} | {t.seconds:.0f} |"
    total = [sum(getattr(t, n) for t in tallies.values()) for n in ("kills", "resumed", "identical", "seconds")]
    faults = [f"* {name}: {fault}" for name, t in tallies.items() for fault in t.faults]
    yield f"| all | {total[0]} | {total[1]} | {total[2]} | {len(faults)} | {total[3]:.0f} |\n"
    yield from faults


def _last(log: Path) -> str:
    return (log.read_text(errors="replace").splitlines() or [""])[-1]


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(description="Kill long commands at random moments, go on, compare.")
    parser.add_argument("--commands", nargs="*", default=list(COMMANDS), choices=list(COMMANDS))
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--kills", type=int, default=8, help="jobs of each by SIGKILL, a quarter otherwise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="Markdown file to write")
    asked = parser.parse_args(arguments)
    ways = {way: asked.kills if way == "KILL" else max(1, asked.kills // 4) for way in asked.ways}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        names, tallies = prepared(work), {}
        for name in asked.commands:
            tallies[name] = soak(name, work, names, ways, asked.seed)
            if asked.report:
                asked.report.write_text("\n".join(report(tallies)) + "\n")
    say("\n".join(report(tallies)))
    return 1 if any(tally.faults for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

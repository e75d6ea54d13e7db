"""Run directories: what was asked, what came out, and what a killed job needs to go on.

A run is `outputs/<scene>/<method>/<time>/`, nerfstudio's layout but in UTC, with two kinds of files of our own:

* `arf.json`: kind of run, settings, versions, metrics, and whether the job has finished;
* `*.safetensors`: tensors. `model.safetensors` is the result, `resume.safetensors` the state of an unfinished job.

Reading a run executes nothing. Every file is written whole or not at all.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

import arf
from arf.errors import UserError
from arf.jobs.door import admit
from arf.jobs.files import atomic_path, cannot_read, cannot_write, plain, read_json, write_json
from arf.jobs.locks import owned
from arf.jobs.machine import starved
from arf.jobs.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FORMAT = 1  # of arf.json and the tensors; raised when an older arf can no longer read what we write
INFO = "arf.json"
LOSSES = "losses.csv"


class Run:
    """One run directory.

    Attributes:
        path: the directory.
        info: what arf.json holds; change it and call `save_info`.
    """

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path, self.info = path, info

    @classmethod
    def create(cls, output: Path, scene: str, method: str, **info: Any) -> Run:
        """Make a new directory below `output`, named by the time. `info` goes into arf.json.

        The name comes after those of all runs there, also where the clock was set back, or another's is ahead. What is
        no UTF-8 in the scene's name becomes a line below.

        Raises:
            UserError: it cannot be written, or is of a name that TensorBoard cannot.
        """
        check_text(Path(output))
        base, path = Path(output) / re.sub(r"[\ud800-\udfff]", "_", scene) / method, None
        while path is None:
            stamp, number = datetime.now(timezone.utc).strftime("%Y-%m-%d_%H%M%S"), 1
            latest, among, _ = max(map(_order, Path(output).glob("*/*/*")), default=("", 0, ""))
            if latest >= stamp:
                stamp, number = latest, among + 1
            path = _made(base / (f"{stamp}-{number:02d}" if number > 1 else stamp))
        run = cls.at(path, scene, method, **info)
        run.save_info()
        return run

    @classmethod
    def at(cls, path: Path, scene: str, method: str, **info: Any) -> Run:
        """An unfinished run in a directory of one's own; nothing is written yet."""
        versions = {"format": FORMAT, "arf": arf.__version__}
        return cls(path, {**versions, "method": method, "scene": scene, **info, "finished": False})

    @classmethod
    def open(cls, path: str | Path, kind: str | None = None, finished: bool = True) -> Run:
        """Open a run, or the newest one of that kind anywhere below `path`.

        Raises:
            UserError: there is none, it is of another kind or version, or its job has not finished.
        """
        path = Path(path)
        if not path.exists():
            raise UserError(f"no run at {path}: there is no such folder")
        runs = cls.below(path)
        wanted = [r for r in runs if kind in (None, r.kind) and (r.info["finished"] or not finished)]
        if wanted:
            return wanted[-1]
        if not runs:
            raise UserError(f"{path} is no run and holds none: it has no {INFO}; give the folder of a run")
        if any(kind in (None, r.kind) for r in runs):
            raise UserError(f"{runs[-1].path} has not finished; continue it with --resume {runs[-1].path}")
        raise UserError(f"{path} holds a {runs[-1].kind} run, but a {kind} run is needed")

    @classmethod
    def below(cls, path: Path) -> list[Run]:
        """The run at `path`, or all runs anywhere below it, oldest first."""
        found = [path / INFO] if (path / INFO).is_file() else path.glob(f"**/{INFO}")
        return [cls(file.parent, _read_info(file)) for file in sorted(found, key=lambda p: _order(p.parent))]

    def is_of(self, **info: Any) -> bool:
        """Whether these are the run's own values (settings, paths, ...)."""
        return all(self.info.get(name) == plain(value) for name, value in info.items())

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def kind(self) -> str:
        """What the run made: "fit", "stylize", "training"."""
        return self.info["kind"]

    @property
    def folder(self) -> Path:
        """Where what is made of it goes."""
        return self.path

    @property
    def files(self) -> list[Path]:
        """Those that are read to open it."""
        return [self.path / name for name in (INFO, "model.safetensors", "config.yml")]

    def save_info(self) -> None:
        self.info = plain(self.info)  # as a reader of the file has it
        write_json(self.path / INFO, self.info)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within the block the run belongs to this job alone.

        Raises:
            UserError: another process is at work on it, or has finished it.
            KeyboardInterrupt: one of the block, with what there is to go on with; so does a UserError where memory or
                open files run out.
        """
        with owned(self.path, self.path / ".lock", "wait for it"):
            if (self.path / INFO).exists() and _read_info(self.path / INFO)["finished"]:
                raise UserError(f"{self.path} has finished meanwhile; there is nothing to resume")
            try:
                yield
            except KeyboardInterrupt as stop:
                raise KeyboardInterrupt(self._to_go_on()) from stop
            except Exception as error:
                if short := starved(error):
                    raise type(short)(f"{short}{self._to_go_on()}") from error
                raise

    def _to_go_on(self) -> str:
        if self.info["finished"]:
            return f"; {self.path} has finished"
        if self.has("resume"):
            return f"; what was done is saved, go on with --resume {self.path}"
        return f"; nothing is saved yet, begin it again with --resume {self.path}"

    def finish(self, **info: Any) -> None:
        """Mark the job as done and drop what only a resumption needed."""
        self.info.update(info, finished=True)
        self.save_info()
        (self.path / "resume.safetensors").unlink(missing_ok=True)

    def save(self, name: str, tensors: dict[str, Tensor], **notes: Any) -> None:
        """Write `<name>.safetensors`; `notes` (JSON) travel in the same file, so that the two cannot disagree."""
        save_tensors(self.path / f"{name}.safetensors", tensors, **notes)

    def has(self, name: str) -> bool:
        return (self.path / f"{name}.safetensors").exists()

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and notes of `<name>.safetensors`.

        Raises:
            UserError: missing, cut short or corrupt.
        """
        path = self.path / f"{name}.safetensors"
        if not path.exists():
            raise UserError(f"{self.path} has no {path.name}; make the run again")
        return load_tensors(path, "make the run again")

    def curves(self) -> list[dict[str, float]]:
        """The figures of a finished job, as `Curves` wrote them.

        Raises:
            UserError: they are not there, or are no table of numbers.
        """
        path = self.path / LOSSES
        if refusal := cannot_read(path, "table of losses"):
            raise refusal
        try:
            with open(path, newline="") as file:
                return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        except (ValueError, TypeError, csv.Error) as error:  # among them a row that is too short or too long
            raise UserError(f"{path} is no table of numbers; make the run again") from error


def _made(path: Path) -> Path | None:
    """A directory that is new, None where there is one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except OSError as error:
        if isinstance(error, FileExistsError) and path.is_dir():  # another job was quicker
            return None
        raise cannot_write(path, error) from error
    return path


def _order(path: Path) -> tuple[str, int, str]:
    """What runs are sorted by: the time in the name and the number of those that share it. Other names come first."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d_\d{6})(?:-(\d{1,9}))?", path.name)
    return (found[1], int(found[2] or 1), "") if found else ("", 0, path.name)


def _read_info(path: Path) -> dict[str, Any]:
    info = read_json(path)
    head = admit(_Head, info, path, "make the run again")
    if head.format != FORMAT:
        raise UserError(
            f"{path.parent} was written by arf {head.arf} (run format {head.format}), this is arf "
            f"{arf.__version__} (format {FORMAT}); open it with that version, or make the run again"
        )
    return info


@dataclass
class _Head:
    """What arf.json says of every kind of run."""

    format: int
    kind: str
    finished: bool
    arf: str = "?"
    method: str = "?"
    scene: str = "?"


def check_rows(rows: list[dict[str, int | float]], step: int, where: object, remedy: str) -> None:
    """Raises UserError where the figures of an unfinished job, after so many steps, are no table for `Curves`."""
    steps = [row.get("step", 0) for row in rows]
    sound = all(row.keys() == rows[0].keys() and all(abs(x) < 1e300 for x in row.values()) for row in rows)
    if not sound or not all(a < b for a, b in pairwise([0, *steps, step + 1])):
        raise UserError(f"{where}: curves: they are no table of figures up to step {step}; {remedy}")


def check_text(path: Path) -> None:
    """Raises UserError where a name is no UTF-8: below it TensorBoard writes nothing."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"cannot write {path}: its name is no UTF-8; choose another folder") from error


class Curves:
    """Loss curves of a job: TensorBoard events while it runs, losses.csv and losses.png when it is drawn.

    Args:
        rows: the rows so far, a list that grows here and that a resumed job brings back.

    Raises:
        UserError: the folder is of a name that TensorBoard cannot write.
    """

    def __init__(self, folder: Path, rows: list[dict[str, float]]) -> None:
        check_text(folder)
        self.folder, self.rows = folder, rows
        self._again = int(rows[-1]["step"]) + 1 if rows else None  # the first step that may be there from before

    @cached_property
    def events(self) -> SummaryWriter:
        """Opened with the first figures: it imports slowly."""
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=self._again)

    def __enter__(self) -> Curves:
        return self

    def __exit__(self, *_: object) -> None:
        if "events" in vars(self):
            self.events.close()

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Append one step's figures.

        Raises:
            UserError: the rows that were brought back have others.
        """
        row = {"step": step, **figures}
        if self.rows and self.rows[0].keys() != row.keys():
            before = ", ".join(self.rows[0])
            raise UserError(f"{self.folder}: its figures so far are {before}, and now {', '.join(row)}; begin anew")
        self.rows.append(row)
        for name, value in figures.items():
            self.events.add_scalar(name, value, step)

    def draw(self) -> None:
        """Write losses.csv and losses.png."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        if not self.rows:
            return
        names = list(self.rows[0])
        with atomic_path(self.folder / LOSSES) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        wide, high = 3.2 * (len(names) - 1), 2.6
        figure = Figure(figsize=(wide, high))
        figure.subplots_adjust(0.65 / wide, 0.5 / high, 1 - 0.15 / wide, 1 - 0.35 / high, wspace=1 / 3)
        FigureCanvasAgg(figure)
        steps = [row["step"] for row in self.rows]
        for axes, name in zip(figure.subplots(1, len(names) - 1, squeeze=False)[0], names[1:], strict=True):
            axes.plot(steps, [row[name] for row in self.rows], linewidth=0.8)
            axes.set(title=name, xlabel="step")
        with atomic_path(self.folder / "losses.png") as temporary:
            figure.savefig(temporary, dpi=110)

"""J13, J38, J39: no disk, no memory, no open files, no reader. One line, and the last good state stays."""

from __future__ import annotations

import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import judge as judges
import pytest
import torch
from commands import refused, run
from good import CALLS, OF_PAINTED_SPLATS, OF_SPLATS, ending
from splatfiles import columns, some, write_rows

from arf import cli
from arf.jobs.runs import Run
from arf.jobs.tensors import load_tensors

LONG = {
    "fit": CALLS["fit"].replace("--steps 2", "--steps 12 --save-every 5"),
    "stylize": CALLS["stylize"].replace("--steps 1", "--steps 12 --save-every 5"),
    "train": CALLS["train"].replace("--steps 1", "--steps 12 --save-every 5"),
}


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    """No file may become larger, as on a full disk or beyond a quota."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", LONG)
def test_a_disk_that_fills_leaves_the_last_good_state(name, good, tmp_path, capsys, monkeypatch):
    line = LONG[name].format(**asdict(good), out=tmp_path)
    save, states = Run.save, []

    def full_at_the_second(self, what, *more, **notes):
        states.append(what)
        with no_more_than(1000 if len(states) > 1 else 10**9):
            save(self, what, *more, **notes)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", full_at_the_second)
        said = refused(capsys, *line.split())
    stopped = Run.open(tmp_path, finished=False)
    assert f"cannot write {stopped.path / 'resume.safetensors'}: File too large; write to a disk without" in said
    assert stopped.load("resume")[1]["step"] == 5
    assert not list(tmp_path.rglob(".*"))
    assert run(capsys, name, "--resume", stopped.path)[0] == 0


@pytest.mark.parametrize("name", LONG)
def test_memory_that_runs_out_leaves_the_last_good_state(name, good, tmp_path, capsys, monkeypatch):
    line = LONG[name].format(**asdict(good), out=tmp_path)
    save, states = Run.save, []

    def greedy(self, what, *more, **notes):
        save(self, what, *more, **notes)
        states.append(torch.empty(2**50))

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", greedy)
        said = refused(capsys, *line.split())
    stopped = Run.open(tmp_path, finished=False)
    assert "out of memory: 4194304.00 GiB were asked for, " in said
    assert f" GiB are free; what was done is saved, go on with --resume {stopped.path}; a " in said
    assert stopped.load("resume")[1]["step"] == 5
    assert run(capsys, name, "--resume", stopped.path)[0] == 0


@pytest.mark.parametrize("name", ["gatys", "texture", "invert", "dream"])
@pytest.mark.parametrize("full", [True, False])
def test_a_picture_goes_on_from_its_last_good_state(name, full, good, tmp_path, capsys, monkeypatch):
    line = re.sub(r"--steps \d+", "--steps 6 --preview-every 2", CALLS[name]).format(**asdict(good), out=tmp_path)
    module = "arf.transfer.engine.job.save_tensors"
    states = []

    def second(*arguments, **notes):
        from arf.jobs.tensors import save_tensors

        states.append(notes["step"])
        if len(states) == 2 and not full:
            torch.empty(2**50)
        with no_more_than(100 if len(states) > 1 else 10**9):
            save_tensors(*arguments, **notes)

    with monkeypatch.context() as patch:
        patch.setattr(module, second)
        said = refused(capsys, *line.split())
    assert ("File too large" if full else "a smaller --size") in said
    assert load_tensors(tmp_path / "o.resume.safetensors", "")[1]["step"] == 2
    assert run(capsys, *line.split(), "--resume")[0] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.png"]


@pytest.mark.parametrize("name", ending(OF_PAINTED_SPLATS))
def test_a_full_disk_leaves_nothing_of_what_is_written_in_one_go(name, good, tmp_path, capsys):
    line = ending(OF_PAINTED_SPLATS)[name].format(**asdict(good), out=tmp_path)
    with no_more_than(100):
        said = refused(capsys, *line.split())
    assert re.search(r"cannot write .*(File too large; write to a disk without|written; free some space)", said)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("call", [
    OF_SPLATS["stylize"], OF_SPLATS["render"], OF_SPLATS["export"], OF_PAINTED_SPLATS["render"],
    OF_PAINTED_SPLATS["export html"], OF_PAINTED_SPLATS["export points"],
])  # fmt: skip
def test_no_memory_for_splats(call, good, tmp_path, capsys, monkeypatch):
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("arf.radiance.fields.splats.field.project", no_memory)
    said = refused(capsys, *call.format(**asdict(good), out=tmp_path).split())
    assert "out of memory: " in said
    assert said.rstrip().endswith(cli.LESS[call.split()[0]])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", OF_SPLATS)
def test_splats_that_memory_does_not_hold(name, good, tmp_path, capsys):
    """J29: refused by what their header says, and unread."""
    path = write_rows(tmp_path / "x.ply", columns(some(40, 15)), count=50_000_000)
    os.truncate(path, 2 * 10**10)  # which takes no room on the disk
    line = OF_SPLATS[name].replace("{splats}", str(path)).format(**asdict(good), out=tmp_path)
    with judges.guarded():
        said = refused(capsys, *line.split())
    assert f"{path} with 50000000 splats takes 11 GiB, and " in said
    assert list(tmp_path.iterdir()) == [path]


def test_what_takes_less_memory_is_a_flag_of_the_command(capsys):
    for name, remedy in cli.LESS.items():
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        told = capsys.readouterr().out
        assert re.findall(r"--[a-z-]+", remedy)
        assert all(flag in told for flag in re.findall(r"--[a-z-]+", remedy)), name
    with_work = set(cli.COMMANDS) - {"view", "onnx"}
    assert set(cli.LESS) == with_work


def test_a_picture_that_memory_does_not_hold_is_not_called_damaged(good, tmp_path, capsys, monkeypatch):
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", no_memory)
    for name in ("gatys", "adain", "fit", "train"):
        said = refused(capsys, *CALLS[name].format(**asdict(good), out=tmp_path / name).split())
        assert "out of memory: " in said
        assert "corrupt" not in said
        assert "cannot be read" not in said


ADAIN = f"{shlex.quote(sys.executable)} -m arf {CALLS['adain']}"
GATYS, VIDEO, HELP = (ADAIN.replace(CALLS["adain"], call) for call in (CALLS["gatys"], CALLS["video"], "--help"))
IN_A_SHELL = {
    "a full disk for the output": (f"{ADAIN} > /dev/full", 2, "cannot write the output: No space left on device; what"),
    "nobody reads the output": (f"set -o pipefail; {ADAIN} | true", 141, ""),
    "nobody reads the help": (f"set -o pipefail; {HELP} | true", 141, ""),
    "no output": (f"{ADAIN} >&-", 0, ""),
    "no errors": (f"{GATYS} --steps 0 2>&-", 2, ""),
    "few open files": (f"ulimit -n 6; {VIDEO}", 2, "no more files can be opened (6 at a time)"),
    "too little memory to begin": (f"ulimit -d 400000; {ADAIN}", 2, "arf takes 0.79 GiB to begin"),
    "too little memory": (f"ulimit -d 850000; {GATYS.replace('--size 48', '--size 2000')}", 2, "--size "),
}


@pytest.mark.parametrize("what", IN_A_SHELL)
def test_in_a_shell(what, good, tmp_path):
    line, code, said = IN_A_SHELL[what]
    line = line.format(**{k: shlex.quote(str(v)) for k, v in asdict(good).items()}, out=tmp_path)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert done.stderr.count("\n") == (1 if said else 0), done.stderr
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_that_may_not_be_written_to_is_said_at_once(good, tmp_path, capsys, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    before = judges.tree(tmp_path)
    for name in ("fit", "stylize", "train", "gatys", "video", "render", "demo", "export"):
        said = refused(capsys, *CALLS[name].format(**asdict(good), out=tmp_path / "new").split())
        assert "Permission denied; choose a folder that you may write to" in said, name
    assert judges.tree(tmp_path) == before

"""Some of the same in processes of their own: what `main` does is the whole of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict

import judge as judges
import pytest
import spoil
from good import CALLS

LINES = {
    **{f"{name}: unknown flag": f"{call} --zzz" for name, call in CALLS.items()},
    "fit: a fifo for a capture": CALLS["fit"].replace("{capture}", "{fifo}"),
    "gatys: an escape in a name": CALLS["gatys"].replace("{photo}", "{escape}"),
}


@pytest.mark.parametrize("what", LINES)
def test_processes(what, good, at, tmp_path):
    out = spoil.folder(tmp_path / "out")
    escape = spoil.file(at, "hello", "a\x1b[31m\nb.png")
    names = {**asdict(good), "fifo": spoil.fifo(at / "fifo.safetensors"), "escape": escape, "out": out}
    words = [word.format(**names) for word in LINES[what].split(" ")]
    before = judges.tree(tmp_path, good.root)
    command = [sys.executable, "-m", "arf", *words]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=out, timeout=120)
    assert done.returncode == 2, done.stderr
    assert not judges.complaints(words, done.stderr), done.stderr
    assert done.stdout == ""
    assert judges.tree(tmp_path, good.root) == before

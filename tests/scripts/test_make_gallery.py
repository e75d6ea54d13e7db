"""The gallery's page is what its script writes, its pictures are there, and arf takes every command on it."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from arf import cli
from arf.cli.parsing import parse

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "make_gallery.py"))
COMMANDS = [
    *(command for commands in SCRIPT["SCENES"].values() for command in commands),
    *(command for painting in SCRIPT["PAINTINGS"] for command in painting.commands()),
]


def test_the_page_is_the_one_that_the_script_writes():
    assert (DOCS / "gallery.md").read_text() == SCRIPT["page"]()


def test_ten_pictures():
    pictures = re.findall(r"\]\((pictures/gallery/[^)]+)\)", SCRIPT["page"]())
    assert len(pictures) == 10
    assert {DOCS / picture for picture in pictures} == set((DOCS / "pictures" / "gallery").iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command):
    program, *words = shlex.split(command)
    if program == "arf":
        parse(cli.KINDS, words, "").settings.check()
    else:
        assert (ROOT / words[0]).is_file()
        known = (ROOT / words[0]).read_text()
        assert all(f'"{word}"' in known for word in words if word.startswith("--"))


def test_what_was_run_to_its_end_is_not_run_again(tmp_path, monkeypatch):
    made, called = SCRIPT["made"], []
    codes = iter([0, 3, 0, 0, 0])

    def run(words, cwd):
        called.append(words[-1])
        return SimpleNamespace(returncode=next(codes))

    monkeypatch.setattr("subprocess.run", run)
    note, left = tmp_path / "note", tmp_path / "left"
    with pytest.raises(SystemExit) as stop:
        made(note, ["arf a", "arf b"], [left])
    assert stop.value.code == 3
    left.mkdir()
    made(note, ["arf a", "arf b"], [left])
    assert not left.exists()
    made(note, ["arf a", "arf b"], [left])
    made(note, ["arf c"], [left])
    assert called == ["a", "b", "a", "b", "c"]

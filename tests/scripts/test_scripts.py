"""Every script starts: each Python file says what it takes, each shell file is of one piece, and names what exists."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
LIBRARIES = {"benchmarks/common.py", "benchmarks/quality_page.py"}  # imported by the others, like the package styles/
PROGRAMS = [path for path in sorted(SCRIPTS.rglob("*.py"))
            if path.parent.name != "styles" and path.relative_to(SCRIPTS).as_posix() not in LIBRARIES]  # fmt: skip
SHELL = sorted(SCRIPTS.rglob("*.sh"))


def name(path: Path) -> str:
    return path.relative_to(SCRIPTS).as_posix()


@pytest.mark.parametrize("path", PROGRAMS, ids=name)
def test_help(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.syspath_prepend(path.parent)  # as when it is run: where benchmarks find common.py
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code in (0, None)
    assert "usage" in capsys.readouterr().out.lower()


@pytest.mark.parametrize("path", SHELL, ids=name)
def test_shell_scripts_parse(path):
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize("path", SHELL, ids=name)
def test_shell_scripts_name_files_that_exist(path):
    """Presets, pictures, models and scripts of ours, and modules of arf in the Python that they hold."""
    text = path.read_text()
    for file in re.findall(r"(?:configs|data|scripts|arf)/[\w/.-]+\.(?:yaml|jpg|py|sh|safetensors)", text):
        assert (ROOT / file).is_file(), file
    for module, wanted in re.findall(r"^from (arf[\w.]*) import (\w+)", text, re.M):
        space: dict[str, object] = {}
        exec(f"from {module} import {wanted}", space)
        assert wanted in space


@pytest.mark.parametrize("path", sorted((SCRIPTS / "benchmarks").glob("*.py")), ids=name)
def test_benchmarks_do_without_nerfstudio(path):
    assert not re.search(r"^\s*(?:from|import) nerfstudio", path.read_text(), re.M)


def test_every_training_of_train_models_is_accepted(tmp_path, monkeypatch, capsys):
    """The script, run where it can overwrite nothing, with an arf that writes down its words; then arf with these."""
    stub, calls = tmp_path / "bin" / "arf", tmp_path / "calls"
    for folder in ("scripts", "bin", "made", "arf/networks/models"):
        (tmp_path / folder).mkdir(parents=True)
    stub.write_text(f'#!/bin/sh\necho "$*" >>{calls}\necho \'{{"run": "{tmp_path}/made"}}\'\n')
    stub.chmod(0o755)
    (tmp_path / "made" / "model.safetensors").write_text("made")
    script = shutil.copy(SCRIPTS / "train_models.sh", tmp_path / "scripts")
    where = {**os.environ, "PATH": f"{stub.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", script, "photos", "paintings"], check=True, env=where)
    models = {path.name for path in (ROOT / "arf" / "networks" / "models").iterdir()}
    assert {path.name for path in (tmp_path / "arf" / "networks" / "models").iterdir()} == models

    trained = []

    def train(method, content, style, settings, *_):
        settings.check(method)
        trained.append(method)

    monkeypatch.setattr("arf.training.train.train", train)
    monkeypatch.chdir(ROOT)
    for words in calls.read_text().splitlines():
        assert run(capsys, *words.split())[0] == 0, words
    assert trained == ["fast", "fast", "many", "many", "adain", "adain", "cast"]

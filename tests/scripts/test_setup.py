"""scripts/setup.sh installs what is missing, and only that. pip and uv just write down what they are told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = "bash", "cat", "cksum", "cp", "dirname", "mkdir"
PYTHON = """#!/usr/bin/env bash
set -eu
echo "$*" >>"$LOG"
case $* in
    *install*) [ ! -e broken ] ;;
    *venv*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && : >.venv/bin/activate ;;
esac
"""


@pytest.fixture(params=["pip", "uv"])
def checkout(tmp_path, request):
    """A checkout, and a PATH where `python3` or `uv` is one that pretends."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup.sh", tmp_path / "scripts")
    path = tmp_path / "path"
    path.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(shutil.which(tool))
    (path / "env").symlink_to("/usr/bin/env")
    fake = path / {"pip": "python3", "uv": "uv"}[request.param]
    fake.write_text(PYTHON)
    fake.chmod(0o755)
    return tmp_path


def installed(checkout: Path, extras: str = "", fails: bool = False) -> list[str]:
    """What is installed when a script asks for these extras."""
    log = checkout / "log"
    log.write_text("")
    script = f"set -eu; extras={extras}; . scripts/setup.sh"
    environment = {"PATH": str(checkout / "path"), "LOG": str(log)}
    done = subprocess.run(["bash", "-c", script], cwd=checkout, env=environment, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr
    lines = [line for line in log.read_text().splitlines() if " install " in f" {line} "]
    assert all(line.endswith("-c constraints.txt") for line in lines)
    return [line.split(" -e ")[1].split()[0] for line in lines]


def test_each_size_is_installed_once(checkout):
    assert installed(checkout) == ["."]
    assert installed(checkout) == []
    assert installed(checkout, "test") == [".[test]"]
    assert installed(checkout, "all,test") == [".[all,test]"]
    assert installed(checkout, "test") == installed(checkout) == []  # the larger one has it


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_what_changed_is_installed_again(checkout, name):
    assert installed(checkout, "all,test") == [".[all,test]"]
    with open(checkout / name, "a") as file:
        file.write("# changed\n")
    assert installed(checkout) == ["."]
    assert installed(checkout, "all,test") == [".[all,test]"]


def test_an_installation_that_failed_is_tried_again(checkout):
    (checkout / "broken").touch()
    assert installed(checkout, fails=True) == ["."]
    (checkout / "broken").unlink()
    assert installed(checkout) == ["."]
    assert installed(checkout) == []

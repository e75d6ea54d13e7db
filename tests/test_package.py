"""What is built from a checkout, what it is called, and that its command says its version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

import arf

ROOT = Path(__file__).resolve().parents[1]


def files(*folders: str) -> set[str]:
    """Names below the root of all files in folders of the checkout."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> ZipFile:
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    return ZipFile(next(builder.build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])))


def test_the_version_is_said_at_once():
    code = "import sys, arf.cli; sys.exit(arf.cli.main(['--version']) or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"arf {arf.__version__}\n", "")


def test_a_wheel_holds_the_package_its_data_and_the_presets(wheel):
    built = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert built == files("arf") | {f"arf/{name}" for name in files("configs", "data")}
    (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/METADATA"))
    for line in (f"Version: {arf.__version__}", "License-Expression: Apache-2.0 AND CC-BY-4.0", "License-File: NOTICE"):
        assert f"\n{line}\n" in metadata
    needed = re.findall(r"^Requires-Dist: (.*)", metadata, re.MULTILINE)
    assert not [line for line in needed if "nerfstudio" in line and "extra ==" not in line]
    assert not [line for line in needed if "@" in line]  # the index takes no package that needs a direct address


def test_a_source_package_holds_tests_docs_and_scripts(tmp_path):
    builder = pytest.importorskip("hatchling.builders.sdist").SdistBuilder(str(ROOT))
    with tarfile.open(next(builder.build(directory=str(tmp_path), versions=["standard"]))) as archive:
        built = {name.partition("/")[2] for name in archive.getnames()}
    folders = files("arf", "configs", "data", "docs", "scripts", "tests")
    assert built >= folders | {"LICENSE", "NOTICE", "README.md", "constraints.txt", "pyproject.toml"}


def test_what_is_installed_finds_its_data(wheel, tmp_path):
    wheel.extractall(tmp_path / "site")
    code = "from arf import bundled; print(bundled.capture(), bundled.style('mosaic'), bundled.presets())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert [Path(word).relative_to(tmp_path / "site" / "arf") for word in done.stdout.split()] == [
        Path("data/still-life"), Path("data/styles/mosaic.jpg"), Path("configs"),
    ]  # fmt: skip


def test_nothing_says_to_install_what_is_another_project_on_the_index():
    texts = {ROOT / name for name in files("arf", "docs", "scripts")} | {ROOT / "README.md", ROOT / "pyproject.toml"}
    said = re.compile(r"\barf\[[a-z]|pip install[^\n]*?[ '\"]arf\b")
    assert not [
        path for path in texts if path.suffix in {".py", ".md", ".sh", ".toml"} and said.search(path.read_text())
    ]

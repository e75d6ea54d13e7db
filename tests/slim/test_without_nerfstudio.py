"""Without nerfstudio all works but nerfacto and nerfstudio's own tools. CI runs this before it is installed, too."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from arf import bundled

HERE = Path(__file__).resolve().parent
PATHS = [HERE / "without_nerfstudio", HERE.parents[1]]
PLACE = """
fit {capture} --backbone voxel --steps 20 --resolutions 12 --stages --samples 4000 --downscale 4 --device cpu
evaluate outputs/still-life
stylize outputs/still-life --style {style} --steps 2 --device cpu
render outputs/still-life/arf --path orbit --frames 2 --width 32 --compare --device cpu
export outputs/still-life/arf --points 500 --output cloud.ply --device cpu
"""
PLANE = """
gatys {photo} --style {style} --size 32 --scales 1 --steps 2 --device cpu --output gatys.png
features {photo} --other {style} --size 32 --device cpu --output features.html
adain {photo} --style {style} --device cpu --output adain.png
fast {photo} --style mosaic --device cpu --output fast.png
"""
PROGRAM = """
import shlex, sys
from arf.cli import main
sys.exit(next((code for line in sys.argv[1:] if (code := main(shlex.split(line)))), 0))
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A Python that cannot import nerfstudio, in a folder of its own."""
    path = os.pathsep.join([*map(str, PATHS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def arf(folder: Path, commands: str) -> None:
    """Commands, a line each, one after the other in one process."""
    names = {"capture": bundled.capture(), "style": bundled.style("mosaic")}
    names["photo"] = names["capture"] / "images" / "frame_0000.png"
    quoted = {name: shlex.quote(str(path)) for name, path in names.items()}
    done = python(folder, "-c", PROGRAM, *commands.format(**quoted).strip().splitlines())
    assert done.returncode == 0, done.stderr


def test_nerfstudio_is_not_there(tmp_path):
    assert "ModuleNotFoundError" in python(tmp_path, "-c", "import nerfstudio.cameras").stderr


def test_a_place_is_fitted_repainted_filmed_and_exported(tmp_path):
    arf(tmp_path, PLACE)
    assert len(list(tmp_path.glob("outputs/still-life/arf/*/renders/orbit-compare.mp4"))) == 1
    assert (tmp_path / "cloud.ply").read_bytes().startswith(b"ply")


def test_pictures_are_painted(tmp_path):
    arf(tmp_path, PLANE)
    assert {path.name for path in tmp_path.iterdir()} == {"gatys.png", "features.html", "adain.png", "fast.png"}


def test_what_needs_it_says_so_in_one_line(tmp_path):
    asked = ["fit", str(bundled.capture()), "--backbone", "nerfacto", "--device", "cpu"]
    done = python(tmp_path, "-m", "arf", *asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("arf: ")
    assert done.stderr.count("\n") == 1
    assert "pip install nerfstudio" in done.stderr
    assert not list(tmp_path.iterdir())

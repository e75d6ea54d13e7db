"""The house: imports point downwards, one room knows nerfstudio, folders are small, and what is heavy waits."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[1] / "arf"
FILES = sorted(HOUSE.rglob("*.py"))
# A module belongs to the longest of these names that begins its own. It may import what stands on a line further up,
# and its own room; rooms of one line know nothing of each other.
LEVELS = """
arf arf.errors
arf.adam arf.bundled
arf.jobs
arf.media
arf.style arf.radiance.settings
arf.metrics arf.radiance.extras arf.radiance.capture arf.networks arf.transfer
arf.radiance.sight
arf.training arf.radiance.asked arf.radiance.records arf.radiance.fields
arf.radiance.evaluate.fidelity arf.radiance.operator arf.radiance.looks arf.radiance.paths
arf.radiance.fit arf.radiance.brought
arf.radiance.opening
arf.radiance.paint arf.radiance.film arf.radiance.share arf.radiance.evaluate
arf.radiance.viewer arf.radiance.demo
arf.nerfstudio
arf.cli
arf.__main__
"""
LEVEL = {room: level for level, line in enumerate(LEVELS.strip().splitlines()) for room in line.split()}
MOST = 12  # files of a folder


def module_of(path: Path) -> str:
    parts = path.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The room of a module, None where the table has none."""
    names = module.split(".")
    found = (".".join(names[:k]) for k in range(len(names), 0, -1))
    room = next((name for name in found if name in LEVEL), None)
    return room if room != "arf" or module == "arf" else None


@cache
def imports(path: Path) -> set[str]:
    """What a file imports, anywhere in it, but for type checkers alone."""
    return set(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots; write the whole name"
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if is_module(whole) else node.module


def is_module(name: str) -> bool:
    place = HOUSE.parent.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


@pytest.mark.parametrize(("source", "read"), [
    ("import a.b\nfrom arf import bundled", {"a.b", "arf.bundled"}),
    ("from arf.style.color import Affine\ndef f():\n    import c", {"arf.style.color", "c"}),
    ("if TYPE_CHECKING:\n    import d\nelse:\n    import e", {"e"}),
])  # fmt: skip
def test_imports_are_read(tmp_path, source, read):
    (tmp_path / "m.py").write_text(source)
    assert imports(tmp_path / "m.py") == read


def test_every_module_has_a_room():
    without = [module for module in map(module_of, FILES) if room_of(module) is None]
    assert without == ["arf.radiance"]  # a house of rooms


def test_only_its_room_imports_nerfstudio():
    users = {path for path in FILES if any(name.split(".")[0] == "nerfstudio" for name in imports(path))}
    assert users
    assert {path.relative_to(HOUSE).parts[0] for path in users} == {"nerfstudio"}


def test_imports_point_downwards():
    wrong = []
    for path in FILES:
        here = room_of(module_of(path))
        for name in imports(path):
            there = room_of(name)
            if name.split(".")[0] == "arf" and here != there and not LEVEL[there] < LEVEL[here]:
                wrong.append(f"{module_of(path)} imports {name}")
    assert not wrong


def test_folders_are_small():
    folders = {path.parent for path in FILES}
    counts = {f.relative_to(HOUSE).as_posix(): len([*f.glob("*.py")]) - (f / "__init__.py").exists() for f in folders}
    assert {name: count for name, count in counts.items() if count > MOST} == {}


LAZY = ("torchvision", "scipy.spatial", "pycolmap", "cv2", "trimesh", "torchmetrics", "matplotlib", "nerfstudio")
LAZY += ("torch.utils.tensorboard", "numba", "gsplat", "gsply", "zstandard")
OPENING = (*LAZY, "viser", "arf.radiance.fit", "arf.training", "arf.radiance.paint.stylize", "arf.style.encoder")
NOT_IMPORTED = {  # in this order in one process: what each of these does not bring along
    "arf.radiance.opening": OPENING,
    "arf.radiance.fields.splats.files.reading": OPENING,
    "arf.radiance.film.render": OPENING,
    "arf.radiance.share.pointcloud": OPENING,
    "arf.radiance.share.page.page": OPENING,
    "arf.radiance.fit.loop": (*LAZY, "viser", "arf.training"),
    "arf.radiance.paint.stylize": (*LAZY, "viser", "arf.training"),
    "arf.radiance.viewer.opened": (*LAZY, "arf.training"),
}


def test_what_is_heavy_waits_until_it_is_used():
    code = f"""
import importlib, sys
for module, absent in {NOT_IMPORTED}.items():
    importlib.import_module(module)
    for name in absent:
        if name in sys.modules:
            print(module, "imports", name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""


NEVER = ("torch._dynamo", "sympy", "torchmetrics", "torchvision", "pandas", "scipy.stats", "transformers")
CALLS = """
fit {room} --backbone voxel --steps 2 --resolutions 12 --stages --samples 2000 --device cpu --output {out}/voxel
evaluate {out}/voxel
stylize {out}/voxel --style {style} --encoder compact --layers relu2_1 --steps 1 --output {out}/painted
render {out}/painted --frames 1 --output {out}/film.mp4
"""


def test_what_is_heaviest_is_never_used(room, paintings, tmp_path):
    """By the commands for places, from their beginning to their end; without nerfstudio, whose files a fit writes."""
    calls = CALLS.format(room=room, style=paintings[0], out=tmp_path)
    code = f"""
import sys
sys.modules["nerfstudio"] = None
from arf.cli import main
for call in {calls.strip().splitlines()}:
    code = main([*call.split(), "--quiet"])
    print(call if code else "", *(name for name in {NEVER} if name in sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


def test_names_of_the_table_exist():
    assert not [name for name in chain(LEVEL, NOT_IMPORTED) if name != "arf" and not is_module(name)]

"""YAML of Python objects as plain data, and plain data as typed fields."""

from __future__ import annotations

import enum
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pytest
import yaml

from arf.errors import UserError
from arf.nerfstudio.runs.plain import CLASS, checked, load_plain


class Color(enum.Enum):
    RED = "red"


@dataclass
class Settings:
    """One field of every kind that configurations have."""

    _target: type = field(default_factory=lambda: Path)
    data: Path = Path("a/b")
    mask: Path | None = None
    count: int | None = 3
    rate: float = 0.5
    fast: bool = True
    mode: Literal["off", "on"] = "on"
    sizes: tuple[int, ...] = (8, 6)
    color: tuple[float, float, float] | None = (0.0, 0.5, 1.0)
    networks: list[dict] = field(default_factory=lambda: [{"width": 8, "linear": False}])
    weights: dict[str, float] = field(default_factory=lambda: {"rgb": 1.0})


def loaded(tmp_path: Path, text: str) -> Any:
    (tmp_path / "config.yml").write_text(text)
    return load_plain(tmp_path / "config.yml")


def test_objects_are_their_attributes(tmp_path):
    plain = loaded(tmp_path, yaml.dump({"a": Settings(), "b": Settings(sizes=(), mask=Path("/m"), data=Path())}))
    attributes = {
        "_target": "pathlib.Path", CLASS: f"{Settings.__module__}.Settings", "data": "a/b", "mask": None, "count": 3,
        "rate": 0.5, "fast": True, "mode": "on", "sizes": [8, 6], "color": [0.0, 0.5, 1.0],
        "networks": [{"width": 8, "linear": False}], "weights": {"rgb": 1.0},
    }  # fmt: skip
    assert plain["a"] == attributes
    assert plain["b"] == {**attributes, "sizes": [], "mask": "/m", "data": "."}


def test_everything_else_is_plain_too(tmp_path):
    path = PurePosixPath("/x/y")
    plain = loaded(tmp_path, yaml.dump({"color": Color.RED, "of": len, "twice": [path, path], "number": 2j, 3: b"x"}))
    assert plain == {"color": ["red"], "of": "builtins.len", "twice": ["/x/y", "/x/y"], "number": "2.0j", 3: b"x"}


def test_paths_as_newer_pythons_write_them(tmp_path):
    assert loaded(tmp_path, "!!python/object/apply:pathlib._local.PosixPath [/, home, me]") == "/home/me"


def test_fields_come_back_as_they_were(tmp_path):
    for settings in (Settings(), Settings(mask=Path("m"), count=None, rate=2, mode="off", sizes=(), color=None)):
        plain = loaded(tmp_path, yaml.dump(settings))
        values = {name: value for name, value in plain.items() if not name.startswith("_")}
        assert Settings(**checked(Settings, values, "it")) == settings
        assert checked(Settings, {"rate": 1, "sizes": [1]}, "it") == {"rate": 1, "sizes": (1,)}


@pytest.mark.parametrize(
    "line",
    [
        "!!python/object/apply:os.system ['touch MARK']",
        "!!python/object/apply:subprocess.check_output [[touch, MARK]]",
        "!!python/object/new:subprocess.Popen [[touch, MARK]]",
        "!!python/object/apply:pathlib.Path.touch [MARK]",
        '!!python/object/apply:builtins.eval [\'open("MARK", "w")\']',
        "!!python/object/new:type {args: [x, !!python/tuple [], {}], listitems: !!python/name:eval }",
        "!!python/object:trap.Trap {}",
        "!!python/object/apply:trap.Path [a]",
        "!!python/name:trap.Trap ''",
        "!!python/module:trap ''",
        "!trap x",
        "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch MARK']",
    ],
)
def test_nothing_is_called_or_imported(line, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    mark = tmp_path / "mark"
    plain = loaded(tmp_path, "a: " + line.replace("MARK", str(mark)))
    assert type(plain["a"]) in (dict, list, str)
    assert not mark.exists()
    assert "trap" not in sys.modules


@pytest.mark.parametrize(
    "text", ["a: [1", "!!int x", "!!bool x", "[" * 600, "a: \t*b", "? {a: b}\n: c", "&x [!!set *x]"]
)
def test_what_is_no_yaml_is_refused_in_one_line(text, tmp_path):
    with pytest.raises(UserError, match=r"^.*config\.yml is damaged \(.*\); restore it, or train again$"):
        loaded(tmp_path, text)


def test_bytes_and_nothing_are_refused(tmp_path):
    with pytest.raises(UserError, match="no configuration at"):
        load_plain(tmp_path / "config.yml")
    (tmp_path / "config.yml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="it is not UTF-8"):
        load_plain(tmp_path / "config.yml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data", 3), ("data", None), ("rate", "big"), ("rate", float("inf")), ("rate", float("nan")), ("rate", True),
        ("rate", 10**310), ("count", 1.5), ("count", True), ("fast", 1), ("mode", "random"), ("mode", ["on"]),
        ("color", [0, 1]), ("color", [0, 1, [2]]), ("sizes", 8), ("sizes", ["8"]), ("networks", {}),
        ("networks", [{"a": [1]}]), ("networks", [{1: 1}]), ("weights", [1]), ("mask", {}),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_named(name, value):
    with pytest.raises(UserError, match=f"^it is damaged .{name} is .*; restore it, or train again$"):
        checked(Settings, {"fast": True, name: value}, "it")


def test_unknown_names_and_hidden_ones_are_refused():
    for values in ({"crop": 1, "blur": 2}, {"_target": "x", 3: 4}):
        with pytest.raises(UserError, match=r"^it has unknown settings \((blur, crop|3, _target)\); it needs another"):
            checked(Settings, values, "it")


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} {{b: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9))


@pytest.mark.parametrize("text", ["networks: &x [*x]", "networks: &x {a: *x}", LAUGHS + "name: *a8", MERGED])
def test_what_has_no_end_or_a_billion_values_is_refused(text, tmp_path):
    """J29: whoever walks through it would hang."""
    with pytest.raises(UserError, match=r"it holds more than 100000 values\); restore it"):
        loaded(tmp_path, text)


def test_more_than_any_configuration_is_not_read(tmp_path):
    with pytest.raises(UserError, match="is larger than 1 MB"):
        loaded(tmp_path, "a: b\n" * 300_000)


def test_an_alias_is_what_it_stands_for(tmp_path):
    assert loaded(tmp_path, "a: &a [1, 2]\nb: [*a, *a]")["b"] == [[1, 2], [1, 2]]

"""YAML of Python objects, read as plain data; and plain data, checked against the fields of a dataclass.

nerfstudio's config.yml names classes and functions, which its own loader imports and calls. Here a tag is only a word:
nothing is imported, called or constructed because a file says so.
"""

from __future__ import annotations

import reprlib
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from arf.errors import UserError
from arf.jobs.files import read_text

CLASS = "_class"  # key of a mapping that was an object: its class as "module.Name"
PYTHON = "tag:yaml.org,2002:python/"
LARGEST, MOST = 1_000_000, 100_000  # bytes of a configuration; values in it, counted wherever an alias repeats them
SCALAR = bool | int | float | str


def load_plain(path: Path) -> Any:
    """What a YAML file holds, as dicts, lists, strings, numbers, bools and None.

    An object is a dict of its attributes and `CLASS`, a tuple a list, a path or the name of a class or function a
    string, and any other call the list of its arguments.

    Raises:
        UserError: there is no such file, it is not YAML, or it holds more than any configuration does.
    """
    text = read_text(path, "configuration", LARGEST)
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except Exception as error:  # PyYAML lets KeyError, ValueError, AttributeError and RecursionError through
        reason = " ".join((str(error) or type(error).__name__).split())[:120]
        raise UserError(f"{path} is damaged ({reason}); restore it, or train again") from error


def checked(kind: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Plain values of some fields of the dataclass `kind`, as its type hints have them: paths, tuples.

    Raises:
        UserError: a name that is no field, or a value of another type; `where` begins the line.
    """
    known = [f.name for f in fields(kind) if not f.name.startswith("_")]
    if unknown := sorted(str(name) for name in values.keys() - set(known)):
        raise UserError(f"{where} has unknown settings ({', '.join(unknown)}); it needs another version of nerfstudio")
    hints = get_type_hints(kind)
    try:
        return {name: _typed(value, hints[name], name) for name, value in values.items()}
    except ValueError as error:
        raise UserError(f"{where} is damaged ({error}); restore it, or train again") from error


def _typed(value: Any, hint: Any, name: str) -> Any:
    kind, args = get_origin(hint) or hint, get_args(hint) or (SCALAR,)
    if kind in (Union, UnionType):
        for arg in args:
            try:
                return _typed(value, arg, name)
            except ValueError:
                continue
    elif kind is tuple and isinstance(value, list):
        kinds = args[:1] * len(value) if args[1:] == (...,) else args
        if len(kinds) == len(value):
            return tuple(_typed(v, k, name) for v, k in zip(value, kinds, strict=True))
    elif kind is list and isinstance(value, list):
        return [_typed(v, args[0], name) for v in value]
    elif kind is dict and isinstance(value, dict):
        return {_typed(k, str, name): _typed(v, SCALAR, name) for k, v in value.items()}
    elif kind is Path and isinstance(value, str):
        return Path(value)
    elif kind is float and type(value) in (int, float):
        if abs(value) < 1e300:  # neither infinite nor NaN, which JSON has not
            return value
    elif (kind is Literal and value in args) or (kind in (bool, int, str, NoneType) and type(value) is kind):
        return value
    raise ValueError(f"{name} is {reprlib.repr(value)}")


class _PlainLoader(yaml.SafeLoader):
    """A SafeLoader that knows Python's tags by their spelling only."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _count(node, {}) > MOST:
            raise ValueError(f"it holds more than {MOST} values")
        return node

    def plain(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        return self.construct_scalar(node)

    def named(self, name: str, node: yaml.Node) -> str:
        return name

    def instance(self, name: str, node: yaml.Node) -> Any:
        value = self.plain(node)
        return {**value, CLASS: name} if isinstance(value, dict) else value

    def call(self, name: str, node: yaml.Node) -> Any:
        value = self.plain(node)
        if name.startswith("pathlib.") and name.endswith("Path") and isinstance(value, list):
            return str(Path(*map(str, value)))  # also pathlib._local.PosixPath, as Python 3.13 has it
        return value

    def other(self, tag: str, node: yaml.Node) -> Any:
        return self.plain(node)


def _count(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """The values in a node, itself among them, with aliases written out."""
    if node not in known:
        known[node] = MOST + 1  # until it is known: what contains itself has no end
        inside = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = [part for item in inside for part in (item if isinstance(item, tuple) else (item,))]
        known[node] = 1 + sum(_count(part, known) for part in parts)
    return known[node]


_PlainLoader.add_multi_constructor(PYTHON + "name:", _PlainLoader.named)
_PlainLoader.add_multi_constructor(PYTHON + "object:", _PlainLoader.instance)
_PlainLoader.add_multi_constructor(PYTHON + "object/apply:", _PlainLoader.call)
_PlainLoader.add_multi_constructor(None, _PlainLoader.other)

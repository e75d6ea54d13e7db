"""Arguments that no command takes: one line that names the flag, what was meant, and where all of them are."""

from __future__ import annotations

import io
import shlex

import pytest
from commands import refused

from arf import cli
from arf.cli.parsing import parse
from arf.errors import UserError


@pytest.mark.parametrize(("line", "said"), [
    ("fit --zzz 1", "unrecognized options: --zzz, 1; see arf fit --help"),
    ("train fast --style-weight 3", "did you mean --style-strength (of the loss)?; see arf train --help"),
    ("stylize x --style-weight 3", "--style-strength (of the loss) or --style-weights (of pictures in a mix)?; see"),
    ("fit --step-s 3", "unrecognized options: --step-s, 3; did you mean --steps?; see arf fit --help"),
    ("evaluate x --epochs 3", "unrecognized options: --epochs, 3; see arf evaluate --help"),  # another command's
    ("gatys a.png b.png", "unrecognized options: b.png; see arf gatys --help"),
    ("fit --steps x", "error parsing --steps: no type matching {None}|INT could be instantiated from ['x']; see"),
    ("view x --port y", "error parsing --port: invalid literal for int() with base 10: 'y'; see arf view --help"),
    ("gatys --steps", "missing value for argument '--steps'. Expected 1 values; see arf gatys --help"),
    ("view", "missing from arf view: PATH A run, a folder that holds some"),
    ("render", "film what? Name a run: arf render RUN"),
    ("fit x --format soup", "invalid choice 'soup' for argument '--format'. Expected one of ('auto', 'nerfstudio',"),
    ("fit x --format 'a\nb'", "invalid choice 'a b' for argument '--format'"),
    ("fitt", "no command 'fitt'; did you mean arf fit?; see arf --help"),
    ("soup", "no command 'soup'; there are demo, fit, cameras, stylize,"),
    ("", "name a command; there are demo, fit, cameras,"),
    ("--quiet fit", "--quiet"),
])  # fmt: skip
def test_what_no_command_takes_is_said_in_one_line(line, said, capsys):
    assert said in refused(capsys, *shlex.split(line))


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_tyro_draws_its_boxes_in_two_ways(encoding, monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    with pytest.raises(UserError, match=r"^unrecognized options: --zzz; see arf fit --help$"):
        parse(cli.KINDS, ["fit", "--zzz"], "")


def test_what_is_said_has_an_end(capsys):
    assert len(refused(capsys, "fit", f"--{'x' * 10_000}")) < 400


@pytest.mark.parametrize("line", ["--help", "fit --help", "--tyro-print-completion bash"])
def test_help_and_completion_are_printed(line, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(line.split())
    assert not end.value.code
    out, err = capsys.readouterr()
    assert "fit" in out
    assert err == ""


@pytest.mark.parametrize("name", cli.KINDS)
def test_flags_are_understood(name):
    kind = cli.KINDS[name]
    needed = {"onnx": ["many"], "train": [], "demo": [], "fit": [], "stylize": []}.get(name, ["x"])
    assert type(parse(cli.KINDS, [name, *needed], "")) is kind

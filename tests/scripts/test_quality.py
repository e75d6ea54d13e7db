"""The page that the benchmark of quality writes, from figures that are made up."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def quality(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts" / "benchmarks")  # where it finds common.py when it is run
    return importlib.import_module("quality")


def cell(quality, figure: float, seconds: float) -> dict[str, float]:
    return {**dict.fromkeys(quality.FIGURES, figure), "seconds": seconds, "peak": 1.0}


def test_means_and_who_is_better(quality, tmp_path):
    table = quality.Table.open(tmp_path / "results.json")
    table.put("room", {"short_rmse": 0.01, "long_rmse": 0.02, "structure": 0.0})
    for painting, ours, paper in (("wave", 0.1, 0.2), ("scream", 0.3, 0.2)):
        table.put(f"room/{painting}/ours", cell(quality, ours, 10))
        table.put(f"room/{painting}/paper", cell(quality, paper, 100))
    page = quality.results(table, ["room"], ["wave", "scream"], ["ours", "paper"], "a command")
    lines = [[part.strip() for part in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert ["ours", "0.2000", "0.2000", *["0.200"] * 4, "10", "1.00"] in lines
    assert ["unstylised", "0.0100", "0.0200", "", "", "", "0.000", "", ""] in lines
    assert ["room", "paper", *["1 of 2"] * 6] in lines
    assert "a command" in page
    assert quality.machine() in page


def test_what_is_in_the_file_is_not_measured_again(quality, tmp_path, monkeypatch):
    file = tmp_path / "results.json"
    quality.Table.open(file).put("room/wave/ours", cell(quality, 0.1, 10))
    assert json.loads(file.read_text())["room/wave/ours"]["nnfm"] == 0.1
    monkeypatch.setattr(quality, "called", lambda *_: pytest.fail("measured again"))
    quality.measured(quality.Table.open(file), None, "room", Path("wave.jpg"), "ours", tmp_path, None)

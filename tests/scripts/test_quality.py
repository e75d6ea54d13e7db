"""The benchmark of quality: what it makes anew, and its page and pictures, from figures that are made up."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from arf.media import image

ROOT = Path(__file__).resolve().parents[2]
WAVE = Path("wave.jpg")


@pytest.fixture
def quality(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts" / "benchmarks")  # where it finds common.py when it is run
    yield importlib.import_module("quality")
    for name in ("quality", "quality_page", "common"):
        sys.modules.pop(name, None)


@pytest.fixture
def page(quality):
    return importlib.import_module("quality_page")


def cell(page, figure: float, seconds: float = 1.0, flags: str = "") -> dict[str, float | str]:
    about = {"flags": flags, "commit": "abc", "machine": "a machine"}
    return {**dict.fromkeys(page.FIGURES, figure), "seconds": seconds, "peak": 1.0, **about}


def lines_of(text: str) -> list[list[str]]:
    return [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


@pytest.fixture
def table(page, tmp_path):
    table = page.Table.open(tmp_path / "results.json")
    table.put("room", {"short_rmse": 0.01, "long_rmse": 0.02, "structure": 0.0})
    for painting, ours, paper in (("wave", 0.1, 0.2), ("scream", 0.3, 0.2)):
        table.put(f"room/{painting}/ours", cell(page, ours, 10))
        table.put(f"room/{painting}/paper", cell(page, paper, 100, "--paper"))
    return table


def test_means_and_who_is_better(page, table, tmp_path):
    text = page.results(table, tmp_path)
    lines = lines_of(text)
    assert ["ours", "2", "0.2000", "0.2000", *["0.200"] * 5, "10", "1.00"] in lines
    assert ["unstylised", "", "0.0100", "0.0200", "", "", "", "0.000", "", "", ""] in lines
    assert ["room", "paper", *["1 of 2"] * 7] in lines
    assert ["paper", "`--paper`"] in lines
    assert "a machine, painted by arf at abc." in text
    assert "](pictures/" not in text


def test_a_figure_that_is_not_there_is_left_out(page, table, tmp_path):
    del table.cells["room/scream/ours"]["nnfm"]
    for painting in ("wave", "scream"):
        del table.cells[f"room/{painting}/paper"]["content"]
    lines = lines_of(page.results(table, tmp_path))
    assert ["ours", "2", "0.2000", "0.2000", "0.100", *["0.200"] * 4, "10", "1.00"] in lines
    assert ["room", "paper", "1 of 2", "1 of 2", "0 of 1", *["1 of 2"] * 3, ""] in lines


def test_another_method_adds_rows(page, table, tmp_path):
    table.put("room/wave/fewer", cell(page, 0.05, 5, "--steps 3"))
    lines = lines_of(page.results(table, tmp_path))
    assert ["fewer", "1", "0.0500", "0.0500", *["0.050"] * 5, "5", "1.00"] in lines
    assert ["paper", "2", "0.2000", "0.2000", *["0.200"] * 5, "100", "1.00"] in lines


def films(work: Path, capture: str, method: str, folder: str, count: int, shade: float) -> None:
    for painting in ("wave", "scream"):
        for k in range(count):
            image.write(work / capture / painting / method / folder / f"{k:05d}.png", torch.full((6, 8, 3), shade))


def test_sheet_and_loop(page, table, tmp_path):
    work, to = tmp_path / "work", tmp_path / "results-room"
    films(work, "room", "ours", "film", 120, 0.2)
    page.show(table, "room", work, to)
    assert not list(tmp_path.glob("results-room*"))  # nothing of paper's
    films(work, "room", "paper", "film", 30, 0.8)
    page.show(table, "room", work, to)
    with Image.open(f"{to}.jpg") as sheet:
        assert sheet.size == (2 * page.WIDTH, 2 * page.WIDTH * 6 // 8)
        assert [round(sheet.getpixel((9, y))[0] / 255, 1) for y in (9, sheet.height - 9)] == [0.2, 0.8]
    with Image.open(f"{to}.webp") as loop:
        assert loop.size == (2 * page.SMALL, page.SMALL * 6 // 8)
    assert "](pictures/results-room.jpg)" in page.results(table, tmp_path)


def test_what_is_there_is_made_anew_only_with_other_flags(quality, page, tmp_path, monkeypatch):
    """A cell, and a painting that was not measured yet."""
    table = page.Table.open(tmp_path / "results.json")
    table.put("room/wave/ours", cell(page, 0.1))
    assert json.loads(table.file.read_text())["room/wave/ours"]["nnfm"] == 0.1
    calls: list[tuple] = []
    row = {**dict.fromkeys(page.FIGURES, 0.5), "structure": None}

    def called(*words):
        calls.append(words)
        return {"run": "run", "films": [row, row], "seconds": 3.0, "peak": 1.0}

    monkeypatch.setattr(quality, "called", called)
    monkeypatch.setattr(quality.Bench, "fit", lambda *_: SimpleNamespace(path=tmp_path))
    bench = quality.Bench(page.Table.open(table.file), tmp_path)
    bench.cell(tmp_path / "room", WAVE, "ours")
    assert not calls
    bench.methods["ours"] = "--steps 3"
    bench.cell(tmp_path / "room", WAVE, "ours")
    assert [words[0] for words in calls] == ["stylize", "render", "evaluate"]
    assert calls[0][-2:] == ("--steps", "3")
    done = page.Table.open(table.file).cells["room/wave/ours"]
    assert (done["flags"], done["seconds"], done["nnfm"]) == ("--steps 3", 3.0, 0.5)
    assert "structure" not in done
    del bench.table.cells["room/wave/ours"]
    bench.cell(tmp_path / "room", WAVE, "ours")
    assert [words[0] for words in calls[3:]] == ["render", "evaluate"]  # it was painted
    lines = lines_of(page.results(bench.table, tmp_path))
    assert ["unstylised", "", "0.5000", "0.5000", "", "", "", "", "0.500", "", ""] in lines


@pytest.mark.parametrize("text", ["x", "=--steps 3", "../x=--steps 3", "a/b=", "ours=--steps 3", "a-b=", "a|b="])
def test_names_of_other_methods(text, quality):
    assert quality.another("ten epochs=--epochs 10") == ("ten epochs", "--epochs 10")
    with pytest.raises(argparse.ArgumentTypeError, match="NAME=FLAGS"):
        quality.another(text)

"""The distillation script on a handful of small crops: it starts near the teacher, and a stopped run ends the same."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import pytest
import torch

from arf.style import encoder, natural

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("distill_encoder", ROOT / "scripts" / "distill_encoder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in {"SIZE": 48, "POSITIONS": 30, "POOL": 4, "MEASURED": 20, "JUDGED": 6, "SAVE_EVERY": 2}.items():
        monkeypatch.setattr(module, name, value)
    made = natural.pictures(2, 64)
    monkeypatch.setattr(module.natural, "pictures", lambda *_, **__: made)
    compute, seen = module.initial, []

    def initial(teacher, pictures):  # takes seconds, and all runs of the same seed begin with the same
        seen.append((pictures, compute(teacher, pictures) if not seen else seen[0][1]))
        assert torch.equal(pictures, seen[0][0])
        return copy.deepcopy(seen[0][1])

    monkeypatch.setattr(module, "initial", initial)
    return module


@pytest.fixture
def options(assets, vgg19, tmp_path) -> dict:
    """A few of the training pictures."""
    folders = {}
    for kind in ("photos", "paintings"):
        folders[kind] = tmp_path / kind
        folders[kind].mkdir()
        for path in sorted((assets / "training" / kind).glob("*.jpg"))[:12]:
            (folders[kind] / path.name).symlink_to(path.resolve())
    weights = assets / "weights" / "vgg19_features_fp16.pth"
    return {**folders, "weights": weights, "steps": 4, "batch": 3, "threads": torch.get_num_threads()}


def test_a_stopped_run_ends_as_an_uninterrupted_one(script, options, tmp_path, monkeypatch):
    script.main(**options, work=tmp_path / "whole", out=tmp_path / "whole.safetensors")
    step = script.Distillation.train_step

    def stopping(self) -> None:
        if self.step == 3:  # after the checkpoint at 2
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(script.Distillation, "train_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        script.main(**options, work=tmp_path / "stopped", out=tmp_path / "stopped.safetensors")
    assert not (tmp_path / "stopped.safetensors").exists()
    monkeypatch.setattr(script.Distillation, "train_step", step)
    script.main(**options, work=tmp_path / "stopped", out=tmp_path / "stopped.safetensors")
    assert (tmp_path / "stopped.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()

    made = encoder.load("compact", tmp_path / "whole.safetensors")
    assert made.taps == encoder.load("compact").taps
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [0, 2, 4]
    assert log[0]["relu3_1"]["neighbours"] < 0.3  # 1 is a random choice: it starts from the teacher's own weights
    with pytest.raises(SystemExit, match="of a run with"):
        script.main(**{**options, "steps": 5}, work=tmp_path / "whole", out=tmp_path / "other.safetensors")

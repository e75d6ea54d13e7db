"""Runs of ns-train changed on purpose, and what is said of them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from nerfstudio.configs.method_configs import method_configs

from arf.errors import UserError
from arf.nerfstudio.runs.reading import read_nerfstudio_run

CHECKPOINT = "nerfstudio_models/step-000000001.ckpt"


def rewrite(run: Path, before: str, after: str) -> None:
    text = (run / "config.yml").read_text()
    assert before in text
    (run / "config.yml").write_text(text.replace(before, after))


def with_config(run: Path, change) -> None:
    config = yaml.load((run / "config.yml").read_text(), Loader=yaml.Loader)  # our own, of the fixture
    change(config)
    (run / "config.yml").write_text(yaml.dump(config))


def with_checkpoint(run: Path, change) -> None:
    state = torch.load(run / CHECKPOINT, weights_only=False)
    change(state)
    torch.save(state, run / CHECKPOINT)


def with_pickle(run: Path, change) -> None:
    """Rewrite the bytes of the pickle inside the checkpoint."""
    with zipfile.ZipFile(run / CHECKPOINT) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(run / CHECKPOINT, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, change(data) if name.endswith("data.pkl") else data)


def refusal(run: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_nerfstudio_run(run)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def as_method(run: Path, method: str) -> None:
    """Make the configuration that of another method, over the same checkpoint."""
    with_config(run, lambda config: vars(config).update(method_name=method))
    with_config(run, lambda config: vars(config.pipeline).update(model=method_configs[method].pipeline.model))


class Trap:
    """Pickled as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)

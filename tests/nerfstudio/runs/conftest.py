"""A real run of plain `ns-train nerfacto`, made by nerfstudio's Trainer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """The run, its configuration and its model."""
    from stock import train_stock

    return train_stock(tmp_path_factory.mktemp("ns"))


@pytest.fixture
def run(stock, tmp_path) -> Path:
    """A copy of the run, to be damaged."""
    return shutil.copytree(stock[0], tmp_path / "run")

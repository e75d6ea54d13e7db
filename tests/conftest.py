"""What all tests share: the assets folder, the encoder's weights, and one thread for each process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Before torch is imported, and inherited by what tests start: threads that wait for each other by spinning slow down
# every other process, and pytest-xdist has one for each core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

pytest_plugins = ["scenes"]

ASSETS = Path(os.environ.get("ARF_ASSETS") or Path(__file__).resolve().parents[2] / "shared" / "assets")

if (ASSETS / "weights").is_dir():
    os.environ["ARF_WEIGHTS"] = str(ASSETS / "weights")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started deaf to Ctrl-C


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz", type=float, default=0, help="seconds for each reader of files; a few examples without")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


@pytest.fixture(scope="session")
def assets() -> Path:
    """Photographs, paintings, captures and weights that are not part of the repository."""
    if not ASSETS.is_dir():
        pytest.skip(f"no assets at {ASSETS}; name the folder in ARF_ASSETS")
    return ASSETS


@pytest.fixture(scope="session")
def vgg19(assets: Path):
    """The VGG-19 of the assets."""
    from arf.style import encoder

    file = assets / "weights" / "vgg19_features_fp16.pth"
    if not file.is_file():
        pytest.skip(f"no weights at {file}")
    return encoder.load("vgg19", file)

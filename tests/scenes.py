"""A tiny room, fitted and repainted once for all tests of the 3D pipeline."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from encoders import tiny_encoder
from tiny import FIT, STYLIZE

from arf.jobs.runs import Run
from arf.media import image
from arf.radiance.fit.loop import fit
from arf.radiance.paint.stylize import stylize

TESTS = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def make_scene() -> ModuleType:
    """The script that renders the analytic scene."""
    spec = importlib.util.spec_from_file_location("make_scene", TESTS.parent / "scripts" / "make_scene.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="session")
def room(make_scene, tmp_path_factory) -> Path:
    """18 training and 3 held-out views of the analytic scene, 28 pixels wide."""
    folder = tmp_path_factory.mktemp("captures") / "room"
    make_scene.make_scene(folder, size=28, train=18, test=3, seed=0)
    return folder


@pytest.fixture(scope="session")
def fitted(room, tmp_path_factory) -> Run:
    """The room, fitted without interruption. Read only."""
    return fit(room, FIT, tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="session")
def paintings(tmp_path_factory) -> list[Path]:
    """Two style pictures of very different colours and textures."""
    folder = tmp_path_factory.mktemp("paintings")
    y, x = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 40), indexing="ij")
    waves = torch.stack([0.1 + 0.1 * x, 0.3 + 0.2 * (40 * x + 9 * y).sin(), 0.7 + 0.2 * (25 * y).cos()], 2)
    dots = torch.stack([0.8 + 0.2 * (30 * x).sin() * (30 * y).sin(), 0.5 + 0.3 * y, 0.1 + 0.1 * x * y], 2)
    for name, picture in (("waves", waves), ("dots", dots)):
        image.write(folder / f"{name}.png", picture)
    return [folder / "waves.png", folder / "dots.png"]


@pytest.fixture
def small_encoder(monkeypatch) -> None:
    """No VGG in these tests: its weights may be absent, and it is slow."""
    monkeypatch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())


@pytest.fixture(scope="session")
def stylized(fitted, paintings, tmp_path_factory) -> Run:
    """The room as the first painting, without interruption. Read only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arf.style.encoder.load", lambda *_, **__: tiny_encoder())
        return stylize(fitted, paintings[:1], STYLIZE, tmp_path_factory.mktemp("stylized"))


@pytest.fixture(scope="session")
def killed() -> Callable[[str], None]:
    """Runs lines of Python in a process of its own, which must end by SIGKILL."""

    def run(lines: str) -> None:
        setup = f"""
            import os, signal, sys
            sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "radiance")!r}]
            from pathlib import Path
            import torch
            torch.set_num_threads({torch.get_num_threads()})
            import arf.style.encoder
            from encoders import tiny_encoder
from tiny import FIT, STYLIZE
            arf.style.encoder.load = lambda *_, **__: tiny_encoder()
        """
        code = "\n".join(line.strip() for line in setup.splitlines()) + lines
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=300)
        assert done.returncode == -signal.SIGKILL, done.stderr

    return run

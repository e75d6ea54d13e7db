"""Which engine is taken, and what is said when it is not the one that was asked for."""

from __future__ import annotations

import sys

import pytest
import torch

from arf.radiance.fields.splats.descent import engines
from arf.radiance.fields.splats.descent.by_gsplat import Gsplat
from arf.radiance.fields.splats.descent.by_numba import Numba
from arf.radiance.fields.splats.descent.engines import COMPILING, engine_on

CUDA = torch.device("cuda")


@pytest.fixture
def put(monkeypatch, tmp_path):
    """Puts another gsplat in place of the one that may be installed, in a machine without a compiler."""
    monkeypatch.setattr("torch.utils.cpp_extension.CUDA_HOME", None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))

    def made(backend: str, prebuilt: bool = False, offers: str = "def rasterization(): ...") -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == "gsplat"]:
            monkeypatch.delitem(sys.modules, name)
        folder = tmp_path / "packages" / "gsplat"
        (folder / "cuda").mkdir(parents=True)
        (folder / "__init__.py").write_text(offers)
        (folder / "cuda" / "__init__.py").touch()
        (folder / "cuda" / "_backend.py").write_text(backend)
        if prebuilt:
            (folder / "csrc.py").touch()
        monkeypatch.syspath_prepend(folder.parent)

    yield made
    for name in [name for name in sys.modules if name.split(".")[0] == "gsplat"]:
        del sys.modules[name]


def test_on_the_cpu_nothing_is_asked_and_nothing_said(monkeypatch, caplog):
    monkeypatch.setattr(engines, "_rasterization", None)
    engine = engine_on(torch.device("cpu"), True)
    assert isinstance(engine, Numba)
    assert engine.antialiased
    assert not caplog.records


def test_kernels_that_are_there_are_used_without_a_word(put, caplog):
    put("_C = object()", prebuilt=True)
    engine = engine_on(CUDA, True)
    assert isinstance(engine, Gsplat)
    assert (engine.device, engine.antialiased, engine.rasterization.__module__) == (CUDA, True, "gsplat")
    assert not caplog.records


@pytest.mark.parametrize("left", ["gsplat_cuda.so", "gsplat_cuda.lib", None])
def test_minutes_of_compiling_are_announced(put, monkeypatch, tmp_path, caplog, left):
    put("_C = object()")
    monkeypatch.setattr("torch.utils.cpp_extension.CUDA_HOME", "/usr/local/cuda")
    if left:
        (tmp_path / "extensions" / "gsplat_cuda").mkdir(parents=True)
        (tmp_path / "extensions" / "gsplat_cuda" / left).touch()
    assert isinstance(engine_on(CUDA, False), Gsplat)
    assert [record.getMessage() for record in caplog.records] == ([] if left else [COMPILING])


@pytest.mark.parametrize(
    ("backend", "why"),
    [
        (None, "gsplat is not installed: pip install gsplat"),
        ("_C = None", "gsplat finds no nvcc; "),
        ("raise RuntimeError('ninja failed\\nand a page')", "gsplat cannot be used (ninja failed); "),
        ("raise OSError", "gsplat cannot be used (OSError); "),
    ],
)
def test_without_kernels_it_is_the_cpu_and_one_line_says_why(put, monkeypatch, caplog, backend, why):
    if backend is None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    else:
        put(backend)
    assert isinstance(engine_on(CUDA, True), Numba)
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", engines.__name__)
    line = record.getMessage()
    assert line.startswith("splats are fitted on the CPU, since " + why)
    assert "\n" not in line


def test_an_old_gsplat_without_the_function_is_not_used(put, caplog):
    put("_C = object()", prebuilt=True, offers="")
    assert isinstance(engine_on(CUDA, True), Numba)
    assert "gsplat cannot be used (cannot import name 'rasterization'" in caplog.text

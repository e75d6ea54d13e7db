"""Whether nerfstudio is there."""

from __future__ import annotations

import sys

import pytest

from arf.radiance.extras import nerfstudio, nerfstudio_is_installed


@pytest.mark.parametrize("files", [[], ["README.md"]])
def test_a_folder_of_that_name_is_not_nerfstudio(tmp_path, monkeypatch, files):
    """Such as a clone of it in the working folder, and our tests of it."""
    (tmp_path / "nerfstudio").mkdir()
    for name in files:
        (tmp_path / "nerfstudio" / name).touch()
    monkeypatch.delitem(sys.modules, "nerfstudio", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not nerfstudio_is_installed()
    assert nerfstudio("runs.writing") is None
    (tmp_path / "nerfstudio" / "__init__.py").touch()
    assert nerfstudio_is_installed()
